package distill

import (
	"sync"
	"sync/atomic"
)

// parallel calls f(0) to f(n-1) on at most threads goroutines. Which goroutine
// takes which index is not fixed: f must write to places of its own.
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
	for range threads {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				f(i)
			}
		})
	}
	wg.Wait()
}
