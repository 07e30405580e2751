package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/report"
)

// tuning carries one finetune from stage to stage.
type tuning struct {
	trainee
	o *finetuneFlags

	teacher   *model // nil: none
	freshHead bool
	frozen    map[*ir.Value]bool
	epochs    []epochPoint
	eval      *distill.Evaluation
}

// finetune is the pipeline: load, clean, give a head, train, write, measure.
func (a *app) finetune(ctx context.Context, path string, o *finetuneFlags) error {
	t, err := a.newTuning(path, o)
	if err != nil {
		return err
	}
	defer t.close()
	for _, stage := range []func(context.Context) error{t.load, t.head, t.open, t.train, t.write, t.measure} {
		if err := stage(ctx); err != nil {
			return a.interrupted(err, t.checkpoint())
		}
		if t.stopped != nil {
			return a.printGraph(t.stopped)
		}
	}
	return t.finish()
}

// newTuning settles what can be known before any file is read.
func (a *app) newTuning(path string, o *finetuneFlags) (*tuning, error) {
	t := &tuning{o: o, trainee: trainee{app: a, flags: &o.traineeFlags, path: path, start: time.Now()}}
	if o.out == "" {
		o.out = strings.TrimSuffix(path, ".onnx") + ".tuned.onnx"
	}
	if err := t.checkPasses(); err != nil {
		return nil, err
	}
	if o.classes < 0 {
		return nil, failf(exitUsage, "", "--classes %d: want 1 or more", o.classes)
	}
	if err := o.data.check(); err != nil {
		return nil, err
	}
	if err := o.train.check(); err != nil {
		return nil, err
	}
	if o.teacher == "" && o.train.needsTeacher() {
		return nil, failf(exitUsage, "name one with --teacher", "--soft, --teacher-hard, --dgd and --features need a teacher")
	}
	if err := checkOutput(o.out, path, o.teacher); err != nil {
		return nil, err
	}
	return t, checkOutput(t.checkpoint())
}

// load reads and cleans the model.
func (t *tuning) load(context.Context) error { return t.readFloat("finetune") }

// head gives the model the head that --classes asks for, and reads the teacher,
// which must fit it.
func (t *tuning) head(context.Context) error {
	var err error
	if t.classes, err = t.model.classes(); err != nil {
		return err
	}
	if n := t.o.classes; n > 0 {
		if err := passes.NewHead(t.model.graph, n, t.o.train.seed); err != nil {
			return fail(exitUnsupported, fmt.Errorf("%s: %w", t.path, err))
		}
		t.classes, t.freshHead = n, true
	}
	if t.arch, err = report.Describe(t.model.graph); err != nil {
		return fail(exitUnsupported, err)
	}
	if t.o.teacher != "" {
		if t.teacher, err = t.app.load(t.o.teacher, passFlags{list: "clean"}); err != nil {
			return err
		}
		if err := t.teacher.finite(); err != nil {
			return err
		}
		if err := t.teacher.like(t.model); err != nil {
			return err
		}
		if its := t.teacher.preprocessText(); t.model.preprocessText() == "" && its != "" && !t.o.data.prep.normalises() {
			if t.model.graph.Meta == nil {
				t.model.graph.Meta = map[string]string{}
			}
			t.model.graph.Meta["qvitc.preprocess"] = its // both see the same images: those that the teacher knows
		}
	}
	t.frozen, err = frozenParams(t.model.graph, t.o.freeze)
	return fail(exitUsage, err)
}

// frozenParams finds the parameters that --freeze names.
func frozenParams(g *ir.Graph, globs []string) (map[*ir.Value]bool, error) {
	frozen := map[*ir.Value]bool{}
	params := distill.Params(g)
	heads := passes.HeadParams(g)
	for _, glob := range globs {
		hits := 0
		var names []string
		for _, p := range params {
			ok := glob == "backbone" && !heads[p.Value]
			if glob != "backbone" {
				var err error
				if ok, err = passes.MatchGlob(glob, p.Name); err != nil {
					return nil, failf(exitUsage, "", "--freeze: bad glob %s: %v", ir.Quote(glob), err)
				}
			}
			names = append(names, p.Name)
			if ok {
				frozen[p.Value] = true
				hits++
			}
		}
		if hits == 0 {
			return nil, failf(exitUsage, "nearest: "+strings.Join(passes.Nearest(glob, names, 5), ", "), "--freeze %s matches no parameter", ir.Quote(glob))
		}
	}
	return frozen, nil
}

