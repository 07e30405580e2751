package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/qvitc/qvitc/report"
)

// job carries one compression from stage to stage.
type job struct {
	app   *app
	o     *compressFlags
	path  string
	start time.Time
	bits  bitPlan
	clean []passes.Pass

	model      *model
	teacher    *ir.Graph
	teacherSHA string // of the teacher's file
	arch       *report.Arch
	classes    int
	layers     []passes.Layer

	images            *images
	trainSet, evalSet *dataset.Split
	teacherEval       *distill.Evaluation
	labelAgreement    float64 // of the teacher on training images; NaN without labels

	student     *ir.Graph
	stopped     *ir.Graph // what --stop-after asked to see; ends the job
	calibration *quantize.Calibration
	trained     *distill.Result
	curve       []distill.Step // of the training, where app.finished is set
	target      export.Target
	built       *export.Built
	written     *export.Result
	studentEval *distill.Evaluation
	agreement   float64
}

// load reads model and teacher and proves that the plan fits the model.
func (j *job) load(context.Context) error {
	m, err := readModel(j.path)
	if err != nil {
		return err
	}
	j.model = m
	if m.packed() || passes.IsQuantised(m.graph) {
		return failf(exitUnsupported, "compress the float model it was made from", "%s: is compressed already", m.path)
	}
	if err := m.finite(); err != nil {
		return err
	}
	if err := j.app.clean(m, j.o.passes); err != nil {
		return err
	}
	if j.o.passes.on(j.clean, 0).stopAfter != "" {
		j.stopped = m.graph
		return nil
	}
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
		j.teacher, err = j.otherTeacher()
	}
	return err
}

// otherTeacher reads the graph of --teacher.
func (j *job) otherTeacher() (*ir.Graph, error) {
	t, err := j.app.load(j.o.teacher, passFlags{list: "clean"})
	if err != nil {
		return nil, err
	}
	if err := t.finite(); err != nil {
		return nil, err
	}
	j.teacherSHA = t.sha
	return t.graph, t.like(j.model)
}

// open opens the data and says what the job is about.
func (j *job) open(ctx context.Context) error {
	a, o := j.app, j.o
	var err error
	if o.data.path == "" {
		j.images, err = o.synthetic(j.model)
	} else {
		j.images, err = o.data.open(ctx, j.model)
	}
	if err != nil {
		return err
	}
	o.train.augment.side = min(j.images.shape.H, j.images.shape.W)
	if j.trainSet, err = j.images.split(dataset.Train, j.classes); err != nil {
		return err
	}
	if j.evalSet, err = j.images.split(dataset.Eval, j.classes); err != nil {
		return err
	}
	if o.data.limit > 0 {
		j.evalSet = j.evalSet.Take(o.data.limit, 0)
	}
	if o.maxDrop > 0 && !j.evalSet.Labelled() {
		return failf(exitUsage, "", "--max-drop needs labels, %s has none", j.images.set.Path)
	}
	if o.method == "qat" && o.train.batch > j.trainSet.Len() {
		return failf(exitUsage, "", "--batch %d: there are %d training images", o.train.batch, j.trainSet.Len())
	}
	if _, err := atomicfile.RemoveStale(o.out, j.start); err != nil {
		return fail(exitIO, err)
	}
	a.note("%s: %s, %d blocks, %d parameters; %s: %d images to train on, %d to measure on",
		j.path, j.arch.Name, j.arch.Blocks, j.arch.Params, j.images.set.Path, j.trainSet.Len(), j.evalSet.Len())
	if !j.synthetic() {
		a.note("preprocessing: %s (%s)", j.images.prep, j.images.prep.Source)
	}
	for _, n := range slices.Concat(j.model.notes, j.images.set.Notes) {
		a.note("note: %s", n)
	}
	return nil
}

func (j *job) close() {
	if j.images != nil {
		j.images.set.Close()
	}
}

// baseline measures the float model.
func (j *job) baseline(ctx context.Context) (err error) {
	if j.teacherEval, err = j.app.evaluate(ctx, "baseline", j.teacher, j.evalSet, j.images); err != nil {
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

// calibrate sets the scales from calibration images.
func (j *job) calibrate(ctx context.Context) error {
	split := j.trainSet.Take(j.o.samples, j.o.train.seed)
	l, err := j.images.loader(ctx, split, 32)
	if err != nil {
		return err
	}
	w := &watched{Loader: l}
	p := j.app.progress("calibrate", l.Len())
	defer p.done()
	j.calibration, err = quantize.Calibrate(ctx, j.student, w.batches(), quantize.CalibrateOptions{
		Method: quantize.Method(j.o.calib), Threads: j.app.threads, Progress: func(n int) { p.at(n, "") },
	})
	return w.fail(exitUnsupported, errors.Join(w.err, err))
}
