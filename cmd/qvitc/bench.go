package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/qvitc/qvitc/bench"
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/report"
	"github.com/qvitc/qvitc/runtime"
	"github.com/spf13/cobra"
)

type benchFlags struct {
	batch, warmUp, iters int
	profile              string
	peers                peerFlags
	train                trainBenchFlags
}

// benched is what bench --json prints. Times are of whole batches; memory is
// in units of 10⁶ bytes.
type benched struct {
	Model   string `json:"model"`
	Bytes   int64  `json:"bytes"`
	Machine string `json:"machine"`
	Version string `json:"version"`
	Kernels string `json:"kernels"`
	Threads int    `json:"threads"`
	Batch   int    `json:"batch"`
	Runs    int    `json:"runs"`

	LoadMs       float64 `json:"load_ms"`  // reading and preparing the model
	FirstMs      float64 `json:"first_ms"` // the first result after that
	BestMs       float64 `json:"best_ms"`
	P50Ms        float64 `json:"p50_ms"`
	P95Ms        float64 `json:"p95_ms"`
	P99Ms        float64 `json:"p99_ms"`
	MeanMs       float64 `json:"mean_ms"`
	ImagesPerSec float64 `json:"images_per_s"` // at the median

	ResidentMB float64 `json:"resident_mb"`  // of the process in the steady state
	OverBareMB float64 `json:"over_bare_mb"` // beyond the process before it loaded the model
	PeakMB     float64 `json:"peak_mb"`      // at most so far, loading included

	MACs            int64   `json:"macs"` // of one image
	IntegerMACShare float64 `json:"integer_mac_share"`

	Operators []operatorTime `json:"operators"`
	Peers     []peerResult   `json:"peers,omitempty"`

	operators func() error // fills in what the graph tells
}

func (a *app) benchCmd() *cobra.Command {
	o := &benchFlags{}
	c := &cobra.Command{
		Use:   "bench MODEL.onnx",
		Short: "Measure latency, throughput and memory of a model",
		Long: `bench runs a float or packed model on random images in the steady state and
prints percentiles of the latency, images a second, memory, and where the time
goes. One thread unless --threads says otherwise. --vs ort lets ONNX Runtime
take turns in a process of its own, when Python or Node has it, and prints ratios of the
best and of the median times: on a shared machine only these can be compared.

With --train it measures training steps on a float model: -b w4a4 and the like
for quantisation-aware training, with the teacher and without, -b float for
float training. --vs torch lets PyTorch take turns with an equal step.`,
		Example: "  qvitc bench deit.w4a4.onnx --threads 2\n" +
			"  qvitc bench deit.w4a4.onnx --vs ort --vs-model deit.onnx --vs-int8",
		Args: oneModel,
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("threads") {
				a.threads = 1
			}
			for _, name := range []string{"bits", "irm", "fast-backward"} {
				if c.Flags().Changed(name) && !o.train.on {
					return failf(exitUsage, "", "--%s says how to train: --train is missing", name)
				}
			}
			if o.train.on {
				set(&o.warmUp, 3, c.Flags().Changed("warmup"))
				set(&o.iters, 20, c.Flags().Changed("iters"))
			}
			return a.bench(c.Context(), args[0], o)
		},
	}
	f := c.Flags()
	f.IntVar(&o.batch, "batch", 1, "images in a run")
	f.IntVar(&o.warmUp, "warmup", 10, "runs before measuring (3 with --train)")
	f.IntVar(&o.iters, "iters", 100, "runs to measure (20 with --train)")
	f.StringVar(&o.profile, "profile", "", "write a CPU profile of the measured runs for go tool pprof")
	o.peers.add(c)
	o.train.add(c)
	return c
}

func (o *benchFlags) check() error {
	for _, f := range []struct {
		name   string
		n, min int
	}{{"batch", o.batch, 1}, {"warmup", o.warmUp, 0}, {"iters", o.iters, 1}} {
		if f.n < f.min {
			return failf(exitUsage, "", "--%s %d: want at least %d", f.name, f.n, f.min)
		}
	}
	return o.peers.check(o.train.on)
}

