package serve

import (
	"context"
	"errors"
	"math/bits"
	"sync"
	"time"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// batcher runs waiting images in batches. Batches have a power of two of images,
// so that few plans of the runtime are ever made.
type batcher struct {
	session *runtime.Session
	model   Model
	classes int
	max     int
	metrics *metrics

	queue chan *item
	quit  chan struct{}
	done  sync.WaitGroup
}

// item is one image that waits for its logits.
type item struct {
	ctx    context.Context
	x      []float32
	result chan result // of capacity 1
}

type result struct {
	logits []float32
	batch  int           // images that ran together
	run    time.Duration // of the batch
	err    error
}

var (
	errClosed = errors.New("the server is shutting down")
	errBusy   = errors.New("the server is busy: try again")
)

func newBatcher(m Model, classes int, o Options, mt *metrics) (*batcher, error) {
	session, err := runtime.NewSession(m.Graph, runtime.Options{Threads: o.Threads})
	if err != nil {
		return nil, err
	}
	b := &batcher{session: session, model: m, classes: classes, max: powerOfTwo(o.MaxBatch), metrics: mt, queue: make(chan *item, o.Queue), quit: make(chan struct{})}
	if m.Graph.Inputs[0].Type.Shape[0].Known() {
		b.max = 1
	}
	if _, err := b.forward(make([]float32, m.Shape.C*m.Shape.H*m.Shape.W), 1); err != nil { // plans are made now, not for the first client
		return nil, err
	}
	b.done.Add(1)
	go b.work()
	return b, nil
}

// powerOfTwo is the largest power of two that is at most n.
func powerOfTwo(n int) int { return 1 << (bits.Len(uint(n)) - 1) }

func (b *batcher) waiting() int { return len(b.queue) }

// close ends the workers after the batches they run; what waits is refused.
func (b *batcher) close() {
	close(b.quit)
	b.done.Wait()
	for {
		select {
		case it := <-b.queue:
			it.result <- result{err: errClosed}
		default:
			return
		}
	}
}

// run puts an image into the queue and waits for its logits.
func (b *batcher) run(ctx context.Context, x []float32) result {
	it := &item{ctx: ctx, x: x, result: make(chan result, 1)}
	select {
	case <-b.quit:
		return result{err: errClosed}
	default:
	}
	select {
	case b.queue <- it:
	default:
		return result{err: errBusy}
	}
	select {
	case r := <-it.result:
		return r
	case <-ctx.Done():
		return result{err: ctx.Err()}
	case <-b.quit:
		select {
		case r := <-it.result:
			return r
		case <-time.After(time.Second): // the last batches end
			return result{err: errClosed}
		}
	}
}

// work takes what waits and runs it, until the end.
func (b *batcher) work() {
	defer b.done.Done()
	var got []*item
	for {
		got = got[:0]
		select {
		case <-b.quit:
			return
		case it := <-b.queue:
			got = append(got, it)
		}
	more:
		for len(got) < b.max {
			select {
			case it := <-b.queue:
				got = append(got, it)
			default:
				break more
			}
		}
		for len(got) > 0 {
			n := powerOfTwo(len(got))
			b.batch(got[:n])
			got = got[n:]
		}
	}
}

// batch runs some images together and hands out their logits.
func (b *batcher) batch(items []*item) {
	live := items[:0:0]
	for _, it := range items {
		if it.ctx.Err() == nil {
			live = append(live, it)
		}
	}
	for len(live) > 0 { // some may have given up
		n := powerOfTwo(len(live))
		b.runBatch(live[:n])
		live = live[n:]
	}
}

func (b *batcher) runBatch(items []*item) {
	n, s := len(items), b.model.Shape
	per := s.C * s.H * s.W
	x := make([]float32, n*per)
	for i, it := range items {
		copy(x[i*per:], it.x)
	}
	start := time.Now()
	all, err := b.forward(x, n)
	run := time.Since(start)
	b.metrics.batch(n, run)
	for i, it := range items {
		r := result{batch: n, run: run, err: err}
		if err == nil {
			r.logits = all[i*b.classes : (i+1)*b.classes]
		}
		it.result <- r
	}
}

// forward gives the logits of n images.
func (b *batcher) forward(x []float32, n int) ([]float32, error) {
	s, g := b.model.Shape, b.model.Graph
	out, err := b.session.Run(context.Background(), map[string]*ir.Tensor{g.Inputs[0].Name: ir.Of(x, n, s.C, s.H, s.W)})
	if err != nil {
		return nil, err
	}
	return out[g.Outputs[0].Name].F32(), nil
}
