package distill

import (
	"fmt"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/internal/guard"
	"github.com/qvitc/qvitc/runtime"
)

// feed prepares the next batch while the present one is trained on.
type feed struct {
	ready chan fed
	quit  chan struct{}
	done  chan struct{}
}

type fed struct {
	b   *dataset.Batch
	err error
}

func newFeed(s Source, from, to int) *feed {
	f := &feed{ready: make(chan fed), quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		per := s.Batches()
		fill, canFill := s.(filler)
		var buffers [2]dataset.Batch
		for t := from; t < to; t++ {
			b := &buffers[t&1] // the other one is being trained on
			err := guard.Call(func() (err error) {
				if canFill {
					err = fill.Fill(b, t/per, t%per)
				} else {
					b, err = s.Batch(t/per, t%per)
				}
				if err == nil {
					err = checkBatch(b)
				}
				return err
			})
			if err != nil {
				err = fmt.Errorf("step %d: %w", t, err)
			}
			select {
			case f.ready <- fed{b, err}:
			case <-f.quit:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return f
}

// next gives the next batch; after an error it must not be called again.
func (f *feed) next() (*dataset.Batch, error) {
	r := <-f.ready
	return r.b, r.err
}

func (f *feed) stop() {
	close(f.quit)
	<-f.done
}

func checkBatch(b *dataset.Batch) error {
	n := len(b.Labels)
	if n == 0 || n != b.N || len(b.X) == 0 || len(b.X)%n != 0 {
		return fmt.Errorf("a batch of %d images with %d labels and %d numbers", b.N, n, len(b.X))
	}
	if finite(runtime.SumSquares(b.X)) {
		return nil
	}
	for i, x := range b.X {
		if !finite(float64(x)) {
			k := i / (len(b.X) / n)
			if k < len(b.Index) {
				return fmt.Errorf("image %d of the data holds %v", b.Index[k], x)
			}
			return fmt.Errorf("image %d of the batch holds %v", k, x)
		}
	}
	return nil
}
