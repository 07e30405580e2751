package main

import (
	"context"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/spf13/cobra"
)

// compressFlags are the options of qvitc compress.
type compressFlags struct {
	traineeFlags
	bits    string
	method  string
	exclude []string
	only    []string
	irm     string
	maxDrop float64

	samples    int
	calib      string
	mode       string
	zeroPoints string
	gradScale  bool
	equalise   bool
	dgdTeacher string
	damping    float64
	target     targetFlags
}

func (a *app) compressCmd() *cobra.Command {
	o := &compressFlags{traineeFlags: traineeFlags{train: compressTraining}}
	c := &cobra.Command{
		Use:   "compress MODEL.onnx",
		Short: "Quantise a vision transformer and write a packed low-bit ONNX file",
		Long: `compress calibrates the model on images, fine-tunes it at low bits with
distillation from the original, and writes packed ONNX that runs in qvitc and in
unmodified ONNX Runtime (other forms: --format, see qvitc export). Labels are
optional. The model file is not changed.

Without --data the model is calibrated on synthetic images: size and speed are
those of the real thing, accuracy is not, and nothing is known about it.`,
		Example: "  qvitc compress deit.onnx --data imgs/ -b w4a4 -o deit.w4a4.onnx\n" +
			"  qvitc compress deit.onnx --data imgs/ -b 2 --epochs 10 --checkpoint run.ckpt",
		Args: oneModel,
		RunE: func(c *cobra.Command, args []string) error {
			if err := applyRecipe(c.Flags(), o.recipe); err != nil {
				return err
			}
			if err := o.applyMode(c.Flags()); err != nil {
				return err
			}
			if o.data.path == "" && !c.Flags().Changed("samples") {
				o.samples = syntheticImages
			}
			return a.compress(c.Context(), args[0], o)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.bits, "bits", "b", "w4a4", "widths: "+strings.Join(bitNames, ", "))
	f.StringVar(&o.method, "method", "auto", "qat (calibrate, then fine-tune), ptq (calibrate only) or auto: qat with --data, ptq without")
	f.StringVarP(&o.out, "output", "o", "", "output file (default MODEL.BITS.onnx)")
	f.StringVar(&o.teacher, "teacher", "", "another float model to distil from (default: the model itself)")
	f.StringArrayVar(&o.exclude, "exclude", nil, "keep these layers float: globs on names, role:fc2, op:Conv (repeatable)")
	f.StringSliceVar(&o.only, "only", nil, "quantise these layers alone: the same names, separated by commas or repeated")
	f.StringVar(&o.irm, "irm", defaultIRM, "information rectification of q and k: rescale, layernorm, static or off")
	f.StringVar(&o.mode, "mode", "qvit+", "what --irm, --dgd, --features, --calib, --zero-points and --grad-scale are unless given: "+modeNames())
	f.BoolVar(&o.equalise, "equalize", false, "give the channels behind a layer normalisation mean 0 and equal deviation before they are quantised; the float model's function stays")
	f.StringVar(&o.zeroPoints, "zero-points", "skewed", "inputs of linear layers with a zero point: skewed (behind GELU, and the image), all or none")
	f.BoolVar(&o.gradScale, "grad-scale", false, "LSQ's factor on the gradients of quantisers")
	f.StringVar(&o.dgdTeacher, "dgd-teacher", "auto", "q and k of the teacher in DGD: raw, normalised, or auto (normalised where --irm is rescale)")
	addRecipe(c, &o.recipe)
	f.IntVar(&o.samples, "samples", 256, "calibration images (32 without --data)")
	f.StringVar(&o.calib, "calib", "mse", "calibration: mse, minmax, percentile, entropy or lsq")
	f.BoolVar(&o.train.fast, "fast-backward", o.train.fast, "multiply the gradients of quantised products in 16-bit integers, rounded to about 3e-4; =false: in float32, slower")
	f.Float64Var(&o.damping, "damping", 0, "weight of the damping of oscillating weights (0: off)")
	f.Float64Var(&o.maxDrop, "max-drop", 0, "exit with code 5 when top-1 falls by more than this many points (0: no gate)")
	o.target.add(c)
	o.data.add(c)
	o.data.addLimit(c)
	o.passes.add(c)
	o.train.add(c)
	return c
}

// compress is the pipeline: load, clean, quantise, calibrate, train, lower,
// write and verify, measure.
func (a *app) compress(ctx context.Context, path string, o *compressFlags) error {
	j, err := a.newJob(path, o)
	if err != nil {
		return err
	}
	defer j.close()
	for _, stage := range []func(context.Context) error{
		j.load, j.open, j.baseline, j.quantise, j.calibrate, j.train, j.lower, j.write, j.measure,
	} {
		if err := stage(ctx); err != nil {
			if o.method == "ptq" {
				return a.interrupted(err, "")
			}
			return a.interrupted(err, j.checkpoint())
		}
		if j.stopped != nil {
			return a.printGraph(j.stopped)
		}
	}
	if a.finished != nil {
		if err := a.finished(ctx, j); err != nil {
			return err
		}
	}
	return j.finish()
}

// newJob settles what can be known before any file is read.
func (a *app) newJob(path string, o *compressFlags) (*job, error) {
	j := &job{o: o, trainee: trainee{app: a, flags: &o.traineeFlags, path: path, start: time.Now()}}
	var err error
	if j.bits, err = parseBits(o.bits); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if j.target, err = o.target.resolve(); err != nil {
		return nil, err
	}
	if o.out == "" {
		o.out = strings.TrimSuffix(path, ".onnx") + "." + j.bits.String() + ".onnx"
	}
	if err := j.checkPasses(passes.Quantize(o.plan(j.bits)), passes.Lower); err != nil {
		return nil, err
	}
	if err := checkOutput(o.out, path, o.teacher); err != nil {
		return nil, err
	}
	if o.method == "qat" {
		if err := checkOutput(j.checkpoint()); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// check refuses values that no model and no data could make right.
func (o *compressFlags) check() error {
	switch o.method {
	case "auto":
		o.method = "qat"
		if o.data.path == "" {
			o.method = "ptq"
		}
	case "qat", "ptq":
	default:
		return failf(exitUsage, "", "--method %q: want qat, ptq or auto", o.method)
	}
	if o.data.path == "" {
		if err := o.checkNoData(); err != nil {
			return err
		}
	} else if err := o.data.check(); err != nil {
		return err
	}
	if err := checkIRM(o.irm); err != nil {
		return err
	}
	if !slices.Contains([]string{"skewed", "all", "none"}, o.zeroPoints) {
		return failf(exitUsage, "", "--zero-points %q: want skewed, all or none", o.zeroPoints)
	}
	if o.samples < 1 {
		return failf(exitUsage, "", "--samples %d: want at least 1", o.samples)
	}
	if !(o.maxDrop >= 0) {
		return failf(exitUsage, "", "--max-drop %v: want 0 or more", o.maxDrop)
	}
	if _, err := quantize.ParseMethod(o.calib); err != nil {
		return fail(exitUsage, err)
	}
	if !slices.Contains([]string{"auto", "raw", "normalised"}, o.dgdTeacher) {
		return failf(exitUsage, "", "--dgd-teacher %q: want auto, raw or normalised", o.dgdTeacher)
	}
	if !(o.damping >= 0 && o.damping <= math.MaxFloat32) {
		return failf(exitUsage, "", "--damping %v: want 0 or more", o.damping)
	}
	return o.train.check()
}

func checkIRM(form string) error {
	if !slices.Contains([]string{passes.IRMRescale, passes.IRMLayerNorm, passes.IRMStatic, passes.IRMOff}, form) {
		return failf(exitUsage, "", "--irm %q: want rescale, layernorm, static or off", form)
	}
	return nil
}

// plan says what the Quantize passes are to insert.
func (o *compressFlags) plan(b bitPlan) passes.Plan {
	p := passes.DefaultPlan(b.weights, b.acts)
	p.IRM, p.ZeroPoints = o.irm, o.zeroPoints
	p.Only, p.Exclude = o.only, o.exclude
	return p
}

// normTeacher tells whether DGD compares with the teacher's normalised q and k.
func (o *compressFlags) normTeacher() bool {
	return o.dgdTeacher == "normalised" || o.dgdTeacher == "auto" && o.irm == passes.IRMRescale
}

// checkOutput refuses an output that cannot become a file or would replace one
// of the inputs, before any work is done.
func checkOutput(out string, inputs ...string) error {
	if st, err := os.Stat(out); err == nil {
		if st.IsDir() {
			return failf(exitUsage, "name a file inside it", "output %s is a folder", out)
		}
		for _, in := range inputs {
			if ist, err := os.Stat(in); err == nil && os.SameFile(st, ist) {
				return failf(exitUsage, "choose another name for -o", "output %s is the model itself", out)
			}
		}
	}
	f, err := atomicfile.Create(out)
	if err != nil {
		return fail(exitIO, err)
	}
	f.Abort()
	return nil
}
