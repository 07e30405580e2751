package distill

import (
	"sync"
	"sync/atomic"

	"github.com/qvitc/qvitc/internal/guard"
)

// parallel calls f(0) to f(n-1) on at most threads goroutines. Which goroutine
// takes which index is not fixed: f must write to places of its own. A
// panic of f reaches the caller.
func parallel(threads, n int, f func(int)) {
	threads = min(threads, n)
	if threads <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	faults := make([]error, threads)
	for t := range threads {
		wg.Go(func() {
			faults[t] = guard.Call(func() error {
				for {
					i := int(next.Add(1)) - 1
					if i >= n {
						return nil
					}
					f(i)
				}
			})
		})
	}
	wg.Wait()
	for _, err := range faults {
		if err != nil {
			panic(err)
		}
	}
}
