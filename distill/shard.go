package distill

import (
	"fmt"
	"sync"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/internal/guard"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// run computes the gradient of the batch's mean loss into e.total. The result is
// the same for any number of workers: shards are cut by the batch alone, and their
// gradients are added element by element in the order of the shards.
func (e *engine) run(b *dataset.Batch) (Parts, error) {
	n := len(b.Labels)
	bounds, err := cutFor(n, e.opt.Shards, e.student, e.teacher)
	if err != nil {
		return Parts{}, err
	}
	shards := len(bounds) - 1
	e.busy = min(len(e.workers), shards)
	for s := range shards {
		if _, err := e.plan(bounds[s+1] - bounds[s]); err != nil {
			return Parts{}, err
		}
	}
	sums := make([]lossSums, shards)
	errs := make([]error, shards)
	run := func(w *worker, s int) {
		errs[s] = guard.Call(func() (err error) {
			sums[s], err = w.shard(e, b, bounds[s], bounds[s+1])
			return err
		})
	}
	var wg sync.WaitGroup
	if shards <= len(e.workers) {
		for s := range shards {
			wg.Go(func() { run(e.workers[s], s) })
		}
		wg.Wait()
		e.addShards(shards)
	} else {
		e.inTurns(&wg, shards, run)
	}
	for _, err := range errs {
		if err != nil {
			return Parts{}, err
		}
	}
	return meanParts(sums, n), nil
}

// addShards adds the gradients of as many workers, who did a shard each, to those of the
// first, in the order of the shards.
func (e *engine) addShards(shards int) {
	e.total = e.workers[0].grads
	if shards == 1 {
		return
	}
	var pieces []chunk
	for i, t := range e.total {
		for at := 0; at < len(t); at += chunkLen {
			pieces = append(pieces, chunk{i, at, min(at+chunkLen, len(t))})
		}
	}
	parallel(e.busy, len(pieces), func(k int) {
		lap := e.phases.clock()
		c := pieces[k]
		for _, w := range e.workers[1:shards] {
			runtime.AddTo(e.total[c.p][c.lo:c.hi], w.grads[c.p][c.lo:c.hi])
		}
		lap(phaseSum)
	})
}

// inTurns lets the workers take the shards as they come; each adds its gradient to the
// total after that of the shard before has been added.
func (e *engine) inTurns(wg *sync.WaitGroup, shards int, run func(w *worker, s int)) {
	if e.sum == nil {
		for _, g := range e.workers[0].grads {
			e.sum = append(e.sum, make([]float32, len(g)))
		}
	}
	added := make([]chan struct{}, shards+1)
	for i := range added {
		added[i] = make(chan struct{})
	}
	close(added[0])
	tasks := make(chan int, shards)
	for s := range shards {
		tasks <- s
	}
	close(tasks)
	for _, w := range e.workers {
		wg.Go(func() {
			for s := range tasks {
				run(w, s)
				lap := e.phases.clock()
				<-added[s]
				if s == 0 {
					e.sum, w.grads = w.grads, e.sum
				} else {
					for i, g := range w.grads {
						runtime.AddTo(e.sum[i], g)
					}
				}
				lap(phaseSum)
				close(added[s+1])
			}
		})
	}
	wg.Wait()
	e.total = e.sum
}

func meanParts(sums []lossSums, n int) Parts {
	var p Parts
	labelled := 0
	for _, s := range sums {
		p.Total += s.total
		p.Hard += s.hard
		p.TeacherHard += s.teacherHard
		p.Soft += s.soft
		p.DGD += s.dgd
		p.Features += s.features
		labelled += s.labelled
	}
	if labelled > 0 {
		p.Hard /= float64(labelled)
	}
	p.TeacherHard /= float64(n)
	p.Soft /= float64(n)
	return p
}

// shard runs images lo to hi of the batch forward and backward; the gradient
// goes to w.grads.
func (w *worker) shard(e *engine, b *dataset.Batch, lo, hi int) (sum lossSums, err error) {
	n := hi - lo
	p := e.plans[n]
	per := len(b.X) / len(b.Labels)
	x := b.X[lo*per : hi*per]
	lap := e.phases.clock()
	st, err := runOn(w.student, p.student, e.student, n, x, func(st *runtime.State) error { return e.setDropPath(st, lo) })
	if err != nil {
		return sum, fmt.Errorf("student: %w", err)
	}
	lap(phaseForward)
	te, err := w.teach(e, n, x)
	if err != nil {
		return sum, fmt.Errorf("teacher: %w", err)
	}
	lap(phaseTeacher)
	weight := 1 / float64(len(b.Labels))
	student, grad := e.logits[0], make([][]float32, len(e.logits[0]))
	for h, v := range student {
		if grad[h] = st.Seed(v); grad[h] == nil {
			return sum, &ir.Error{Tensor: v.Name, Msg: "no trained parameter influences this output"}
		}
	}
	for i := range n {
		label, err := targetOf(b, lo+i, p.classes)
		if err != nil {
			return sum, err
		}
		at := func(h []float32) []float32 { return h[i*p.classes : (i+1)*p.classes] }
		for k := range w.rows {
			w.rows[k] = w.rows[k][:0]
		}
		for h, v := range student {
			w.rows[0] = append(w.rows[0], at(st.Value(v)))
			w.rows[2] = append(w.rows[2], at(grad[h]))
		}
		if te != nil {
			for _, v := range te.logits {
				row := at(v)
				w.rows[1] = append(w.rows[1], row)
				sum.total += zeroOrNaN(row)
			}
		}
		if label.a < 0 && e.opt.Loss.TeacherHard+e.opt.Loss.Soft == 0 {
			return sum, fmt.Errorf("image %d of the batch has no label and the loss has no distillation: nothing to train on", lo+i)
		}
		logitLoss(*e.opt.Loss, w.rows[0], w.rows[1], label, weight, w.rows[2], &sum, &w.loss)
	}
	for i, t := range e.taps {
		if err := w.tapLoss(e.opt.DGD, p.taps[i], st.Value(t.s), te.taps[i], st.Seed(t.s), weight*p.weights[i], &sum); err != nil {
			return sum, err
		}
	}
	for i, t := range e.features {
		w.featureLoss(e.opt.Features, n, st.Value(t.s), te.taps[len(e.taps)+i], st.Seed(t.s), weight/float64(len(e.features)), &sum)
	}
	if !finite(sum.total) {
		return sum, nil // the trainer reports it; a backward pass would tell nothing more
	}
	lap(phaseLoss)
	st.Backward(w.grads)
	lap(phaseBackward)
	return sum, nil
}

// targetOf is what the labels of image i of the batch say.
func targetOf(b *dataset.Batch, i, classes int) (target, error) {
	t := onlyClass(int(b.Labels[i]))
	if b.Other != nil {
		t.b, t.share = int(b.Other[i]), float64(b.Share[i])
	}
	if worst := max(t.a, t.b); worst >= classes {
		return t, fmt.Errorf("label %d is out of range: the model has the classes 0 to %d", worst, classes-1)
	}
	return t, nil
}

// zeroOrNaN is 0 for finite numbers and NaN otherwise: an arg-max would hide it.
func zeroOrNaN(x []float32) float64 {
	var s float32
	for _, v := range x {
		s += v * 0
	}
	return float64(s)
}

func (w *worker) tapLoss(o DGD, p *dgdPlan, x, y, seed []float32, weight float64, sum *lossSums) error {
	st := w.dgd[p]
	if st == nil {
		st = p.newState()
		w.dgd[p] = st
	}
	l, err := p.run(o, st, x, y, weight, seed)
	sum.total += weight * l
	sum.dgd += weight * l / o.Lambda
	return err
}

// runOn runs the worker's state of a program forward, made when first needed.
// rest sets the inputs beside the image; nil where there are none.
func runOn(states map[int]*runtime.State, p *runtime.Program, g *ir.Graph, n int, x []float32, rest func(*runtime.State) error) (*runtime.State, error) {
	s := states[n]
	if s == nil {
		s = p.NewState()
		states[n] = s
	}
	in := s.Input(g.Inputs[0])
	if len(in) != len(x) {
		return nil, fmt.Errorf("input %s takes %v for %d images, the data gives %d numbers", ir.Quote(g.Inputs[0].Name), p.Shape(g.Inputs[0]), n, len(x))
	}
	copy(in, x)
	if rest != nil {
		if err := rest(s); err != nil {
			return nil, err
		}
	}
	return s, s.Forward()
}
