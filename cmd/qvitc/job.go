package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/qvitc/qvitc/report"
)

// job carries one compression from stage to stage.
type job struct {
	app     *app
	o       *compressFlags
	bits    bitPlan
	model   *model
	teacher *ir.Graph
	images  *images
	arch    *report.Arch
	classes int

	trainSet, evalSet *dataset.Split
	teacherEval       *distill.Evaluation
	student           *ir.Graph
	stopped           bool // --stop-after ended the passes
	layers            []passes.Layer
	calibration       *quantize.Calibration
	trained           *distill.Result
	written           *export.Result
	studentEval       *distill.Evaluation
	agreement         float64
}

// open describes the model, splits the data and measures the float baseline.
func (j *job) open(ctx context.Context) error {
	a := j.app
	var err error
	if j.classes, err = classes(j.model.path, j.model.graph); err != nil {
		return err
	}
	if j.arch, err = report.Describe(j.model.graph); err != nil {
		return fail(exitUnsupported, err)
	}
	if j.arch.Blocks == 0 {
		return failf(exitUnsupported, "qvitc inspect shows what was recognised", "%s: no attention block recognised: not a vision transformer this tool knows", j.model.path)
	}
	if j.trainSet, j.evalSet, err = j.images.splits(j.o.data.limit, j.classes); err != nil {
		return err
	}
	a.note("%s: %s, %d blocks, %d parameters; %s: %d images to train on, %d to measure on",
		j.model.path, j.arch.Name, j.arch.Blocks, j.arch.Params, j.images.set.Path, j.trainSet.Len(), j.evalSet.Len())
	a.note("preprocessing: %s (%s)", j.images.prep, j.images.prep.Source)
	for _, n := range append(j.model.notes, j.images.set.Notes...) {
		a.note("note: %s", n)
	}
	if j.teacherEval, err = j.evaluate(ctx, "baseline", j.teacher); err != nil {
		return err
	}
	if j.evalSet.Labelled() {
		a.note("float model: top-1 %.2f %%", 100*j.teacherEval.Top1)
		if j.teacherEval.Top1 < 2/float64(j.classes) {
			a.note("note: that is hardly better than guessing: check --preprocess and the order of the classes")
		}
	}
	return nil
}

// evaluate measures a graph on the evaluation images.
func (j *job) evaluate(ctx context.Context, title string, g *ir.Graph) (*distill.Evaluation, error) {
	return j.app.evaluate(ctx, title, g, j.evalSet, j.images)
}

func (a *app) evaluate(ctx context.Context, title string, g *ir.Graph, split *dataset.Split, im *images) (*distill.Evaluation, error) {
	l, err := dataset.NewLoader(split, im.prep, im.shape, dataset.LoaderOptions{Context: ctx, Batch: min(256, split.Len())})
	if err != nil {
		return nil, fail(exitIO, err)
	}
	p := a.progress(title, split.Len())
	defer p.done()
	e, err := distill.Evaluate(ctx, g, l, distill.EvalOptions{Threads: a.threads, Progress: func(n int) { p.at(n, "") }})
	return e, fail(exitUnsupported, err)
}

// quantise makes the student: a copy of the model with IRM and FakeQuant nodes.
func (j *job) quantise() error {
	j.student, _ = j.model.graph.Clone()
	plan := j.o.plan(j.bits)
	var err error
	if j.layers, err = plan.Resolve(j.student); err != nil {
		return fail(exitUsage, err)
	}
	list := passes.Quantize(plan)
	p := onlyIn(j.o.passes, list)
	res, err := j.app.driver(p, "quantize").Run(j.student, list)
	if err != nil {
		return fail(exitUsage, err)
	}
	j.stopped = p.stopAfter != ""
	for _, s := range res.Steps {
		for _, n := range s.Report.Notes {
			j.app.note("note: %s", n)
		}
	}
	return nil
}

