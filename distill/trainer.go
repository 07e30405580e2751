package distill

import (
	"context"
	"errors"
	"fmt"
	"math"
	goruntime "runtime"
	"slices"
	"time"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/internal/guard"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// Job is one fine-tuning of a student against its teacher.
type Job struct {
	Student *ir.Graph // trained in place: its constants hold the result
	Teacher *ir.Graph // read only; nil when the loss is Hard alone

	// StudentLogits and TeacherLogits are the [n, classes] outputs, class head
	// first; by default the graph's outputs.
	StudentLogits, TeacherLogits []*ir.Value

	Taps     []TapPair     // attentions that DGD compares
	Features []FeaturePair // what Options.Features compares
	Data     Source
	Options  Options

	// TeacherCache takes and gives answers of this teacher, as Options.TeacherCache
	// allows; nil: one is made for the job.
	TeacherCache *TeacherCache

	// DropPath lists the inputs of the student beside the image, in their order.
	DropPath []DropPath

	// Frozen tells which parameters keep their values; nil: none.
	Frozen func(Param) bool

	// Epoch is called after every full pass but the last, while the student
	// holds what would be the result: the average, where one is kept. An error
	// ends the run. May be nil.
	Epoch func(done int) error

	Phases *Phases // where the time of the steps is added up; may be nil

	// Pace is called before every step, which of so many, and may wait, so that jobs
	// can take turns: the time does not count. May be nil.
	Pace func(step, steps int)

	Progress func(Step)   // called after every step; may be nil
	Notify   func(string) // remarks, one line each: a checkpoint passed over, a step skipped; may be nil
}

// Step is what a progress display needs.
type Step struct {
	Step, Steps  int     // finished steps, all steps
	Epoch        float64 // passes over the data so far
	Loss         Parts   // of this step
	Recent       Parts   // running mean over about the last 50 steps
	LR, GradNorm float64
	Skipped      int // outlier steps so far
	Images       int // images of this run so far
	ImagesPerSec float64
	Elapsed, ETA time.Duration
}

// Result is the outcome of a run; the trained values are in the student.
type Result struct {
	Steps, Updates, Skipped int
	From                    int     // step that the run was resumed from; 0
	Loss                    Parts   // running mean at the end
	Curve                   []Point // running means at some hundred steps, those before From too
	Params, Elements        int     // trained constants, and numbers in them
	Checkpoint              string  // newest checkpoint file; empty when none was written
	Elapsed                 time.Duration
	ImagesPerSec            float64
}

// Point is the running mean of the losses after a step. A Result holds a hundred to
// two hundred, evenly spread, those before a resumption and the last step among them.
type Point struct {
	Step   int   `json:"step"`
	Recent Parts `json:"recent"`
}

const curvePoints = 100

// Train fine-tunes the student. When ctx is cancelled it finishes the step,
// writes a checkpoint and returns ErrInterrupted with a Result that names it. A
// number that is not finite ends the run with a *Fault. The same job gives the
// same bytes for any number of threads, and a resumed run those of the
// uninterrupted one.
func Train(ctx context.Context, j Job) (*Result, error) {
	t, err := newTrainer(&j)
	if err != nil {
		return nil, err
	}
	return t.run(ctx)
}

type trainer struct {
	job    *Job
	o      Options
	params []Param
	eng    *engine
	opt    *optimiser
	store  store

	model, config string // identity of the run
	steps         int
	head          checkpointHeader // counters of the run
	from          int
	saved         string // newest checkpoint
	start         time.Time
	images        int
}

func newTrainer(j *Job) (*trainer, error) {
	if j.Options.Threads == 0 {
		j.Options.Threads = goruntime.GOMAXPROCS(0)
	}
	o, err := j.Options.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("training options: %w", err)
	}
	t := &trainer{job: j, o: o, store: store{base: o.Checkpoint, fs: o.fs}}
	perEpoch := j.Data.Batches()
	if perEpoch < 1 {
		return nil, fmt.Errorf("the training data gives no batch: are there fewer images than the batch size?")
	}
	t.steps = max(1, int(math.Round(o.Epochs*float64(perEpoch))))
	if err := j.Student.Check(); err != nil {
		return nil, err
	}
	if t.params = Params(j.Student); len(t.params) == 0 {
		return nil, fmt.Errorf("graph %s has no parameter to train", ir.Quote(j.Student.Name))
	}
	if j.Frozen != nil {
		if t.params = slices.DeleteFunc(t.params, j.Frozen); len(t.params) == 0 {
			return nil, fmt.Errorf("graph %s: every parameter is frozen, nothing is left to train", ir.Quote(j.Student.Name))
		}
	}
	untie(t.params, j.Student, j.Teacher)
	for _, p := range t.params {
		if p.Kind != Scale {
			continue
		}
		for _, a := range p.Data {
			if !(a > 0) || !finite(float64(a)) {
				return nil, p.Quant.Errorf("scale %s holds %v: calibrate the quantisers before training", ir.Quote(p.Name), a)
			}
		}
	}
	if what, v := faultyParam(t.params); what != "" {
		return nil, &Fault{What: what, Value: v, Hint: "the model to be trained holds a number that is not finite"}
	}
	if t.eng, err = newEngine(j, t.params, o); err != nil {
		return nil, err
	}
	if t.eng.teacher != nil {
		if what, v := faultyParam(Params(t.eng.teacher)); what != "" {
			return nil, &Fault{What: "teacher's " + what, Value: v, Hint: "the teacher holds a number that is not finite"}
		}
	}
	t.opt = newOptimiser(t.params, o)
	if o.Checkpoint != "" {
		t.identify(perEpoch)
		t.store.clean(time.Now())
		if o.Resume {
			if err := t.resume(); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

func (t *trainer) notify(format string, args ...any) {
	if t.job.Notify != nil {
		t.job.Notify(fmt.Sprintf(format, args...))
	}
}

func (t *trainer) run(ctx context.Context) (*Result, error) {
	t.start = time.Now()
	feed := newFeed(t.job.Data, t.head.Step, t.steps)
	defer feed.stop()
	for t.head.Step < t.steps {
		if t.job.Pace != nil {
			asked := time.Now()
			t.job.Pace(t.head.Step, t.steps)
			t.start = t.start.Add(time.Since(asked))
		}
		b, err := feed.next()
		if err == nil {
			err = guard.Call(func() error { return t.step(b) })
		}
		if err != nil {
			return t.result(), err
		}
		if per := t.job.Data.Batches(); t.job.Epoch != nil && t.head.Step%per == 0 && t.head.Step < t.steps && ctx.Err() == nil {
			if err := t.epochEnd(t.head.Step / per); err != nil && ctx.Err() == nil {
				return t.result(), err
			}
		}
		if ctx.Err() != nil && t.head.Step < t.steps {
			if err := t.saveNow(); err != nil {
				return t.result(), fmt.Errorf("%w; its checkpoint failed: %w", ErrInterrupted, err)
			}
			return t.result(), ErrInterrupted
		}
	}
	if err := t.saveNow(); err != nil {
		return t.result(), err
	}
	if t.opt.ema != nil {
		for i, p := range t.params {
			copy(p.Data, t.opt.ema[i])
		}
	}
	return t.result(), nil
}

// epochEnd calls Job.Epoch; the parameters are the average's meanwhile.
func (t *trainer) epochEnd(done int) error {
	swap := func() {
		for i, p := range t.params {
			e := t.opt.ema[i]
			for k, x := range p.Data {
				p.Data[k], e[k] = e[k], x
			}
		}
	}
	if t.opt.ema != nil {
		swap()
		defer swap()
	}
	return t.job.Epoch(done)
}

// step trains on one batch. A checkpoint that is due is written when the numbers
// at its state have proved finite, before they change.
func (t *trainer) step(b *dataset.Batch) error {
	h := &t.head
	t.eng.step = h.Step
	parts, err := t.eng.run(b)
	if err != nil {
		if what, v := faultyParam(t.params); what != "" {
			return &Fault{Step: h.Step, What: what, Value: v, Hint: "lower the learning rate"}
		}
		if bad := (*runtime.NotFiniteError)(nil); errors.As(err, &bad) {
			return t.valueFault(b, bad)
		}
		return fmt.Errorf("step %d: %w", h.Step, err)
	}
	if !finite(parts.Total) {
		return t.lossFault(b, parts.Total)
	}
	t.images += len(b.Labels)
	if outlier(h.Window, parts.Total, t.o.Outlier) {
		h.Skipped++
		if h.InRow++; h.InRow >= outlierInRow {
			return fmt.Errorf("step %d: the loss has been an outlier for %d steps in a row (now %.4g): lower the learning rate", h.Step, h.InRow, parts.Total)
		}
		t.notify("step %d: loss %.4g is an outlier, the step is skipped", h.Step, parts.Total)
		h.Step++
		t.report(parts, 0, 0)
		return nil
	}
	damping := t.o.Damping * (1 - math.Cos(math.Pi*float64(h.Step)/float64(t.steps))) / 2
	lap := t.job.Phases.clock()
	norm, bad := t.opt.prepare(t.eng.total, damping, t.o.Threads)
	if !finite(norm) {
		f := &Fault{Step: h.Step, What: "the norm of the gradient", Value: norm, Hint: "lower the learning rate"}
		if bad.p >= 0 {
			f.What = fmt.Sprintf("element %d of the gradient of parameter %s", bad.lo, ir.Quote(t.params[bad.p].Name))
			f.Value = float64(t.eng.total[bad.p][bad.lo])
		}
		return f
	}
	if every := t.o.CheckpointEvery; every > 0 && h.Step > t.from && h.Step%every == 0 {
		if err := t.save(); err != nil {
			return err
		}
	}
	lr := t.o.rate(h.Step, t.steps)
	t.opt.step(t.eng.total, norm, lr, t.o.Threads)
	lap(phaseUpdate)
	h.Updates = t.opt.updates
	h.InRow = 0
	if t.o.Outlier > 0 {
		if h.Window = append(h.Window, parts.Total); len(h.Window) > outlierWindow {
			h.Window = h.Window[1:]
		}
	}
	h.Step++
	t.report(parts, lr, norm)
	return nil
}

// valueFault names the first value of the student that is not finite, or the argument of
// the quantiser that has met one.
func (t *trainer) valueFault(b *dataset.Batch, bad *runtime.NotFiniteError) error {
	f := &Fault{Step: t.head.Step, Value: float64(bad.Value), Hint: "lower the learning rate, or look at the data"}
	f.What = fmt.Sprintf("element %d of tensor %s, which the quantiser %s reads,", bad.Index, ir.Quote(bad.Tensor), ir.Quote(bad.Node))
	if what, v := diagnose(t.job.Student, b.X, len(b.Labels)); what != "" {
		f.What, f.Value = what, v
	}
	return f
}

// lossFault names the first thing that is not finite, from the parameters on.
func (t *trainer) lossFault(b *dataset.Batch, loss float64) error {
	f := &Fault{Step: t.head.Step, What: "the loss", Value: loss, Hint: "lower the learning rate, or look at the data"}
	if what, v := faultyParam(t.params); what != "" {
		f.What, f.Value = what, v
		return f
	}
	n := len(b.Labels)
	if what, v := diagnose(t.job.Student, b.X, n); what != "" {
		f.What, f.Value = what, v
		return f
	}
	if t.eng.teacher != nil {
		if what, v := diagnose(t.eng.teacher, b.X, n); what != "" {
			f.What, f.Value, f.Hint = "teacher's "+what, v, "the teacher does not fit the data"
		}
	}
	return f
}

const recentDecay = 0.98

func (t *trainer) report(p Parts, lr, norm float64) {
	h := &t.head
	if h.Step == 1 {
		h.Recent = p
	} else {
		mix := func(a *float64, b float64) { *a = recentDecay**a + (1-recentDecay)*b }
		mix(&h.Recent.Total, p.Total)
		mix(&h.Recent.Hard, p.Hard)
		mix(&h.Recent.TeacherHard, p.TeacherHard)
		mix(&h.Recent.Soft, p.Soft)
		mix(&h.Recent.DGD, p.DGD)
		mix(&h.Recent.Features, p.Features)
	}
	if h.Step%max(1, t.steps/curvePoints) == 0 || h.Step == t.steps {
		h.Curve = append(h.Curve, Point{h.Step, h.Recent})
	}
	h.Epoch = float64(h.Step) / float64(t.job.Data.Batches())
	if t.job.Progress == nil {
		return
	}
	s := Step{Step: h.Step, Steps: t.steps, Epoch: h.Epoch, Loss: p, Recent: h.Recent, LR: lr, GradNorm: norm,
		Skipped: h.Skipped, Images: t.images, Elapsed: time.Since(t.start)}
	s.ImagesPerSec = float64(t.images) / s.Elapsed.Seconds()
	s.ETA = time.Duration(float64(s.Elapsed) / float64(h.Step-t.from) * float64(t.steps-h.Step))
	t.job.Progress(s)
}

func (t *trainer) result() *Result {
	r := &Result{Steps: t.head.Step, Updates: t.head.Updates, Skipped: t.head.Skipped, From: t.from, Loss: t.head.Recent, Curve: t.head.Curve,
		Params: len(t.params), Checkpoint: t.saved, Elapsed: time.Since(t.start)}
	for _, p := range t.params {
		r.Elements += len(p.Data)
	}
	r.ImagesPerSec = float64(t.images) / r.Elapsed.Seconds()
	return r
}
