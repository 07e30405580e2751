package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/qvitc/qvitc/report"
)

// job carries one compression from stage to stage.
type job struct {
	trainee
	o    *compressFlags
	bits bitPlan

	teacher    *ir.Graph
	teacherSHA string // of the teacher's file
	other      *model // of --teacher; nil where the model itself teaches
	layers     []passes.Layer

	teacherEval    *distill.Evaluation
	labelAgreement float64 // of the teacher on training images; NaN without labels

	student     *ir.Graph
	calibration *quantize.Calibration
	target      export.Target
	built       *export.Built
	studentEval *distill.Evaluation
	agreement   float64
}

// load reads model and teacher and proves that the plan fits the model.
func (j *job) load(context.Context) error {
	err := j.readFloat("compress")
	if err != nil || j.stopped != nil {
		return err
	}
	m := j.model
	if j.classes, err = m.classes(); err != nil {
		return err
	}
	if j.arch, err = report.Describe(m.graph); err != nil {
		return fail(exitUnsupported, err)
	}
	if j.arch.Blocks == 0 {
		return failf(exitUnsupported, "qvitc inspect shows what was recognised", "%s: no attention block recognised: not a vision transformer this tool knows", m.path)
	}
	if j.layers, err = j.o.plan(j.bits).Resolve(m.graph); err != nil {
		return fail(exitUsage, err)
	}
	j.teacher, j.teacherSHA = m.graph, m.sha
	if j.o.teacher != "" {
		err = j.otherTeacher()
	}
	return err
}

// otherTeacher reads the model of --teacher.
func (j *job) otherTeacher() (err error) {
	if j.other, err = j.app.load(j.o.teacher, passFlags{list: "clean"}); err != nil {
		return err
	}
	if err := j.other.finite(); err != nil {
		return err
	}
	j.teacher, j.teacherSHA = j.other.graph, j.other.sha
	return j.other.like(j.model)
}

// open opens the data and says what the job is about.
func (j *job) open(ctx context.Context) error {
	o := j.o
	var im *images
	var err error
	if j.synthetic() {
		im, err = o.synthetic(j.model)
	} else {
		im, err = o.data.open(ctx, j.model)
	}
	if err != nil {
		return err
	}
	if err := j.divide(im); err != nil {
		return err
	}
	if j.other != nil {
		if err := j.app.normaliseFor(j.other, j.model, im); err != nil {
			return err
		}
	}
	if o.maxDrop > 0 && !j.evalSet.Labelled() {
		return failf(exitUsage, "", "--max-drop needs labels, %s has none", j.images.set.Path)
	}
	if o.method == "qat" {
		if err := j.fullBatch(); err != nil {
			return err
		}
	}
	return j.announce("")
}

// baseline measures the float model.
func (j *job) baseline(ctx context.Context) (err error) {
	name := func() string {
		return fmt.Sprintf("%s images %s as %s", j.teacherName(), j.evalSet.Digest(), j.images.prep)
	}
	if j.teacherEval, err = j.app.teachers.evaluation(name, func() (*distill.Evaluation, error) {
		return j.app.evaluate(ctx, "baseline", j.teacher, j.evalSet, j.images)
	}); err != nil {
		return err
	}
	if j.evalSet.Labelled() {
		j.app.note("float model: top-1 %.2f %%", 100*j.teacherEval.Top1)
		if j.teacherEval.Top1 < 2/float64(j.classes) {
			j.app.note("note: that is hardly better than guessing: check --preprocess and the order of the classes")
		}
	}
	if j.o.method == "qat" {
		j.labelAgreement, err = j.app.labelAgreement(ctx, j.teacher, j.trainSet, j.images, j.o.train.seed)
	}
	return err
}

// labelSample is how many training images are looked at for wrong labels.
const labelSample = 512

// labelAgreement measures before a training how often the teacher tells the
// label of a training image, and says so: distillation and labels pull apart
// where they differ. NaN where there are no labels.
func (a *app) labelAgreement(ctx context.Context, teacher *ir.Graph, train *dataset.Split, im *images, seed uint64) (float64, error) {
	if !train.Labelled() {
		return math.NaN(), nil
	}
	e, err := a.evaluate(ctx, "labels", teacher, train.Take(labelSample, seed), im)
	if err != nil {
		return 0, err
	}
	a.note("teacher and labels agree on %.1f %% of %d training images", 100*e.Top1, e.Images)
	return e.Top1, nil
}

// evaluate measures a graph on a split.
func (a *app) evaluate(ctx context.Context, title string, g *ir.Graph, split *dataset.Split, im *images) (*distill.Evaluation, error) {
	l, err := im.loader(ctx, split, 256)
	if err != nil {
		return nil, err
	}
	w := &watched{Loader: l}
	p := a.progress(title, l.Len())
	defer p.done()
	e, err := distill.Evaluate(ctx, g, w, distill.EvalOptions{Threads: a.threads, Progress: func(n int) { p.at(n, "") }})
	return e, w.fail(exitUnsupported, err)
}

// quantise makes the student: a copy of the model with IRM and FakeQuant nodes.
func (j *job) quantise(context.Context) error {
	j.student, _ = j.model.graph.Clone()
	list := passes.Quantize(j.o.plan(j.bits))
	p := j.o.passes.on(list, len(j.clean))
	res, err := j.app.driver(p, "quantize").Run(j.student, list)
	if err != nil {
		return fail(exitUnsupported, fmt.Errorf("%s: %w", j.path, err))
	}
	for _, s := range res.Steps {
		for _, n := range s.Report.Notes {
			j.app.note("note: %s", n)
		}
	}
	if p.stopAfter != "" {
		j.stopped = j.student
	}
	return nil
}

// calibrate equalises norms and sets the scales, from the same calibration images.
func (j *job) calibrate(ctx context.Context) error {
	split := j.trainSet.Take(j.o.samples, j.o.train.seed)
	see := func(title string, work func(quantize.Batches, quantize.CalibrateOptions) error) error {
		l, err := j.images.loader(ctx, split, 32)
		if err != nil {
			return err
		}
		w := &watched{Loader: l}
		p := j.app.progress(title, l.Len())
		defer p.done()
		err = work(w.batches(), quantize.CalibrateOptions{
			Method: quantize.Method(j.o.calib), Threads: j.app.threads, Progress: func(n int) { p.at(n, "") },
		})
		return w.fail(exitUnsupported, errors.Join(w.err, err))
	}
	if j.o.equalise {
		if err := see("equalise", func(b quantize.Batches, o quantize.CalibrateOptions) error {
			_, err := quantize.Equalise(ctx, j.student, b, o)
			return err
		}); err != nil {
			return err
		}
	}
	return see("calibrate", func(b quantize.Batches, o quantize.CalibrateOptions) (err error) {
		j.calibration, err = quantize.Calibrate(ctx, j.student, b, o)
		return err
	})
}