// calibrate sets the scales from calibration images.
func (j *job) calibrate(ctx context.Context) error {
	split := j.trainSet.Take(j.o.samples, j.o.train.seed)
	l, err := dataset.NewLoader(split, j.images.prep, j.images.shape, dataset.LoaderOptions{Context: ctx, Batch: min(32, split.Len())})
	if err != nil {
		return fail(exitIO, err)
	}
	method, err := quantize.ParseMethod(j.o.calib)
	if err != nil {
		return fail(exitUsage, err)
	}
	p := j.app.progress("calibrate", split.Len())
	defer p.done()
	source := l
	var failed error
	batches := func(i int) ([]float32, int, bool) {
		if i >= source.Batches() {
			return nil, 0, false
		}
		b, err := source.Batch(0, i)
		if err != nil {
			failed = err
			return nil, 0, false
		}
		return b.X, len(b.Labels), true
	}
	j.calibration, err = quantize.Calibrate(ctx, j.student, batches, quantize.CalibrateOptions{
		Method: method, Threads: j.app.threads, Progress: func(n int) { p.at(n, "") },
	})
	if failed != nil {
		return fail(exitIO, failed)
	}
	return fail(exitUnsupported, err)
}

// train fine-tunes the student against the teacher.
func (j *job) train(ctx context.Context) error {
	if j.o.method == "ptq" {
		return nil
	}
	t := j.o.train
	if t.batch < 1 || t.batch > j.trainSet.Len() {
		return failf(exitUsage, "", "--batch %d: there are %d training images", t.batch, j.trainSet.Len())
	}
	l, err := dataset.NewLoader(j.trainSet, j.images.prep, j.images.shape, dataset.LoaderOptions{
		Context: ctx, Batch: t.batch, Seed: t.seed, Shuffle: true, DropLast: true,
		Augment: dataset.Augment{Flip: t.flip, Pad: t.cropPad},
	})
	if err != nil {
		return fail(exitIO, err)
	}
	checkpoint := t.checkpoint
	if checkpoint == "" {
		checkpoint = j.o.out + ".ckpt"
	}
	p := j.app.progress("train", 0)
	defer p.done()
	dj := distill.Job{
		Student: j.student, Teacher: j.teacher, Data: l,
		Options: distill.Options{
			Epochs: t.epochs, Threads: j.app.threads, Optimiser: distill.Optimiser(t.optimiser), LR: t.lr, WarmUp: t.warmUp,
			Loss: &distill.Loss{Hard: t.hard, Soft: t.soft, Tau: t.tau}, EMA: t.ema, Damping: t.damping,
			Checkpoint: checkpoint, CheckpointEvery: t.every, Resume: t.resume, Seed: t.seed,
			Note: fmt.Sprintf("%s %s batch %d flip %v crop %d data %s model %s", j.bits, j.images.prep, t.batch, t.flip, t.cropPad, j.dataDigest(), j.model.sha),
		},
		Progress: func(s distill.Step) {
			p.of(s.Steps)
			p.at(s.Step, fmt.Sprintf("loss %.4f  %.0f images/s", s.Recent.Total, s.ImagesPerSec))
		},
		Notify: func(m string) { j.app.note("note: %s", m) },
	}
	if t.dgd > 0 {
		dj.Options.DGD = distill.DGD{Mode: distill.DGDMode(t.dgdMode), Lambda: t.dgd, TeacherNorm: j.o.irm == "rescale"}
		if dj.Taps, err = pairTaps(passes.Taps(j.student), passes.Taps(j.teacher)); err != nil {
			return fail(exitUsage, err)
		}
	}
	j.trained, err = distill.Train(ctx, dj)
	switch {
	case err == nil && t.checkpoint == "":
		err = fail(exitIO, distill.RemoveCheckpoints(checkpoint))
		return err
	case errors.Is(err, distill.ErrInterrupted):
		return failf(exitInterrupted, "run the same command with --resume to go on", "interrupted; checkpoint %s", j.trained.Checkpoint)
	case err != nil:
		return fail(exitUsage, err)
	}
	return nil
}

// pairTaps matches the attention blocks of student and teacher.
func pairTaps(s, t []passes.AttentionTap) ([]distill.TapPair, error) {
	if len(s) != len(t) {
		return nil, fmt.Errorf("the teacher has %d attention blocks, the student %d: use --dgd 0 with this teacher", len(t), len(s))
	}
	var out []distill.TapPair
	for i := range s {
		out = append(out, distill.TapPair{StudentQ: s[i].Q, StudentK: s[i].K, TeacherQ: t[i].Q, TeacherK: t[i].K})
	}
	return out, nil
}

