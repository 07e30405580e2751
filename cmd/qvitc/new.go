package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/report"
	"github.com/qvitc/qvitc/zoo"
	"github.com/spf13/cobra"
)

// newFlags are the sizes of qvitc new; 0 and empty mean the preset's.
type newFlags struct {
	out           string
	dim, depth    int
	depths, heads []int
	window, patch int
	image         int
	channels      int
	classes       int
	mlp           float64
	seed          uint64
	from          string
}

func (a *app) newCmd() *cobra.Command {
	o := &newFlags{}
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a float vision transformer with random weights",
		Long: `new writes an untrained float model as an exporter would: ` + strings.Join(zoo.Presets(), ", ") + `,
or deit, vit or swin with the sizes that the flags give. Flags change the sizes
of a preset. The batch stays open; the seed decides the weights, or --from takes
those of a trained DeiT or ViT of any exporter, of the same width and heads:
patches and positions are resized, the first blocks taken, and the head as well
where the classes are as many. finetune then makes it at home in its new size.`,
		Example: "  qvitc new deit-small -o deit-small.onnx\n" +
			"  qvitc new deit --dim 192 --depth 9 --heads 3 --patch 4 --image 32 --classes 10 -o cifar.onnx\n" +
			"  qvitc new swin --dim 48 --depths 2,2 --heads 3,6 --window 4 --patch 2 --image 32 --classes 10 -o swin.onnx\n" +
			"  qvitc new deit --from deit-tiny.onnx --depth 8 --patch 4 --image 32 --classes 10 -o small.onnx",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s takes one name, %d are given", c.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			for _, name := range []string{"dim", "depth", "window", "mlp", "patch", "image", "channels", "classes"} {
				if g := c.Flags().Lookup(name); g.Changed && (g.Value.String() == "0" || strings.HasPrefix(g.Value.String(), "-")) {
					return failf(exitUsage, "", "--%s %s: want a number above 0", name, g.Value)
				}
			}
			return a.newModel(c.Context(), args[0], o)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.out, "output", "o", "", "output file (default NAME.onnx)")
	f.IntVar(&o.dim, "dim", 0, "width of the blocks; of the first stage in a Swin")
	f.IntVar(&o.depth, "depth", 0, "blocks of a DeiT")
	f.IntSliceVar(&o.depths, "depths", nil, "blocks of each stage of a Swin")
	f.IntSliceVar(&o.heads, "heads", nil, "attention heads; one number for each stage of a Swin")
	f.IntVar(&o.window, "window", 0, "side of a Swin's window in patches")
	f.Float64Var(&o.mlp, "mlp", 0, "width of the hidden layer over that of the block (default 4)")
	f.IntVar(&o.patch, "patch", 0, "side of a patch in pixels")
	f.IntVar(&o.image, "image", 0, "side of the image in pixels")
	f.IntVar(&o.channels, "channels", 0, "channels of the image (default 3)")
	f.IntVar(&o.classes, "classes", 0, "classes of the head")
	f.StringVar(&o.from, "from", "", "DeiT or ViT whose trained weights to take")
	f.Uint64Var(&o.seed, "seed", 0, "seed of the weights")
	return c
}

func (a *app) newModel(ctx context.Context, name string, o *newFlags) error {
	m, trained, err := a.model(name, o)
	if err != nil {
		return err
	}
	if o.out == "" {
		o.out = name + ".onnx"
	}
	if err := checkOutput(o.out); err != nil {
		return err
	}
	g, err := o.draw(ctx, m, trained, name)
	if cerr := ctx.Err(); cerr != nil {
		return fail(exitInternal, cerr)
	}
	if err != nil {
		return err
	}
	if err := onnxio.Save(o.out, g, onnxio.WriteOptions{Version: toolVersion()}); err != nil {
		return fail(exitIO, err)
	}
	return a.newDone(o, g)
}

// draw gives the network m, with the weights of trained unless it is nil.
func (o *newFlags) draw(ctx context.Context, m zoo.Model, trained *ir.Graph, name string) (*ir.Graph, error) {
	if trained == nil {
		g, err := m.Graph(ctx)
		if err != nil {
			return nil, failf(exitUsage, "the flags of qvitc new give the sizes", "%s: %v", name, err)
		}
		return g, nil
	}
	g, err := m.(zoo.DeiT).From(ctx, trained)
	if err != nil {
		return nil, failf(exitUnsupported, "--patch, --image, --depth and --classes may change, the other sizes are those of that model", "%s as %s: %v", o.from, name, err)
	}
	return g, nil
}

