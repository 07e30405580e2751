package main

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestConvoy lets jobs of different lengths, which dawdle at different steps, take
// turns: never more at once than there are places, never more than a step apart.
func TestConvoy(t *testing.T) {
	for _, c := range []struct{ jobs, atOnce int }{{1, 1}, {5, 1}, {5, 2}, {9, 4}, {3, 3}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			turns := newConvoy(c.jobs, c.atOnce)
			var mu sync.Mutex
			steps := map[int]int{}
			busy, most := 0, 0
			begin := func(i, step int) {
				mu.Lock()
				defer mu.Unlock()
				steps[i] = step
				busy++
				most = max(most, busy)
				for k, s := range steps {
					if step > s+1 {
						t.Errorf("job %d is at step %d, job %d at %d", i, step, k, s)
					}
				}
			}
			end := func(i, next int) {
				mu.Lock()
				defer mu.Unlock()
				busy--
				steps[i] = next
			}
			for i := range c.jobs {
				steps[i] = beforeTraining
			}
			var wg sync.WaitGroup
			for i, p := range turns.jobs {
				wg.Go(func() {
					defer p.leave()
					p.begin()
					begin(i, beforeTraining)
					for s := range 20 + 7*i {
						end(i, s)
						p.pace(s)
						begin(i, s)
						if s%(i+2) == 0 {
							time.Sleep(100 * time.Microsecond)
						}
					}
					end(i, 1<<30)
				})
			}
			wg.Wait()
			if most > c.atOnce || len(turns.jobs) != 0 || turns.free != c.atOnce {
				t.Errorf("%d jobs had their turn at once, want %d; left: %d jobs, %d turns", most, c.atOnce, len(turns.jobs), turns.free)
			}
		})
	}
}
