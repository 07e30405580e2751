package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/qvitc/qvitc/bench"
	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/spf13/cobra"
)

// trainBenchFlags are the options of bench --train.
type trainBenchFlags struct {
	on   bool
	bits string
	irm  string
	fast bool
}

func (o *trainBenchFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.on, "train", false, "measure training steps on a float model instead of its answers")
	f.StringVarP(&o.bits, "bits", "b", "w4a4", "with --train: widths as in compress, or float")
	f.BoolVar(&o.fast, "fast-backward", compressTraining.fast, "with --train: gradients of quantised products in 16-bit integers, as in compress")
	f.StringVar(&o.irm, "irm", defaultIRM, "with --train: information rectification of q and k: rescale, layernorm, static or off")
}

// trainBenched is what bench --train --json prints. The rate at the top is that
// of the step without a teacher, which is what other programs are compared with.
type trainBenched struct {
	Model        string       `json:"model"`
	Machine      string       `json:"machine"`
	Version      string       `json:"version"`
	Kernels      string       `json:"kernels"`
	Bits         string       `json:"bits"`
	Threads      int          `json:"threads"`
	Batch        int          `json:"batch"`
	Gradients    string       `json:"gradients"` // of quantised products: int16 or float32
	Params       int          `json:"parameters"`
	ImagesPerSec float64      `json:"images_per_s"`
	Steps        []stepBench  `json:"steps"`
	Peers        []peerResult `json:"peers,omitempty"`
}

// stepBench measures one kind of step.
type stepBench struct {
	Teacher      bool        `json:"teacher"` // logits of and DGD against the float model
	Runs         int         `json:"runs"`
	BestMs       float64     `json:"best_ms"`
	P50Ms        float64     `json:"p50_ms"`
	P95Ms        float64     `json:"p95_ms"`
	ImagesPerSec float64     `json:"images_per_s"` // at the median
	ResidentMB   float64     `json:"resident_mb"`
	OverBareMB   float64     `json:"over_bare_mb"`
	Phases       []phaseTime `json:"phases"`
}

// phaseTime is the time of one phase of a step, over all threads, divided by
// their number.
type phaseTime struct {
	Name  string  `json:"name"`
	Ms    float64 `json:"ms"`
	Share float64 `json:"share"`
}

func (a *app) benchTrain(ctx context.Context, path string, o *benchFlags) error {
	b := &trainBench{app: a, o: o, bare: bench.Resident()}
	var err error
	if b.bits, err = parseBits(bitsOr(o.train.bits, "w4a4")); err != nil {
		return err
	}
	if err := checkIRM(o.train.irm); err != nil {
		return err
	}
	if b.model, err = a.load(path, passFlags{list: "clean"}); err != nil {
		return err
	}
	if b.model.packed() {
		return failf(exitUnsupported, "give the float model it was made from", "%s: is compressed; training starts from a float model", path)
	}
	if b.shape, err = b.model.imageShape(); err != nil {
		return err
	}
	if err := fitsMemory(o.batch, []int{o.batch, b.shape.C, b.shape.H, b.shape.W}); err != nil {
		return err
	}
	if b.classes, err = b.model.classes(); err != nil {
		return err
	}
	r := &trainBenched{Model: path, Machine: bench.Machine(), Version: toolVersion(), Kernels: kernel.Name(), Bits: o.train.bits, Gradients: o.train.gradients(), Threads: a.threads, Batch: o.batch}
	if b.peers, err = o.peers.startTraining(ctx, b); err != nil {
		return err
	}
	defer b.peers.close()
	stop, err := o.startProfile()
	if err != nil {
		return err
	}
	if err := stop(b.steps(ctx, r)); err != nil {
		return err
	}
	r.ImagesPerSec = r.Steps[0].ImagesPerSec
	if a.json {
		return a.printJSON(r)
	}
	a.printTrainBenched(r)
	return nil
}

// steps measures the step without the teacher and, unless it is a float one, with it.
func (b *trainBench) steps(ctx context.Context, r *trainBenched) error {
	for _, teacher := range []bool{false, true} {
		if teacher && b.o.train.float() {
			break
		}
		s, err := b.step(ctx, teacher, r)
		if err != nil {
			return err
		}
		r.Steps = append(r.Steps, *s)
	}
	return nil
}

