package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/report"
	"github.com/spf13/cobra"
)

// inspected is what inspect --json prints.
type inspected struct {
	Model string `json:"model"`
	Bytes int64  `json:"bytes"`
	*report.Arch
	Operators map[string]int `json:"operators"` // of the file, before any pass
	Notes     []string       `json:"notes,omitempty"`
}

func (a *app) inspectCmd() *cobra.Command {
	var p passFlags
	c := &cobra.Command{
		Use:   "inspect MODEL.onnx",
		Short: "Show architecture, recognised layers, cost and size at 4, 3 and 2 bit",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			raw, err := readModel(args[0])
			if err != nil {
				return err
			}
			ops := map[string]int{}
			for n := range raw.graph.Nodes() {
				name := n.Op
				if n.Domain != "" {
					name = n.Domain + "::" + n.Op
				}
				ops[name]++
			}
			m, err := a.load(args[0], p)
			if err != nil {
				return err
			}
			if p.stopAfter != "" {
				return a.printGraph(m.graph)
			}
			arch, err := report.Describe(m.graph)
			if err != nil {
				return fail(exitUnsupported, err)
			}
			in := inspected{Model: args[0], Bytes: m.bytes, Arch: arch, Operators: ops, Notes: m.notes}
			if a.json {
				return a.printJSON(in)
			}
			a.printInspected(in)
			return nil
		},
	}
	p.add(c)
	return c
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