// dataDigest identifies the training data by image names and labels.
func (j *job) dataDigest() string {
	h := sha256.New()
	for i := range j.trainSet.Len() {
		fmt.Fprintf(h, "%s %d\n", filepath.Base(j.trainSet.ImageName(i)), j.trainSet.Label(i))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// write lowers the student, writes it to a temporary file, verifies that file
// and renames it.
func (j *job) write(ctx context.Context) error {
	packed, err := export.Packed(j.student)
	if err != nil {
		return fail(exitInternal, err)
	}
	if err := j.meta(packed); err != nil {
		return err
	}
	samples, err := j.samples(ctx, 64)
	if err != nil {
		return err
	}
	j.written, err = export.Write(ctx, j.o.out, packed, export.Options{
		Write:   onnxio.WriteOptions{MinOpset: 18, MinIR: 8, Version: toolVersion()},
		Student: j.student, Samples: samples, Threads: j.app.threads, Force: j.o.force,
	})
	if errors.Is(err, export.ErrMismatch) {
		return failf(exitVerify, "the file is withheld; --force keeps it", "%v", err)
	}
	return fail(exitIO, err)
}

// samples gives evaluation images as graph inputs for the verification.
func (j *job) samples(ctx context.Context, n int) ([]map[string]*ir.Tensor, error) {
	split := j.evalSet.Take(n, 0)
	l, err := dataset.NewLoader(split, j.images.prep, j.images.shape, dataset.LoaderOptions{Context: ctx, Batch: split.Len()})
	if err != nil {
		return nil, fail(exitIO, err)
	}
	b, err := l.Batch(0, 0)
	if err != nil {
		return nil, fail(exitIO, err)
	}
	s := j.images.shape
	return []map[string]*ir.Tensor{{j.student.Inputs[0].Name: ir.Of(b.X, len(b.Labels), s.C, s.H, s.W)}}, nil
}

// meta notes in the file how it was made.
func (j *job) meta(g *ir.Graph) error {
	recipe, err := json.Marshal(j.recipe())
	if err != nil {
		return err
	}
	layers, err := json.Marshal(export.LayerBits(g))
	if err != nil {
		return err
	}
	g.Meta["qvitc.version"] = toolVersion()
	g.Meta["qvitc.recipe"] = string(recipe)
	g.Meta["qvitc.layers"] = string(layers)
	g.Meta["qvitc.preprocess"] = j.images.prep.String()
	g.Meta["qvitc.teacher"] = j.model.sha
	g.Meta["qvitc.data"] = j.dataDigest()
	return nil
}

// recipe is every option that shapes the result, as resolved.
func (j *job) recipe() map[string]string {
	t := j.o.train
	r := map[string]string{
		"bits": j.bits.String(), "method": j.o.method, "irm": j.o.irm, "calib": j.o.calib,
		"samples": strconv.Itoa(j.o.samples), "seed": strconv.FormatUint(t.seed, 10),
	}
	if j.o.method == "qat" {
		for k, v := range map[string]float64{"epochs": t.epochs, "lr": t.lr, "warmup": t.warmUp, "hard": t.hard, "soft": t.soft,
			"tau": t.tau, "dgd": t.dgd, "ema": t.ema, "damping": t.damping} {
			r[k] = strconv.FormatFloat(v, 'g', -1, 64)
		}
		r["batch"], r["optimizer"], r["dgd-mode"] = strconv.Itoa(t.batch), t.optimiser, t.dgdMode
	}
	return r
}

// measure evaluates the written file and compares it with the teacher.
func (j *job) measure(ctx context.Context) error {
	back, err := onnxio.Load(j.written.Path, onnxio.Options{})
	if err != nil {
		return fail(exitVerify, err)
	}
	if j.studentEval, err = j.evaluate(ctx, "measure", back); err != nil {
		return err
	}
	j.agreement = agreement(j.teacherEval, j.studentEval)
	return nil
}

// agreement is the share of images that both graphs put in the same class.
func agreement(a, b *distill.Evaluation) float64 {
	same := 0
	for i, c := range a.Predicted {
		if c == b.Predicted[i] {
			same++
		}
	}
	return float64(same) / float64(max(1, len(a.Predicted)))
}

// finish prints the summary and checks the accuracy gate.
func (j *job) finish(elapsed time.Duration) error {
	if err := j.summary(elapsed); err != nil {
		return err
	}
	if d := 100 * (j.teacherEval.Top1 - j.studentEval.Top1); j.o.maxDrop > 0 && d > j.o.maxDrop {
		return failf(exitGate, "more --epochs or more bits", "top-1 fell by %.2f points, the gate is %.2f; %s is written", d, j.o.maxDrop, j.o.out)
	}
	return nil
}