func (a *app) bench(ctx context.Context, path string, o *benchFlags) error {
	if err := o.check(); err != nil {
		return err
	}
	goruntime.GOMAXPROCS(a.threads)
	if o.train.on {
		return a.benchTrain(ctx, path, o)
	}
	r := &benched{Model: path, Machine: bench.Machine(), Version: toolVersion(), Kernels: kernel.Name(), Threads: a.threads, Batch: o.batch, Runs: o.iters}
	bare := bench.Resident()
	subject, err := a.benchSubject(ctx, path, o, r)
	if err != nil {
		return err
	}
	for range o.warmUp {
		if _, err := subject.Time(ctx, 1); err != nil {
			return fail(exitUnsupported, fmt.Errorf("%s: %w", path, err))
		}
	}
	after := bench.Resident()
	r.ResidentMB, r.OverBareMB, r.PeakMB = mb(after.Resident), mb(after.Resident-bare.Resident), mb(after.Peak)
	times, err := a.benchTurns(ctx, subject, o, r)
	if err != nil {
		return err
	}
	s := bench.Summarise(times)
	r.BestMs, r.P50Ms, r.P95Ms, r.P99Ms, r.MeanMs = bench.Ms(s.Best), bench.Ms(s.P50), bench.Ms(s.P95), bench.Ms(s.P99), bench.Ms(s.Mean)
	r.ImagesPerSec = float64(o.batch) / s.P50.Seconds()
	if err := r.operators(); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(r)
	}
	a.printBenched(r)
	return nil
}

// benchSubject loads the model, takes the time of that and of the first result,
// and fills in what is known of the graph.
func (a *app) benchSubject(ctx context.Context, path string, o *benchFlags, r *benched) (bench.Subject, error) {
	start := time.Now()
	g, err := onnxio.Load(path, onnxio.Options{})
	if err != nil {
		return nil, fail(exitModel, err)
	}
	m := &model{path: path, graph: g}
	if err := a.prepare(m); err != nil {
		return nil, err
	}
	session, err := runtime.NewSession(m.graph, runtime.Options{Threads: a.threads, Release: true})
	if err != nil {
		return nil, fail(exitUnsupported, err)
	}
	r.LoadMs = bench.Ms(time.Since(start))
	in, err := randomInputs(m, o.batch)
	if err != nil {
		return nil, err
	}
	start = time.Now()
	out, err := session.Run(ctx, in)
	if err != nil {
		return nil, fail(exitUnsupported, fmt.Errorf("%s: %w", path, err))
	}
	r.FirstMs = bench.Ms(time.Since(start))
	r.operators = func() error { return a.benchOperators(path, in, o, r) }
	return bench.Func("qvitc", func() error { return session.RunInto(ctx, in, out) }), nil
}

// benchOperators reads the model again, whose weights the session has taken over,
// for what a stopwatch around every step and the graph tell.
func (a *app) benchOperators(path string, in map[string]*ir.Tensor, o *benchFlags, r *benched) error {
	m, err := a.loadAny(path)
	if err != nil {
		return err
	}
	r.Bytes = m.bytes
	integer, total, err := report.IntegerMACs(m.graph)
	if err != nil {
		return fail(exitUnsupported, err)
	}
	if r.MACs = total; total > 0 {
		r.IntegerMACShare = float64(integer) / float64(total)
	}
	r.Operators, err = operatorTimes(m.graph, in, max(1, min(10, o.iters)))
	return fail(exitUnsupported, err)
}

// benchTurns runs the peers, where asked for, and our own model in turns.
func (a *app) benchTurns(ctx context.Context, subject bench.Subject, o *benchFlags, r *benched) (times []time.Duration, err error) {
	peers, err := o.peers.start(ctx, a, r)
	if err != nil {
		return nil, err
	}
	defer peers.close()
	stop, err := o.startProfile()
	if err != nil {
		return nil, err
	}
	defer func() { err = stop(err) }()
	if len(peers) == 0 {
		times, err = subject.Time(ctx, o.iters)
		return times, fail(exitUnsupported, err)
	}
	all, err := bench.Interleave(ctx, (o.iters+turn-1)/turn, min(turn, o.iters), append([]bench.Subject{subject}, peers.subjects()...)...)
	if err != nil {
		return nil, fail(exitUnsupported, err)
	}
	r.Runs = len(all[0])
	r.Peers = peers.results(all)
	return all[0], nil
}