// gradients is the form in which gradients of products are multiplied.
func (o *trainBenchFlags) gradients() string {
	if o.fast && !o.float() {
		return "int16"
	}
	return "float32"
}

func (o *trainBenchFlags) float() bool { return o.bits == "float" }

func bitsOr(bits, float string) string {
	if bits == "float" {
		return float
	}
	return bits
}

// trainBench is one call of bench --train.
type trainBench struct {
	app     *app
	o       *benchFlags
	bare    bench.Memory
	model   *model
	bits    bitPlan
	shape   dataset.Shape
	classes int
	peers   peers
}

// student is the graph to train: a copy, quantised and calibrated on a few
// synthetic images unless the training is a float one.
func (b *trainBench) student(ctx context.Context) (*ir.Graph, error) {
	g, _ := b.model.graph.Clone()
	if b.o.train.float() {
		return g, nil
	}
	plan := passes.DefaultPlan(b.bits.weights, b.bits.acts)
	plan.IRM = b.o.train.irm
	if _, err := (&passes.Driver{}).Run(g, passes.Quantize(plan)); err != nil {
		return nil, fail(exitUnsupported, fmt.Errorf("%s: %w", b.model.path, err))
	}
	batch, err := b.images(2)
	if err != nil {
		return nil, fail(exitUnsupported, fmt.Errorf("%s: %w", b.model.path, err))
	}
	_, err = quantize.Calibrate(ctx, g, func(i int) ([]float32, int, bool) { return batch.X, batch.N, i == 0 },
		quantize.CalibrateOptions{Method: "minmax", Threads: b.app.threads})
	return g, fail(exitUnsupported, err)
}

// images draws n synthetic images with random labels.
func (b *trainBench) images(n int) (*dataset.Batch, error) {
	split, err := dataset.Synthetic(b.shape, n, 0, 0).Split(dataset.Train)
	if err != nil {
		return nil, err
	}
	l, err := dataset.NewLoader(split, dataset.Preprocess{}, b.shape, dataset.LoaderOptions{Batch: n})
	if err != nil {
		return nil, err
	}
	batch, err := l.Batch(0, 0)
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(0, 1))
	for i := range batch.Labels {
		batch.Labels[i] = int32(r.IntN(b.classes))
	}
	return batch, nil
}

// sameBatch is a data set of one batch, n times an epoch.
type sameBatch struct {
	b *dataset.Batch
	n int
}

func (s sameBatch) Batches() int                           { return s.n }
func (s sameBatch) Batch(_, _ int) (*dataset.Batch, error) { return s.b, nil }

