package main

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
	"github.com/spf13/cobra"
)

type evalFlags struct {
	data     dataFlags
	baseline string
	split    string
	dump     string
}

func (a *app) evalCmd() *cobra.Command {
	o := &evalFlags{}
	c := &cobra.Command{
		Use:   "eval MODEL.onnx",
		Short: "Measure top-1, and agreement with a float model, on images",
		Long: `eval runs a model, float or quantised in any form, on images and prints top-1 and
top-5 with the half width of the 95 % interval, and with --baseline the share of
images that get the class the float model gives them. Of a set that qvitc has
divided itself only the images that it never trains on are measured (--split).`,
		Example: "  qvitc eval deit.w4a4.onnx --data imgs/ --baseline deit.onnx",
		Args:    oneModel,
		RunE:    func(c *cobra.Command, args []string) error { return a.eval(c.Context(), args[0], o) },
	}
	f := c.Flags()
	f.StringVar(&o.baseline, "baseline", "", "float model to compare with on the same images, normalised as its file says")
	f.StringVar(&o.split, "split", "", "train, eval or all (default: eval, or all of a set without a part of its own to evaluate on)")
	f.StringVar(&o.dump, "dump", "", "write inputs, logits and labels to this .npz file")
	o.data.add(c)
	o.data.addLimit(c)
	return c
}

// measured is what eval --json prints.
type measured struct {
	Model        string   `json:"model"`
	Images       int      `json:"images"`
	Labelled     bool     `json:"labelled"`
	Top1         *float64 `json:"top1"` // null without labels, as are the next two
	Top5         *float64 `json:"top5"`
	Interval     *float64 `json:"interval95"` // half width of the 95 % interval of top1
	Baseline     string   `json:"baseline,omitempty"`
	Top1Baseline *float64 `json:"top1_baseline,omitempty"`
	Agreement    *float64 `json:"agreement"`            // null without a baseline
	NotFinite    int      `json:"not_finite,omitempty"` // images with NaN or infinite logits
	Preprocess   string   `json:"preprocess"`
}

func (a *app) eval(ctx context.Context, path string, o *evalFlags) error {
	if err := o.data.check(); err != nil {
		return err
	}
	if o.dump != "" {
		if err := checkOutput(o.dump, path, o.baseline); err != nil {
			return err
		}
	}
	m, err := a.loadAny(path)
	if err != nil {
		return err
	}
	n, err := m.classes()
	if err != nil {
		return err
	}
	im, err := o.data.open(ctx, m)
	if err != nil {
		return err
	}
	defer im.set.Close()
	split, err := o.pick(im, n)
	if err != nil {
		return err
	}
	var baseline *model
	if o.baseline != "" {
		if baseline, err = a.loadAny(o.baseline); err != nil {
			return err
		}
		if err := baseline.like(m); err != nil {
			return err
		}
		if err := a.normaliseFor(baseline, m, im); err != nil {
			return err
		}
	}
	e, err := a.evaluate(ctx, "eval", m.graph, split, im)
	if err != nil {
		return err
	}
	r := measured{Model: path, Images: e.Images, NotFinite: e.NotFinite, Labelled: e.Labelled > 0, Preprocess: im.prep.String()}
	if r.Labelled {
		half := 1.96 * math.Sqrt(e.Top1*(1-e.Top1)/float64(e.Labelled))
		r.Top1, r.Top5, r.Interval = &e.Top1, &e.Top5, &half
	}
	if o.baseline != "" {
		be, err := a.evaluate(ctx, "baseline", baseline.graph, split, im)
		if err != nil {
			return err
		}
		same, _, err := distill.Agreement(be, e)
		if err != nil {
			return fail(exitInternal, err)
		}
		r.Baseline, r.Agreement = o.baseline, &same
		if r.Labelled {
			r.Top1Baseline = &be.Top1
		}
	}
	if o.dump != "" {
		if err := a.dump(ctx, o.dump, split, im, e); err != nil {
			return err
		}
	}
	if note := im.skippedNote(); note != "" {
		a.note("note: %s", note)
	}
	if a.json {
		return a.printJSON(r)
	}
	r.print(a.out)
	return nil
}

// pick chooses the images to measure on.
func (o *evalFlags) pick(im *images, classes int) (*dataset.Split, error) {
	name := o.split
	switch name {
	case "", dataset.Train, dataset.Eval, dataset.All:
	default:
		return nil, failf(exitUsage, "use train, eval or all", "--split %q is not known", name)
	}
	if name == "" {
		name = dataset.Eval
		if im.set.HeldOut {
			name = dataset.All
		}
	}
	s, err := im.split(name, classes)
	if err == nil && o.data.limit > 0 {
		s = s.Take(o.data.limit, 0)
	}
	return s, err
}

func (r *measured) print(w io.Writer) {
	fmt.Fprintf(w, "preprocessing  %s\n", r.Preprocess)
	if r.Labelled {
		fmt.Fprintf(w, "top-1          %.2f %% ±%.2f, top-5 %.2f %%, %s\n", 100**r.Top1, 100**r.Interval, 100**r.Top5, count(r.Images, "image"))
	} else {
		fmt.Fprintf(w, "top-1          no labels, %s%s\n", count(r.Images, "image"), map[bool]string{true: "; --baseline compares with a float model"}[r.Agreement == nil])
	}
	if r.Agreement != nil {
		if r.Labelled {
			fmt.Fprintf(w, "baseline       %.2f %%  %s (%+.2f)\n", 100**r.Top1Baseline, r.Baseline, 100*(*r.Top1-*r.Top1Baseline))
		}
		fmt.Fprintf(w, "agreement      %.2f %%\n", 100**r.Agreement)
	}
	if r.NotFinite > 0 {
		fmt.Fprintf(w, "not finite     the logits of %s are NaN or infinite: check the training run that made the model\n", count(r.NotFinite, "image"))
	}
}

// dump writes what an outside check needs: inputs as the model sees them, our
// logits, and the labels.
func (a *app) dump(ctx context.Context, path string, split *dataset.Split, im *images, e *distill.Evaluation) error {
	l, err := im.loader(ctx, split, 0)
	if err != nil {
		return err
	}
	b, err := l.Batch(0, 0)
	if err != nil {
		return fail(exitIO, err)
	}
	n := b.N
	arrays := []namedTensor{
		{"inputs", ir.Of(b.X, n, im.shape.C, im.shape.H, im.shape.W)},
		{"logits", ir.Of(e.Logits, n, e.Classes)},
		{"labels", ir.Of(b.Labels, n)},
	}
	return fail(exitIO, atomicfile.WriteFile(path, func(w io.Writer) error { return writeNPZ(w, arrays) }))
}
