package main

import (
	"context"
	"fmt"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/report"
	"github.com/spf13/cobra"
)

type diffFlags struct {
	data  dataFlags
	under float64
}

func (a *app) diffCmd() *cobra.Command {
	o := &diffFlags{}
	c := &cobra.Command{
		Use:   "diff A.onnx B.onnx --data DIR",
		Short: "Compare two models layer by layer on images",
		Long: `diff runs two models on the same images, such as a float model and its low-bit
form, or two low-bit forms, and pairs their layers by name. For each it prints
the signal-to-noise ratio of B's output against A's (the worst first), cosine and
largest error, the same ratio of the weights, the share of equal weight and input
codes where both have codes of the same width, and the bytes of B's weight. The
last line is the share of images that get the same class; --fail-under makes it
a gate.`,
		Example: "  qvitc diff deit.onnx deit.w4a4.onnx --data imgs/ --fail-under 0.99",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return failf(exitUsage, "", "diff takes two model files, %d are given", len(args))
			}
			return a.diff(c.Context(), args[0], args[1], o)
		},
	}
	f := c.Flags()
	f.Float64Var(&o.under, "fail-under", 0, "end with code 5 when less than this share of images gets the same class, such as 0.99")
	f.IntVar(&o.data.limit, "limit", 256, "compare on at most this many images (0: all)")
	o.data.add(c)
	return c
}

// compared is what diff --json prints.
type compared struct {
	A          string `json:"a"`
	B          string `json:"b"`
	Preprocess string `json:"preprocess"`
	*report.Comparison
}

func (a *app) diff(ctx context.Context, pathA, pathB string, o *diffFlags) error {
	if !(o.under >= 0 && o.under <= 1) {
		return failf(exitUsage, "", "--fail-under %v: want a share between 0 and 1", o.under)
	}
	if err := o.data.check(); err != nil {
		return err
	}
	ma, err := a.loadAny(pathA)
	if err != nil {
		return err
	}
	mb, err := a.loadAny(pathB)
	if err != nil {
		return err
	}
	if err := mb.like(ma); err != nil {
		return err
	}
	prepared := ma // the model that says how images are preprocessed
	if ma.preprocessText() == "" {
		prepared = mb
	}
	im, err := o.data.open(ctx, prepared)
	if err != nil {
		return err
	}
	defer im.set.Close()
	if err := a.normaliseFor(mb, ma, im); err != nil {
		return err
	}
	classes, err := ma.classes()
	if err != nil {
		return err
	}
	split, err := im.split(dataset.Eval, classes)
	if err != nil {
		return err
	}
	if o.data.limit > 0 {
		split = split.Take(o.data.limit, 0)
	}
	l, err := im.loader(ctx, split, 64)
	if err != nil {
		return err
	}
	w := &watched{Loader: l}
	p := a.progress("diff", l.Len())
	defer p.done()
	batch := func(i int) ([]float32, []int32, error) {
		var b dataset.Batch
		if i >= w.Batches() {
			return nil, nil, nil
		}
		err := w.Fill(&b, 0, i)
		return b.X, b.Labels, err
	}
	res, err := report.Diff(ctx, ma.graph, mb.graph, batch, report.DiffOptions{Name: passes.LayerName, Threads: a.threads, Progress: func(n int) { p.at(n, "") }})
	if err := w.fail(exitUnsupported, err); err != nil {
		return err
	}
	p.done()
	if a.json {
		err = a.printJSON(compared{A: pathA, B: pathB, Preprocess: im.prep.String(), Comparison: res})
	} else {
		fmt.Fprintf(a.out, "A %s, B %s; %s\n", pathA, pathB, im.prep)
		err = res.WriteTable(a.out)
	}
	if err == nil && res.Agreement < o.under {
		return failf(exitGate, "the layers at the top of the table lose most", "%.2f %% of the images get the same class, the gate is %.2f %%", 100*res.Agreement, 100*o.under)
	}
	return err
}
