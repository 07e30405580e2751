package spin

import (
	"runtime"
	"time"
)

// Until looks until ready gives true or the limit has passed, and says whether ready
// did. Goroutines that want the processor get it now and then. With one processor it looks
// once, lets the others run and looks again.
func Until(limit time.Duration, ready func() bool) bool {
	if ready() {
		return true
	}
	if runtime.GOMAXPROCS(0) == 1 {
		runtime.Gosched()
		return ready()
	}
	const looks, turns = 32, 8 // between two looks at the clock; between two offers of the processor
	for start, n := time.Now(), 1; ; n++ {
		for range looks {
			Pause()
			if ready() {
				return true
			}
		}
		if n%turns == 0 {
			runtime.Gosched()
		}
		if time.Since(start) > limit {
			return ready()
		}
	}
}
