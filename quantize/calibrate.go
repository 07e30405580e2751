package quantize

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/qvitc/qvitc/internal/guard"
	"github.com/qvitc/qvitc/ir"
)

// CalibrateOptions tune Calibrate.
type CalibrateOptions struct {
	Method     Method  // of activations; "" is MSE
	Weights    Method  // of weights; "" is MSE
	Percentile float64 // kept by Percentile; 0 is DefaultPercentile
	Samples    int     // most images read; 0: all
	Threads    int     // 0: GOMAXPROCS; no effect on the result
	Chunk      int     // images run at once by a thread; 0: DefaultChunk, fewer for large models

	// Progress, when set, is told how many images are done; calls do not overlap.
	Progress func(images int)
}

// Calibration is what Calibrate chose and saw.
type Calibration struct {
	Method  Method `json:"method"`
	Weights Method `json:"weights"`
	Images  int    `json:"images"`
	Scales
}

// target is one FakeQuant with the groups' outcome.
type target struct {
	fakeQuant
	src      *ir.Value // float value in the copy
	observer int       // index of its observer; -1 for a weight
	fit      Fit
	out      []Fitted
	rel      []float64 // MSE / mean square
}

// watch is a float value observed by one or more FakeQuants of equal grouping.
type watch struct {
	src    *ir.Value
	axis   int
	groups int
	reader fakeQuant // the first of them, for errors
}

// Calibrate sets scale and zero_point of every FakeQuant of g. Scales of
// constants (weights) come from their values, group by group; scales of
// activations from the float model: g with every FakeQuant bypassed, run on the
// images and observed by one fixed-size histogram per group, so memory does not
// grow with the number of images. The result is the same for any Threads and
// however the images are cut into batches. A FakeQuant that has a zero_point input gets one chosen; one without is
// fitted around 0. IRM of the form layernorm gets its gain first (InitIRM), that
// of the form static its constants.
//
// g is changed only on success. NaN or infinite weights or activations are
// refused, naming the tensor.
func Calibrate(ctx context.Context, g *ir.Graph, batches Batches, o CalibrateOptions) (c *Calibration, err error) {
	if o.Method == "" {
		o.Method = MSE
	}
	if o.Weights == "" {
		o.Weights = MSE
	}
	for _, m := range []Method{o.Method, o.Weights} {
		if _, err := ParseMethod(string(m)); err != nil {
			return nil, err
		}
	}
	qs, err := fakeQuants(g)
	if err != nil {
		return nil, err
	}
	for _, n := range irmNorms(g) {
		gamma, was := n.gamma, n.gamma.Const
		defer func() {
			if err != nil {
				gamma.SetConst(was)
			}
		}()
	}
	for _, s := range irmStatics(g) {
		for _, v := range []*ir.Value{s.mean, s.spread, s.gamma, s.beta} {
			was := v.Const
			defer func() {
				if err != nil {
					v.SetConst(was)
				}
			}()
		}
	}
	if err = initStatic(ctx, g, batches, o); err != nil {
		return nil, err
	}
	if _, err = InitIRM(ctx, g, batches, o); err != nil {
		return nil, err
	}
	f, err := newFloatGraph(g)
	if err != nil {
		return nil, err
	}
	targets, watches := plan(qs, f, o)
	c = &Calibration{Method: o.Method, Weights: o.Weights}
	var seen []*Observer
	if len(watches) > 0 {
		if seen, c.Images, err = f.observe(ctx, watches, batches, o); err != nil {
			return nil, err
		}
	}
	if err := fitAll(ctx, targets, seen, o.Threads); err != nil {
		return nil, err
	}
	for _, t := range targets {
		scale, zero := make([]float32, t.groups), make([]float32, t.groups)
		for i, x := range t.out {
			scale[i], zero[i] = x.Scale, x.Zero
		}
		t.set(scale, zero)
	}
	if c.Scales, err = ScalesOf(g); err != nil {
		return nil, err
	}
	for i, t := range targets {
		c.Layers[i].Error = t.rel
	}
	return c, nil
}

// plan pairs every FakeQuant with its source; activations of equal source and
// grouping share one observer.
func plan(qs []fakeQuant, f *floatGraph, o CalibrateOptions) ([]*target, []watch) {
	type key struct {
		src  *ir.Value
		axis int
		per  bool
	}
	var targets []*target
	var watches []watch
	index := map[key]int{}
	for _, q := range qs {
		t := &target{fakeQuant: q, src: f.of[q.x], observer: -1}
		t.fit = Fit{Quantiser: q.grid, Method: o.Method, Asymmetric: q.zero != nil, Percentile: o.Percentile}
		if t.src.IsConst() {
			t.fit.Method = o.Weights
		} else {
			k := key{t.src, q.axis, q.node.Attrs.Has("axis")}
			at, ok := index[k]
			if !ok {
				at = len(watches)
				index[k] = at
				watches = append(watches, watch{src: t.src, axis: q.axis, groups: q.groups, reader: q})
			}
			t.observer = at
		}
		targets = append(targets, t)
	}
	return targets, watches
}

