package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/report"
	"github.com/spf13/cobra"
)

// inspected is what inspect --json prints.
type inspected struct {
	Model string `json:"model"`
	Bytes int64  `json:"bytes"`
	*report.Arch
	Recipe    map[string]string `json:"recipe,omitempty"` // flags of the finetune that made it
	Operators map[string]int    `json:"operators"`        // of the file, before any pass
	Notes     []string          `json:"notes,omitempty"`
	Tree      *report.Part      `json:"tree,omitempty"`
}

func (a *app) inspectCmd() *cobra.Command {
	var p passFlags
	var tree bool
	c := &cobra.Command{
		Use:   "inspect MODEL.onnx",
		Short: "Show architecture, recognised layers, cost and size at 4, 3 and 2 bit",
		Long: `inspect shows what a model is made of: the architecture as recognised by structure,
the layers by role, parameters, multiply-accumulates, and its size and operations
at 4, 3 and 2 bit; of a compressed model, how it was made and the width of each
layer. --tree shows the parts, --json everything. The flags that name passes look
inside the rewriting of the graph.`,
		Example: "  qvitc inspect deit.onnx --tree\n  qvitc inspect deit.onnx --stop-after fuse-layernorm",
		Args:    oneModel,
		RunE:    func(c *cobra.Command, args []string) error { return a.inspect(args[0], p, tree) },
	}
	c.Flags().BoolVar(&tree, "tree", false, "show the parts as the builder of the model thinks of them: blocks, attention, MLP")
	p.add(c)
	return c
}

func (a *app) inspect(path string, p passFlags, tree bool) error {
	list, err := p.parse()
	if err != nil {
		return err
	}
	if err := p.check(list); err != nil {
		return err
	}
	m, err := readModel(path)
	if err != nil {
		return err
	}
	if (m.packed() || passes.IsQuantised(m.graph)) && p.isDefault() {
		if err := m.raise(); err != nil {
			return err
		}
		return a.inspectPacked(m, tree)
	}
	in := inspected{Model: path, Bytes: m.bytes, Operators: operators(m.graph)}
	if in.Recipe, err = m.recipe("qvitc.training"); err != nil {
		return err
	}
	if err := a.clean(m, p); err != nil {
		return err
	}
	if p.stopAfter != "" {
		return a.printGraph(m.graph)
	}
	in.Notes = m.notes
	if in.Arch, err = report.Describe(m.graph); err != nil {
		return fail(exitUnsupported, err)
	}
	if tree {
		if in.Tree, err = report.Tree(m.graph, passes.LayerName); err != nil {
			return fail(exitUnsupported, err)
		}
	}
	switch {
	case a.json:
		return a.printJSON(in)
	case tree:
		fmt.Fprintf(a.out, "%s  %s, %d parameters\n%s", path, in.Name, in.Params, in.Tree)
	default:
		a.printInspected(in)
	}
	return nil
}

// operators counts the nodes of a graph by operator.
func operators(g *ir.Graph) map[string]int {
	count := map[string]int{}
	for n := range g.Nodes() {
		name := n.Op
		if n.Domain != "" {
			name = n.Domain + "::" + n.Op
		}
		count[name]++
	}
	return count
}

func (a *app) printInspected(in inspected) {
	w := a.out
	fmt.Fprintf(w, "model       %s  %s\n", in.Model, bytesText(in.Bytes))
	fmt.Fprintf(w, "looks like  %s\n", in.Name)
	fmt.Fprintf(w, "input       %s, patch %s\n", times(in.Input), times(in.Patch))
	fmt.Fprintf(w, "blocks      %d  (stages %s), width %s, heads %s of %d, %d tokens\n", in.Blocks, list(in.Depths), list(in.Widths), list(in.Heads), in.HeadDim, in.Tokens)
	fmt.Fprintf(w, "classes     %s\n", list(in.Classes))
	fmt.Fprintf(w, "parameters  %d\n", in.Params)
	g := func(n int64) string { return fmt.Sprintf("%.4f", float64(n)/1e9) }
	fmt.Fprintf(w, "GMACs       %s  (linear %s, attention %s, patch %s, head %s, other %s)\n",
		g(in.MACs.Total), g(in.MACs.Linear), g(in.MACs.Attention), g(in.MACs.Patch), g(in.MACs.Head), g(in.MACs.Other))
	var roles []string
	for _, r := range slices.Sorted(maps.Keys(in.Roles)) {
		roles = append(roles, fmt.Sprintf("%s %d", r, in.Roles[r]))
	}
	fmt.Fprintf(w, "recognised  %s\n", strings.Join(roles, ", "))
	if len(in.Recipe) > 0 {
		fmt.Fprintf(w, "finetuned   %s\n", recipeText(in.Recipe))
	}
	fmt.Fprintf(w, "\n%-6s %12s %8s %12s %10s\n", "bits", "size", "smaller", "GOPs", "GBOPs")
	for _, s := range in.Sizes {
		fmt.Fprintf(w, "%-6d %12s %7.1fx %12.4f %10.2f\n", s.Bits, bytesText(s.Bytes), float64(in.Sizes[0].Bytes)/float64(s.Bytes), s.OPs/1e9, s.BOPs/1e9)
	}
	fmt.Fprintln(w, "sizes: 32 bits a float parameter, b bits a quantised one, 8 bits in the first and last layer, scales not counted;")
	fmt.Fprintln(w, "OPs: float MACs + 1/4, 1/8, 1/16, 1/32 of the 8-, 4-, 3-, 2-bit MACs")
	for _, n := range in.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

func list(v []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", "/"), "[]") }

func times(v []int) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", "x"), "[]") }

func (a *app) passesCmd() *cobra.Command {
	return &cobra.Command{
		Use: "passes", Short: "List the passes in the order they run", Args: cobra.NoArgs,
		Long: `passes lists the rewrites of the graph by group, in the order they run. The names
of passes and groups go to --passes of inspect, compress and finetune: clean runs
the group, clean,-fuse-gelu all of it but one. --dump-ir, --print-after and
--stop-after show the graph between them.`,
		Example: "  qvitc inspect deit.onnx --passes clean,-fuse-gelu --print-after all",
		RunE: func(*cobra.Command, []string) error {
			for _, l := range passes.Groups(passes.DefaultPlan(4, 4)) {
				fmt.Fprintf(a.out, "%s\n", l.Name)
				for _, p := range l.Passes {
					fmt.Fprintf(a.out, "  %-22s %s\n", p.Name, p.Summary())
				}
			}
			return nil
		},
	}
}
