package spin

import (
	"runtime"
	"sync/atomic"
	"time"
)

// Patience is how long a goroutine whose task is done looks for another.
const Patience = 50 * time.Microsecond

// Task is a function that may be started often, without any allocation.
type Task struct {
	run  func()
	body func() // run, and then other tasks
}

// NewTask makes a task of f, which must not panic.
func NewTask(f func()) *Task {
	t := &Task{run: f}
	t.body = func() {
		for t := t; t != nil; t = next() {
			t.run()
		}
	}
	return t
}

// Start runs the task once on another goroutine, and does not wait for it. What the caller
// has written before is seen there. A task may be started again while it runs.
func (t *Task) Start() {
	for i := range seats {
		s := &seats[i]
		if s.state.Load() == waiting && s.state.CompareAndSwap(waiting, taken) {
			s.task.Store(t)
			return
		}
	}
	go t.body()
}

// A seat is where one goroutine without work waits.
type seat struct {
	state atomic.Int32
	task  atomic.Pointer[Task]
	_     [112]byte // seats are on cache lines of their own
}

const (
	empty   = int32(iota)
	waiting // a goroutine looks for a task
	taken   // it gets one, or has got it
)

// seats are as many as goroutines may wait at a time.
var seats [8]seat

// next waits for a task; nil: none has come.
func next() *Task {
	for i := range min(len(seats), runtime.GOMAXPROCS(0)-1) {
		s := &seats[i]
		if !s.state.CompareAndSwap(empty, waiting) {
			continue
		}
		Until(Patience, func() bool { return s.task.Load() != nil })
		if s.state.CompareAndSwap(waiting, empty) {
			return nil
		}
		for s.task.Load() == nil { // it is on its way
			runtime.Gosched()
		}
		t := s.task.Swap(nil)
		s.state.Store(empty)
		return t
	}
	return nil
}