// observe runs the images and gives one merged observer per watch.
func (f *floatGraph) observe(ctx context.Context, watches []watch, batches Batches, o CalibrateOptions) ([]*Observer, int, error) {
	var taps []*ir.Value
	have := map[*ir.Value]bool{}
	for _, w := range watches {
		if !have[w.src] {
			have[w.src] = true
			taps = append(taps, w.src)
		}
	}
	workers := threadsOf(o.Threads)
	all := make([][]*Observer, workers)
	visitors := make([]func(view) error, workers)
	for i := range workers {
		for _, w := range watches {
			all[i] = append(all[i], NewObserver(w.groups))
		}
		visitors[i] = func(tap view) error {
			for k, w := range watches {
				data, shape := tap(w.src)
				if data == nil {
					return w.reader.node.Errorf("tensor %s is not float32", ir.Quote(w.reader.x.Name))
				}
				inner, err := w.reader.split(shape)
				if err != nil {
					return err
				}
				if err := all[i][k].Observe(data, inner); err != nil {
					return refuse(w.reader, err, "activation")
				}
			}
			return nil
		}
	}
	images, err := f.run(ctx, taps, batches, runOptions{samples: o.Samples, chunk: o.Chunk, progress: o.Progress}, visitors)
	if err != nil {
		return nil, 0, err
	}
	for _, part := range all[1:] {
		for k := range part {
			all[0][k].Merge(part[k])
		}
	}
	return all[0], images, nil
}

// refuse names the tensor that holds NaN or an infinite value.
func refuse(q fakeQuant, err error, what string) error {
	if !errors.Is(err, ErrNotFinite) {
		e := q.node.Errorf("cannot calibrate")
		e.Tensor, e.Err = q.x.Name, err
		return e
	}
	e := q.node.Errorf("the %s", what)
	e.Tensor, e.Err = q.x.Name, err
	e.Hint = "check the model's weights and that the images go through the right preprocessing"
	return e
}

// fitAll fits every group of every target. Groups are independent, so the
// result does not depend on who computes which.
func fitAll(ctx context.Context, targets []*target, seen []*Observer, threads int) error {
	type span struct {
		t      *target
		lo, hi int
	}
	const spanGroups = 64
	var spans []span
	for _, t := range targets {
		t.out, t.rel = make([]Fitted, t.groups), make([]float64, t.groups)
		for lo := 0; lo < t.groups; lo += spanGroups {
			spans = append(spans, span{t, lo, min(lo+spanGroups, t.groups)})
		}
	}
	errs := make([]error, len(spans))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(threadsOf(threads), max(len(spans), 1)) {
		wg.Go(func() {
			var s weightScratch
			for {
				i := int(next.Add(1)) - 1
				if i >= len(spans) || ctx.Err() != nil {
					return
				}
				errs[i] = guard.Call(func() error { return spans[i].t.fitSpan(&s, seen, spans[i].lo, spans[i].hi) })
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

type weightScratch struct {
	points Points
	values []float32
}

// fitSpan fits groups lo to hi-1 of one target.
func (t *target) fitSpan(s *weightScratch, seen []*Observer, lo, hi int) error {
	if t.observer >= 0 {
		for i := lo; i < hi; i++ {
			h := seen[t.observer].Group(i)
			fit := t.fit
			fit.Resolution = h.Width()
			if err := t.fitGroup(i, fit, h.Points()); err != nil {
				return refuse(t.fakeQuant, err, "activation")
			}
		}
		return nil
	}
	w := t.src.Const
	data := w.F32()
	if data == nil {
		return t.node.Errorf("weight %s is %v; only float32 weights can be quantised", ir.Quote(t.x.Name), w.Elem)
	}
	inner, err := t.split(w.Shape)
	if err != nil {
		return err
	}
	for i := lo; i < hi; i++ {
		values := data
		if t.groups > 1 {
			s.values = s.values[:0]
			for at := i * inner; at < len(data); at += t.groups * inner {
				s.values = append(s.values, data[at:at+inner]...)
			}
			values = s.values
		}
		err := s.points.SetValues(values)
		if err == nil {
			err = t.fitGroup(i, t.fit, &s.points)
		}
		if err != nil {
			return refuse(t.fakeQuant, err, "weight")
		}
	}
	return nil
}

func (t *target) fitGroup(i int, fit Fit, p *Points) error {
	out, err := fit.Points(p)
	if err != nil {
		return err
	}
	t.out[i] = out
	if ms := p.c2[p.Len()] / p.c0[p.Len()]; ms > 0 {
		t.rel[i] = out.MSE / ms
	}
	return nil
}
