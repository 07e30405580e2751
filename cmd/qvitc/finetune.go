package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/report"
	"github.com/spf13/cobra"
)

// finetuneFlags are the options of qvitc finetune.
type finetuneFlags struct {
	data    dataFlags
	passes  passFlags
	out     string
	classes int
	teacher string
	freeze  []string
	recipe  string
	apart   bool // --external-data
	train   trainFlags
}

func (a *app) finetuneCmd() *cobra.Command {
	o := &finetuneFlags{train: finetuneTraining}
	c := &cobra.Command{
		Use:   "finetune MODEL.onnx",
		Short: "Train a float vision transformer on labelled images",
		Long: `finetune trains a float model on labelled images, from the weights it has, be
they trained elsewhere or random (qvitc new), and writes a float ONNX file that
any runtime reads and qvitc compress takes. --classes gives it a fresh head.
With --teacher the model also learns from the answers of another one. The model
file is not changed.`,
		Example: "  qvitc finetune deit.onnx --data flowers/ --classes 5 -o flowers.onnx\n" +
			"  qvitc new deit --dim 192 --depth 6 --heads 3 --patch 4 --image 32 --classes 10 -o start.onnx\n" +
			"  qvitc finetune start.onnx --data cifar10/ --epochs 30 --augment medium -o cifar.onnx",
		Args: oneModel,
		RunE: func(c *cobra.Command, args []string) error {
			if err := applyRecipe(c.Flags(), o.recipe); err != nil {
				return err
			}
			if o.teacher != "" && !slices.ContainsFunc([]string{"hard", "soft", "teacher-hard", "dgd"}, c.Flags().Changed) {
				o.train.hard, o.train.soft = 0.5, 0.5
			}
			return a.finetune(c.Context(), args[0], o)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.out, "output", "o", "", "output file (default MODEL.tuned.onnx)")
	f.IntVar(&o.classes, "classes", 0, "give the model a fresh head for this many classes (0: keep the head it has)")
	f.StringVar(&o.teacher, "teacher", "", "a float model to learn from beside the labels, half and half unless --hard, --soft, --teacher-hard or --dgd say otherwise")
	f.StringArrayVar(&o.freeze, "freeze", nil, "keep these parameters as they are: globs on their names, or backbone for all but the heads (repeatable)")
	f.BoolVar(&o.apart, "external-data", false, "put the weights into a second file (automatic above 2 GiB)")
	addRecipe(c, &o.recipe)
	o.data.add(c)
	o.data.addLimit(c)
	o.passes.add(c)
	o.train.add(c)
	return c
}

// tuning carries one finetune from stage to stage.
type tuning struct {
	app   *app
	o     *finetuneFlags
	path  string
	start time.Time
	clean []passes.Pass

	model   *model
	teacher *model // nil: none
	arch    *report.Arch
	classes int
	stopped *ir.Graph // what --stop-after asked to see; ends the job

	images            *images
	trainSet, evalSet *dataset.Split
	freshHead         bool
	frozen            map[*ir.Value]bool
	trained           *distill.Result
	epochs            []epochPoint
	written           *export.Result
	eval              *distill.Evaluation
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
	t := &tuning{app: a, o: o, path: path, start: time.Now()}
	if o.out == "" {
		o.out = strings.TrimSuffix(path, ".onnx") + ".tuned.onnx"
	}
	var err error
	if t.clean, err = o.passes.parse(); err != nil {
		return nil, err
	}
	if err := o.passes.check(t.clean); err != nil {
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
		return nil, failf(exitUsage, "name one with --teacher", "--soft, --teacher-hard and --dgd need a teacher")
	}
	if err := checkOutput(o.out, path, o.teacher); err != nil {
		return nil, err
	}
	return t, checkOutput(t.checkpoint())
}

// checkpoint is the base name of the checkpoint files.
func (t *tuning) checkpoint() string {
	if c := t.o.train.checkpoint; c != "" {
		return c
	}
	return t.o.out + ".ckpt"
}

// load reads and cleans the model.
func (t *tuning) load(context.Context) error {
	m, err := readModel(t.path)
	if err != nil {
		return err
	}
	t.model = m
	if m.packed() {
		return failf(exitUnsupported, "finetune the float model it was made from", "%s: is compressed already", m.path)
	}
	if err := m.finite(); err != nil {
		return err
	}
	if err := t.app.clean(m, t.o.passes); err != nil {
		return err
	}
	if t.o.passes.on(t.clean, 0).stopAfter != "" {
		t.stopped = m.graph
	}
	return nil
}

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
		mine, its := t.model.graph.Meta, t.teacher.graph.Meta["qvitc.preprocess"]
		if mine["qvitc.preprocess"] == "" && its != "" { // both see the same images: those that the teacher knows
			if mine == nil {
				mine = map[string]string{}
				t.model.graph.Meta = mine
			}
			mine["qvitc.preprocess"] = its
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
	a, o := t.app, t.o
	var err error
	if t.images, err = o.data.open(ctx, t.model); err != nil {
		return err
	}
	o.train.augment.side = min(t.images.shape.H, t.images.shape.W)
	if t.trainSet, err = t.images.split(dataset.Train, t.classes); err != nil {
		return withHint(err, "--classes gives the model a head for as many classes as the data has")
	}
	if t.evalSet, err = t.images.split(dataset.Eval, t.classes); err != nil {
		return err
	}
	if !t.trainSet.Labelled() && t.teacher == nil {
		return failf(exitUsage, "--teacher names a model to learn from instead", "finetune needs labels, %s has none", t.images.set.Path)
	}
	if o.data.limit > 0 {
		t.evalSet = t.evalSet.Take(o.data.limit, 0)
	}
	if o.train.batch > t.trainSet.Len() {
		return failf(exitUsage, "", "--batch %d: there are %d training images", o.train.batch, t.trainSet.Len())
	}
	if _, err := atomicfile.RemoveStale(o.out, t.start); err != nil {
		return fail(exitIO, err)
	}
	head := ""
	if t.freshHead {
		head = fmt.Sprintf(", a fresh head for %d classes", t.classes)
	}
	a.note("%s: %s, %d blocks, %d parameters%s; %s: %d images to train on, %d to measure on",
		t.path, t.arch.Name, t.arch.Blocks, t.arch.Params, head, t.images.set.Path, t.trainSet.Len(), t.evalSet.Len())
	a.note("preprocessing: %s (%s)", t.images.prep, t.images.prep.Source)
	for _, n := range slices.Concat(t.model.notes, t.images.set.Notes) {
		a.note("note: %s", n)
	}
	return nil
}

func (t *tuning) close() {
	if t.images != nil {
		t.images.set.Close()
	}
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

// recipe is every option that shapes the result, as resolved.
func (t *tuning) recipe() map[string]string {
	r := map[string]string{"model": t.model.sha, "classes": fmt.Sprint(t.classes), "fresh-head": fmt.Sprint(t.freshHead)}
	if t.teacher != nil {
		r["teacher-sha256"] = t.teacher.sha
	}
	if len(t.o.freeze) > 0 {
		r["freeze"] = strings.Join(t.o.freeze, " ")
	}
	t.o.passes.recipe(r)
	t.o.train.recipe(r)
	return r
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

// epochPoint is what was measured after an epoch of this run.
type epochPoint struct {
	Epoch int     `json:"epoch"`
	Top1  float64 `json:"top1"`
}

// tuned is what finetune --json prints.
type tuned struct {
	Model      string       `json:"model"`
	Output     string       `json:"output"`
	Classes    int          `json:"classes"`
	Bytes      int64        `json:"bytes"`
	Images     int          `json:"images"`
	Labelled   bool         `json:"labelled"`
	Top1       float64      `json:"top1"`
	Top5       float64      `json:"top5"`
	Epochs     []epochPoint `json:"epochs,omitempty"`
	Steps      int          `json:"steps"`
	Params     int          `json:"trained_parameters"`
	ImagesPerS float64      `json:"images_per_s"`
	Seconds    float64      `json:"seconds"`
	Seed       uint64       `json:"seed"`
	Recipe     any          `json:"recipe"`
}

// finish prints the summary and drops checkpoints that nobody asked for.
func (t *tuning) finish() error {
	if t.o.train.checkpoint == "" {
		if err := distill.RemoveCheckpoints(t.checkpoint()); err != nil {
			return fail(exitIO, err)
		}
	}
	if n := t.images.skippedNote(); n != "" {
		t.app.note("note: %s", n)
	}
	out := tuned{Model: t.path, Output: t.o.out, Classes: t.classes, Bytes: t.written.Bytes, Images: t.eval.Images, Labelled: t.evalSet.Labelled(),
		Top1: t.eval.Top1, Top5: t.eval.Top5, Epochs: t.epochs, Steps: t.trained.Steps, Params: t.trained.Elements, ImagesPerS: t.trained.ImagesPerSec,
		Seconds: time.Since(t.start).Seconds(), Seed: t.o.train.seed, Recipe: t.recipe()}
	if t.app.json {
		return t.app.printJSON(out)
	}
	w := t.app.out
	fmt.Fprintf(w, "model      %s  %s, %d blocks\n", t.path, t.arch.Name, t.arch.Blocks)
	fmt.Fprintf(w, "trained    %d of %d parameters, %d steps of %d images, %.0f images/s\n", out.Params, t.arch.Params, out.Steps, t.o.train.batch, out.ImagesPerS)
	if out.Labelled {
		fmt.Fprintf(w, "top-1      %.2f %% on %d images not trained on\n", 100*out.Top1, out.Images)
	} else {
		fmt.Fprintf(w, "top-1      no labels to measure on\n")
	}
	fmt.Fprintf(w, "written    %s  %s  (%s)\n", t.o.out, bytesText(out.Bytes), round(time.Since(t.start)))
	fmt.Fprintf(w, "next       %s\n", shellLine("qvitc", "compress", t.o.out, "--data", t.o.data.path, "-b", "w4a4"))
	return nil
}