// weightsText says where the weights come from.
func (o *newFlags) weightsText() string {
	if o.from != "" {
		return "weights of " + o.from
	}
	return fmt.Sprintf("random weights of seed %d", o.seed)
}

// newDone says what was written.
func (a *app) newDone(o *newFlags, g *ir.Graph) error {
	back, err := a.load(o.out, passFlags{list: "clean"})
	if err != nil {
		return err
	}
	arch, err := report.Describe(back.graph)
	if err != nil {
		return fail(exitInternal, err)
	}
	if a.json {
		return a.printJSON(map[string]any{"output": o.out, "bytes": back.bytes, "name": arch.Name, "parameters": arch.Params, "macs": arch.MACs.Total, "seed": o.seed, "from": o.from})
	}
	fmt.Fprintf(a.out, "%s  %s, %d parameters, %.3f GMACs, %s, %s\n",
		o.out, arch.Name, arch.Params, float64(arch.MACs.Total)/1e9, o.weightsText(), bytesText(back.bytes))
	return nil
}

// model gives the network that name and flags describe, and the clean graph of
// the model that --from names. deit, vit and swin begin with its sizes, else with
// those of deit-tiny and swin-tiny.
func (a *app) model(name string, o *newFlags) (m zoo.Model, trained *ir.Graph, err error) {
	if m, err = o.preset(name); err != nil || o.from == "" {
		if err == nil {
			m, err = o.resized(name, m)
		}
		return m, nil, err
	}
	if _, ok := m.(zoo.DeiT); !ok {
		return nil, nil, failf(exitUsage, "--from is for deit and vit", "%s: the weights of a Swin cannot be resized", name)
	}
	src, err := a.load(o.from, passFlags{list: "clean"})
	if err != nil {
		return nil, nil, err
	}
	if m, err = zoo.SizesOf(src.graph); err != nil {
		return nil, nil, failf(exitUnsupported, "", "%s: %v", o.from, err)
	}
	m, err = o.resized(name, m)
	return m, src.graph, err
}

// preset is the network of a name before flags change its sizes.
func (o *newFlags) preset(name string) (zoo.Model, error) {
	base := map[string]string{"deit": "deit-tiny", "vit": "deit-tiny", "swin": "swin-tiny"}[name]
	if base == "" {
		base = name
	}
	m, err := zoo.Preset(base)
	if err != nil {
		return nil, failf(exitUsage, "or deit, vit or swin with sizes", "%v", err)
	}
	return m, nil
}

// resized is m with the sizes that flags give.
func (o *newFlags) resized(name string, m zoo.Model) (zoo.Model, error) {
	for _, f := range []struct {
		name string
		n    int
	}{{"dim", o.dim}, {"depth", o.depth}, {"window", o.window}, {"patch", o.patch}, {"image", o.image}, {"channels", o.channels}, {"classes", o.classes}} {
		if f.n < 0 {
			return nil, failf(exitUsage, "", "--%s %d: want at least 1", f.name, f.n)
		}
	}
	switch m := m.(type) {
	case zoo.DeiT:
		if len(o.depths) > 0 || o.window != 0 || len(o.heads) > 1 {
			return nil, failf(exitUsage, "a DeiT takes --depth and one number of --heads", "%s: --depths, --window and several --heads are for a Swin", name)
		}
		for _, s := range []struct {
			to   *int
			from int
		}{{&m.Dim, o.dim}, {&m.Depth, o.depth}, {&m.Patch, o.patch}, {&m.Image, o.image}, {&m.Channels, o.channels}, {&m.Classes, o.classes}} {
			resize(s.to, s.from)
		}
		if len(o.heads) == 1 {
			m.Heads = o.heads[0]
		}
		if o.mlp != 0 {
			m.MLP = o.mlp
		}
		m.Seed = o.seed
		return m, nil
	case zoo.Swin:
		if o.depth != 0 {
			return nil, failf(exitUsage, "", "%s: a Swin takes --depths, one number for each stage", name)
		}
		for _, s := range []struct {
			to   *int
			from int
		}{{&m.Dim, o.dim}, {&m.Window, o.window}, {&m.Patch, o.patch}, {&m.Image, o.image}, {&m.Channels, o.channels}, {&m.Classes, o.classes}} {
			resize(s.to, s.from)
		}
		if o.depths != nil {
			m.Depths = o.depths
		}
		if o.heads != nil {
			m.Heads = o.heads
		}
		m.MLP, m.Seed = o.mlp, o.seed
		return m, nil
	}
	return nil, failf(exitInternal, "", "%s is of an unknown family", name)
}

// resize sets a size that is given.
func resize(to *int, n int) {
	if n != 0 {
		*to = n
	}
}
