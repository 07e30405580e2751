package dataset

import (
	"context"
	"iter"

	"github.com/qvitc/qvitc/internal/guard"
)

// Prefetch returns the batches of one epoch from number first on, each made while the one before is in use:
//
//	for b, err := range loader.Prefetch(ctx, epoch, 0) {
//		if err != nil {
//			return err
//		}
//		step(b)
//	}
//
// A batch is valid until the next turn of the loop; its memory is used again. After an error, that of ctx among them,
// the sequence ends. However the loop ends, no goroutine stays behind.
func (l *Loader) Prefetch(ctx context.Context, epoch, first int) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		type result struct {
			b   *Batch
			err error
		}
		ready := make(chan result)
		stop := make(chan struct{})
		go func() {
			defer close(ready)
			var buffers [2]Batch
			for i := first; i < l.Batches(); i++ {
				r := result{b: &buffers[i&1]}
				if r.err = ctx.Err(); r.err == nil {
					r.err = guard.Call(func() error { return l.Fill(r.b, epoch, i) })
				}
				if r.err != nil {
					r.b = nil
				}
				select {
				case ready <- r:
				case <-stop:
					return
				}
				if r.err != nil {
					return
				}
			}
		}()
		defer func() {
			close(stop)
			for range ready { // until the goroutine has ended
			}
		}()
		for r := range ready {
			if err := ctx.Err(); err != nil && r.err == nil {
				r = result{err: err}
			}
			if !yield(r.b, r.err) || r.err != nil {
				return
			}
		}
	}
}
