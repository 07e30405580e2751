package runtime

import (
	"sync/atomic"

	"github.com/qvitc/qvitc/internal/guard"
	"golang.org/x/sync/errgroup"
)

// Parallel calls fn(0) ... fn(n-1) on up to threads goroutines and waits. The
// indices are handed out in order; after a failure no new one is. The error
// returned is that of the smallest index that failed, so it does not depend on
// timing.
func Parallel(n, threads int, fn func(i int) error) error {
	if threads <= 1 || n <= 1 {
		for i := range n {
			if err := fn(i); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	var failed atomic.Bool
	errs := make([]error, n)
	var g errgroup.Group
	for range min(n, threads) {
		g.Go(func() error {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if errs[i] = guard.Call(func() error { return fn(i) }); errs[i] != nil {
					failed.Store(true)
				}
			}
			return nil
		})
	}
	_ = g.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