// step measures training steps, with the teacher or without. Without it, the
// peers take turns.
func (b *trainBench) step(ctx context.Context, teacher bool, r *trainBenched) (*stepBench, error) {
	student, err := b.student(ctx)
	if err != nil {
		return nil, err
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	w := &stepWatch{ctx: ctx, done: done, warm: b.o.warmUp, want: b.o.iters, phases: &distill.Phases{}}
	if !teacher {
		w.peers = b.peers.subjects()
	}
	batch, err := b.images(b.o.batch)
	if err != nil {
		return nil, fail(exitUnsupported, fmt.Errorf("%s: %w", b.model.path, err))
	}
	j := distill.Job{
		Student: student, Data: sameBatch{batch, w.warm + 2*w.want + 2}, Phases: w.phases, Progress: w.progress,
		Options: distill.Options{Threads: b.app.threads, LR: 1e-5, Loss: &distill.Loss{Hard: 1}, FastBackward: b.o.train.fast},
	}
	if teacher {
		j.Teacher, j.Options.Loss = b.model.graph, nil
		j.Options.DGD = distill.DGD{Mode: distill.DGDPaper, Lambda: 1, TeacherNorm: b.o.train.irm == passes.IRMRescale}
		if j.Taps, err = pairTaps(passes.Taps(student), passes.Taps(b.model.graph)); err != nil {
			return nil, fail(exitInternal, err)
		}
	}
	res, err := distill.Train(ctx, j)
	switch {
	case w.err != nil:
		return nil, fail(exitUnsupported, w.err)
	case len(w.times) >= w.want: // which ended the run
	case errors.Is(err, distill.ErrInterrupted):
		return nil, fail(exitInternal, context.Canceled)
	case err != nil:
		return nil, fail(exitUnsupported, fmt.Errorf("%s: %w", b.model.path, err))
	}
	s := bench.Summarise(w.times)
	out := &stepBench{Teacher: teacher, Runs: s.Runs, BestMs: bench.Ms(s.Best), P50Ms: bench.Ms(s.P50), P95Ms: bench.Ms(s.P95),
		ImagesPerSec: float64(b.o.batch) / s.P50.Seconds(), ResidentMB: mb(w.memory.Resident), OverBareMB: mb(w.memory.Resident - b.bare.Resident)}
	out.Phases = phaseTimes(w.phases, w.measured, b.app.threads)
	r.Params = res.Elements
	if !teacher {
		r.Peers = b.peers.results(append([][]time.Duration{w.times}, w.peerTimes...))
	}
	return out, nil
}

// stepWatch takes the time of steps as the trainer reports them.
type stepWatch struct {
	ctx        context.Context
	done       func()
	warm, want int
	phases     *distill.Phases
	peers      []bench.Subject

	last      time.Time
	cold      bool // the caches hold what a peer left
	inTurn    int
	times     []time.Duration
	measured  int // steps in phases
	peerTimes [][]time.Duration
	memory    bench.Memory
	err       error
}

// trainTurn is the number of steps of a turn when peers are measured too.
const trainTurn = 3

func (w *stepWatch) progress(s distill.Step) {
	now := time.Now()
	switch {
	case s.Step < w.warm || w.last.IsZero():
	case s.Step == w.warm:
		w.phases.Reset()
	case w.cold:
		w.cold, w.measured = false, w.measured+1
	default:
		w.times = append(w.times, now.Sub(w.last))
		w.measured++
		w.inTurn++
	}
	if len(w.times) >= w.want && w.memory.Resident == 0 {
		w.memory = bench.Resident()
		w.done()
	}
	if w.inTurn == trainTurn {
		w.inTurn = 0
		w.turn()
	}
	w.last = time.Now()
}

// turn lets the peers make as many steps.
func (w *stepWatch) turn() {
	for i, p := range w.peers {
		if w.peerTimes == nil {
			w.peerTimes = make([][]time.Duration, len(w.peers))
		}
		t, err := p.Time(context.WithoutCancel(w.ctx), trainTurn+1)
		if err != nil {
			w.err = fmt.Errorf("%s: %w", p.Name(), err)
			w.done()
			return
		}
		w.peerTimes[i] = append(w.peerTimes[i], t[1:]...)
		w.cold = true
		time.Sleep(bench.Settle)
	}
}

func phaseTimes(p *distill.Phases, steps, threads int) []phaseTime {
	var out []phaseTime
	total := 0.0
	for _, t := range p.Times() {
		ms := bench.Ms(t.Time) / float64(max(1, steps))
		if t.Name != "optimiser" {
			ms /= float64(threads)
		}
		total += ms
		out = append(out, phaseTime{Name: t.Name, Ms: ms})
	}
	for i := range out {
		out[i].Share = out[i].Ms / max(total, 1e-9)
	}
	return out
}

func (a *app) printTrainBenched(r *trainBenched) {
	w := a.out
	fmt.Fprintf(w, "model       %s  training at %s, gradients of products in %s, %d parameters\n", r.Model, r.Bits, r.Gradients, r.Params)
	fmt.Fprintf(w, "machine     %s; qvitc %s, kernels %s\n", r.Machine, r.Version, r.Kernels)
	for _, s := range r.Steps {
		fmt.Fprintf(w, "\n%s teacher\n", map[bool]string{true: "with", false: "without"}[s.Teacher])
		fmt.Fprintf(w, "step        p50 %.1f ms, p95 %.1f, best %.1f  (batch %d, %s, %d steps)\n", s.P50Ms, s.P95Ms, s.BestMs, r.Batch, count(r.Threads, "thread"), s.Runs)
		fmt.Fprintf(w, "throughput  %.1f images/s\n", s.ImagesPerSec)
		fmt.Fprintf(w, "memory      %.1f MB resident, %.1f MB over the bare process\n", s.ResidentMB, s.OverBareMB)
		for _, p := range s.Phases {
			fmt.Fprintf(w, "  %-10s %8.2f ms %6.1f%%\n", p.Name, p.Ms, 100*p.Share)
		}
	}
	printPeers(w, r.Peers, trainTurn)
}
