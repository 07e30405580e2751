package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
	"github.com/spf13/cobra"
)

// compressFlags are the options of qvitc compress.
type compressFlags struct {
	data    dataFlags
	passes  passFlags
	bits    string
	method  string
	out     string
	teacher string
	exclude []string
	irm     string
	force   bool
	maxDrop float64

	samples int
	calib   string
	train   trainFlags
}

func (a *app) compressCmd() *cobra.Command {
	o := &compressFlags{}
	c := &cobra.Command{
		Use:   "compress MODEL.onnx",
		Short: "Quantise a vision transformer and write a packed low-bit ONNX file",
		Long: `compress calibrates the model on images, fine-tunes it at low bits with
distillation from the original, and writes packed ONNX that runs in qvitc and in
unmodified ONNX Runtime. Labels are optional. The model file is not changed.`,
		Example: "  qvitc compress deit.onnx --data imgs/ -b w4a4 -o deit.w4a4.onnx\n" +
			"  qvitc compress deit.onnx --data imgs/ -b 2 --epochs 10 --checkpoint run.ckpt",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.compress(c.Context(), args[0], o) },
	}
	f := c.Flags()
	f.StringVarP(&o.bits, "bits", "b", "w4a4", "widths: "+strings.Join(bitNames, ", "))
	f.StringVar(&o.method, "method", "qat", "qat (calibrate, then fine-tune) or ptq (calibrate only)")
	f.StringVarP(&o.out, "output", "o", "", "output file (default MODEL.BITS.onnx)")
	f.StringVar(&o.teacher, "teacher", "", "another float model to distil from (default: the model itself)")
	f.StringArrayVar(&o.exclude, "exclude", nil, "keep these layers float: globs on names, role:fc2, op:Conv (repeatable)")
	f.StringVar(&o.irm, "irm", defaultIRM, "information rectification of q and k: rescale, layernorm or off")
	f.IntVar(&o.samples, "samples", 256, "calibration images")
	f.StringVar(&o.calib, "calib", "mse", "calibration: mse, minmax, percentile, entropy or lsq")
	f.Float64Var(&o.maxDrop, "max-drop", 0, "exit with code 5 when top-1 falls by more than this many points (0: no gate)")
	f.BoolVar(&o.force, "force", false, "keep the file even where it does not match the student")
	o.data.add(c)
	o.passes.add(c)
	o.train.add(c)
	return c
}

// compress is the pipeline: load, clean, quantise, calibrate, train, lower,
// write and verify, measure.
func (a *app) compress(ctx context.Context, path string, o *compressFlags) error {
	start := time.Now()
	bits, err := o.check(path)
	if err != nil {
		return err
	}
	m, err := a.load(path, o.passes)
	if err != nil {
		return err
	}
	if o.passes.stopAfter != "" && onlyIn(o.passes, passes.Clean).stopAfter != "" {
		return a.printGraph(m.graph)
	}
	teacher, err := a.teacher(m, o)
	if err != nil {
		return err
	}
	im, err := o.data.open(ctx, m, m.graph.Meta["qvitc.preprocess"])
	if err != nil {
		return err
	}
	defer im.set.Close()
	job := &job{app: a, o: o, bits: bits, model: m, teacher: teacher, images: im}

	if err := job.open(ctx); err != nil {
		return err
	}
	if err := job.quantise(); err != nil {
		return err
	}
	if job.stopped {
		return a.printGraph(job.student)
	}
	if err := job.calibrate(ctx); err != nil {
		return err
	}
	if err := job.train(ctx); err != nil {
		return err
	}
	if err := job.write(ctx); err != nil {
		return err
	}
	if err := job.measure(ctx); err != nil {
		return err
	}
	return job.finish(time.Since(start))
}

// check settles what can be known before any file is read.
func (o *compressFlags) check(path string) (bitPlan, error) {
	bits, err := parseBits(o.bits)
	if err != nil {
		return bits, err
	}
	switch o.method {
	case "qat", "ptq":
	default:
		return bits, failf(exitUsage, "use qat or ptq", "method %q is not known", o.method)
	}
	if o.samples < 1 {
		return bits, failf(exitUsage, "", "--samples %d: want at least 1", o.samples)
	}
	if o.out == "" {
		o.out = strings.TrimSuffix(path, ".onnx") + "." + bits.String() + ".onnx"
	}
	return bits, checkOutput(path, o.out)
}

// checkOutput refuses an output that cannot become a file or would replace the
// model, before any work is done.
func checkOutput(in, out string) error {
	if st, err := os.Stat(out); err == nil {
		if st.IsDir() {
			return failf(exitUsage, "name a file inside it", "output %s is a folder", out)
		}
		if ist, err := os.Stat(in); err == nil && os.SameFile(st, ist) {
			return failf(exitUsage, "choose another name for -o", "output %s is the model itself", out)
		}
	}
	dir := filepath.Dir(out)
	st, err := os.Stat(dir)
	switch {
	case err != nil:
		return failf(exitIO, "make the folder first", "output folder %s does not exist", dir)
	case !st.IsDir():
		return failf(exitIO, "", "output folder %s is not a folder", dir)
	}
	return nil
}

// teacher is the graph to distil from: the cleaned model, or another file.
func (a *app) teacher(m *model, o *compressFlags) (*ir.Graph, error) {
	if o.teacher == "" {
		return m.graph, nil
	}
	t, err := a.load(o.teacher, passFlags{list: "clean"})
	if err != nil {
		return nil, err
	}
	for i, pair := range [][2][]*ir.Value{{m.graph.Inputs, t.graph.Inputs}, {m.graph.Outputs, t.graph.Outputs}} {
		what := [2]string{"input", "output"}[i]
		if len(pair[0]) == 0 || len(pair[1]) == 0 || pair[0][0].Type.String() != pair[1][0].Type.String() {
			return nil, failf(exitUsage, "teacher and model must take the same images and tell the same classes", "%s: %s differs from that of %s", o.teacher, what, m.path)
		}
	}
	return t.graph, nil
}

// plan says what the Quantize passes are to insert.
func (o *compressFlags) plan(b bitPlan) passes.Plan {
	p := passes.DefaultPlan(b.weights, b.acts)
	p.IRM = o.irm
	p.Exclude = o.exclude
	return p
}

func (a *app) printGraph(g *ir.Graph) error {
	return g.Print(a.out, ir.PrintOptions{MaxElems: 16})
}

// splits are the images of a job: calibration and training from one part,
// measurement on the other.
func (im *images) splits(limit int, classes int) (train, eval *dataset.Split, err error) {
	if train, err = im.set.Split(dataset.Train); err != nil {
		return nil, nil, fail(exitIO, err)
	}
	if eval, err = im.set.Split(dataset.Eval); err != nil {
		return nil, nil, fail(exitIO, err)
	}
	for _, s := range []*dataset.Split{train, eval} {
		if err := s.CheckLabels(classes); err != nil {
			return nil, nil, fail(exitUsage, fmt.Errorf("%w", err))
		}
	}
	if limit > 0 {
		eval = eval.Take(limit, 0)
	}
	return train, eval, nil
}