// set gives a flag that was not given another default.
func set(flag *int, n int, given bool) {
	if !given {
		*flag = n
	}
}

// turn is the number of runs of a turn when peers are measured too.
const turn = 10

// randomInputs draws a normal distribution for every input of the model.
func randomInputs(m *model, batch int) (map[string]*ir.Tensor, error) {
	in := map[string]*ir.Tensor{}
	for _, v := range m.graph.Inputs {
		if v.Type.Elem != ir.Float32 || !v.Type.Ranked {
			return nil, failf(exitUnsupported, "", "%s: input %s is %v: bench draws float32 inputs of known rank", m.path, ir.Quote(v.Name), v.Type)
		}
		shape := make([]int, len(v.Type.Shape))
		for i, d := range v.Type.Shape {
			switch {
			case d.Known() && (i > 0 || int(d.Size) == batch || batch == 1):
				shape[i] = int(d.Size)
			case d.Known():
				return nil, failf(exitUsage, "", "%s has a fixed batch of %d, not %d", m.path, d.Size, batch)
			case i == 0:
				shape[i] = batch
			default:
				return nil, failf(exitUnsupported, "", "%s: input %s is %v: bench draws inputs whose dimensions after the batch are known", m.path, ir.Quote(v.Name), v.Type)
			}
		}
		if err := fitsMemory(batch, shape); err != nil {
			return nil, err
		}
		t, err := ir.NewTensor(ir.Float32, shape...)
		if err != nil {
			return nil, failf(exitUsage, "", "--batch %d: %v", batch, err)
		}
		rnd := rand.New(rand.NewPCG(0, 0))
		for i := range t.F32() {
			t.F32()[i] = float32(rnd.NormFloat64())
		}
		in[v.Name] = t
	}
	return in, nil
}

// fitsMemory refuses a batch whose images alone need more than a run may take.
func fitsMemory(batch int, shape []int) error {
	n, err := ir.ByteSize(shape, ir.Float32)
	if err != nil {
		return failf(exitIO, "", "--batch %d: %v", batch, err)
	}
	if int64(n) > runtime.DefaultMaxMemory {
		return failf(exitIO, "", "--batch %d: the images alone take %d bytes, the limit is %d", batch, n, int64(runtime.DefaultMaxMemory))
	}
	return nil
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

func (a *app) printBenched(r *benched) {
	w := a.out
	fmt.Fprintf(w, "model       %s  %s, %.3f GMACs an image, %.1f %% of them in integers\n", r.Model, bytesText(r.Bytes), float64(r.MACs)/1e9, 100*r.IntegerMACShare)
	fmt.Fprintf(w, "machine     %s; qvitc %s, kernels %s\n", r.Machine, r.Version, r.Kernels)
	fmt.Fprintf(w, "load        %.1f ms, first result %.1f ms later\n", r.LoadMs, r.FirstMs)
	fmt.Fprintf(w, "latency     p50 %.2f ms, p95 %.2f, p99 %.2f, best %.2f  (batch %d, %s, %d runs)\n", r.P50Ms, r.P95Ms, r.P99Ms, r.BestMs, r.Batch, count(r.Threads, "thread"), r.Runs)
	fmt.Fprintf(w, "throughput  %.1f images/s\n", r.ImagesPerSec)
	fmt.Fprintf(w, "memory      %.1f MB resident, %.1f MB over the bare process, peak %.1f MB\n", r.ResidentMB, r.OverBareMB, r.PeakMB)
	fmt.Fprintf(w, "\n%-34s %6s %9s %7s\n", "operator", "steps", "ms", "share")
	for _, t := range r.Operators {
		fmt.Fprintf(w, "%-34s %6d %9.3f %6.1f%%\n", t.Op, t.Steps, t.Ms, 100*t.Share)
	}
	printPeers(w, r.Peers, turn)
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, strings.TrimSuffix(noun, "s"))
}