// open opens the data and says what the job is about.
func (t *tuning) open(ctx context.Context) error {
	im, err := t.o.data.open(ctx, t.model)
	if err != nil {
		return err
	}
	if err := t.divide(im); err != nil {
		var f *failure
		if errors.As(err, &f) && f.code != exitUsage { // no fault of the labels
			return err
		}
		return withHint(err, "--classes gives the model a head for as many classes as the data has")
	}
	if !t.trainSet.Labelled() && t.teacher == nil {
		return failf(exitUsage, "--teacher names a model to learn from instead", "finetune needs labels, %s has none", t.images.set.Path)
	}
	if t.teacher != nil {
		if err := t.app.normaliseFor(t.teacher, t.model, im); err != nil {
			return err
		}
	}
	if err := t.fullBatch(); err != nil {
		return err
	}
	head := ""
	if t.freshHead {
		head = fmt.Sprintf(", a fresh head for %d classes", t.classes)
	}
	return t.announce(head)
}

// train trains the graph in place and measures it after every epoch.
func (t *tuning) train(ctx context.Context) (err error) {
	r := training{
		flags: &t.o.train, student: t.model.graph, images: t.images, split: t.trainSet, checkpoint: t.checkpoint(),
		note:   fmt.Sprintf("finetune model %s classes %d freeze %q", t.model.sha, t.classes, t.o.freeze),
		frozen: t.frozen,
	}
	if t.teacher != nil {
		r.teacher = t.teacher.graph
		if _, err := t.app.labelAgreement(ctx, r.teacher, t.trainSet, t.images, t.o.train.seed); err != nil {
			return err
		}
		r.note += " teacher " + t.teacher.sha
	}
	if t.evalSet.Labelled() {
		r.epoch = func(done int) error {
			e, err := t.app.evaluate(ctx, "measure", t.model.graph, t.evalSet, t.images)
			if err == nil {
				t.epochs = append(t.epochs, epochPoint{done, e.Top1})
				t.app.note("epoch %d: top-1 %.2f %% on %d images, after %s", done, 100*e.Top1, e.Images, round(time.Since(t.start)))
			}
			return err
		}
	}
	t.trained, err = t.app.train(ctx, r)
	return err
}

// write writes the trained graph to a temporary file, verifies that file and
// renames it.
func (t *tuning) write(ctx context.Context) error {
	g, _ := t.model.graph.Clone()
	if _, err := t.app.driver(passFlags{}, "lower").Run(g, []passes.Pass{passes.LowerGelu}); err != nil {
		return fail(exitInternal, err)
	}
	recipe, err := json.Marshal(t.recipe())
	if err != nil {
		return err
	}
	if g.Meta == nil {
		g.Meta = map[string]string{}
	}
	maps.Copy(g.Meta, map[string]string{
		"qvitc.version": toolVersion(), "qvitc.training": string(recipe), "qvitc.preprocess": t.images.prep.String(), "qvitc.data": t.trainSet.Digest(),
	})
	samples, err := samplesOf(ctx, t.images, t.evalSet, g, 16)
	if err != nil {
		return err
	}
	t.written, err = export.Write(ctx, t.o.out, g, export.Options{
		Write:   onnxio.WriteOptions{MinOpset: 17, MinIR: 8, Version: toolVersion(), External: t.o.apart},
		Student: t.model.graph, Samples: samples, Threads: t.app.threads,
	})
	return fail(exitIO, err)
}

// measure evaluates the written file.
func (t *tuning) measure(ctx context.Context) error {
	back, err := onnxio.Load(t.written.Path, onnxio.Options{})
	if err != nil {
		return fail(exitVerify, err)
	}
	t.eval, err = t.app.evaluate(ctx, "measure", back, t.evalSet, t.images)
	return err
}
