package spin_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/qvitc/qvitc/internal/spin"
)

func ExampleTask() {
	var g spin.Group
	var sum atomic.Int64
	task := spin.NewTask(func() {
		sum.Add(1)
		g.Done()
	})
	for range 1000 {
		g.Add(1)
		task.Start()
		g.Wait()
	}
	fmt.Println(sum.Load())
	// Output: 1000
}

// TestTasks starts many tasks at a time and wants each to run once, for any number of
// processors, and no goroutine left at last.
func TestTasks(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, procs := range []int{1, 2, 8} {
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			for round := range 500 {
				var g spin.Group
				var ran [20]atomic.Int32
				n := 1 + round%len(ran)
				for i := range n {
					g.Add(1)
					spin.NewTask(func() { ran[i].Add(1); g.Done() }).Start()
				}
				g.Wait()
				for i := range n {
					if ran[i].Load() != 1 {
						t.Fatalf("%d processors: task %d of %d ran %d times", procs, i, n, ran[i].Load())
					}
				}
			}
		}()
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

func TestStartAllocatesNothing(t *testing.T) {
	var g spin.Group
	task := spin.NewTask(g.Done)
	if n := testing.AllocsPerRun(100, func() {
		g.Add(1)
		task.Start()
		g.Wait()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestUntil(t *testing.T) {
	if spin.Until(time.Millisecond, func() bool { return false }) {
		t.Error("true though nothing was ready")
	}
	n := 0
	if !spin.Until(time.Minute, func() bool { n++; return n > 100 }) && runtime.GOMAXPROCS(0) > 1 {
		t.Error("false though it was ready")
	}
}

func BenchmarkStart(b *testing.B) {
	var g spin.Group
	task := spin.NewTask(g.Done)
	for b.Loop() {
		g.Add(1)
		task.Start()
		g.Wait()
	}
}
