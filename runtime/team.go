package runtime

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// A team is the goroutines that share the work inside one Forward. Work comes as
// regions of items; a region's items are handed out by an atomic counter to
// whoever is free, so a result may not depend on who does what. Between regions a
// member looks for work for a short while and then sleeps. The team lives as long
// as the Forward: nothing has to be closed, and nothing runs when no image does.
type team struct {
	next   atomic.Int64 // items of the region not yet handed out
	done   atomic.Int64 // items finished
	asleep atomic.Int64
	over   atomic.Bool
	failed atomic.Pointer[error]

	task  task // of the region; set before next
	state *State

	mu   sync.Mutex
	wake *sync.Cond
	left sync.WaitGroup
	join []func() // the members' bodies, made once
}

// task is a step, or a part of one, whose work can be shared out. The hand is the
// scratch memory of the one who does item i.
type task interface {
	item(st *State, h *hand, i int)
}

// spins is how often a member looks for work before it sleeps.
const spins = 4000

// newTeam makes a team of the caller and others, with the scratch of st.hands.
func newTeam(st *State) *team {
	t := &team{state: st}
	t.wake = sync.NewCond(&t.mu)
	for i := 1; i < len(st.hands); i++ {
		h := &st.hands[i]
		t.join = append(t.join, func() { t.work(h) })
	}
	return t
}

// start calls n members together.
func (t *team) start(n int) {
	t.over.Store(false)
	t.left.Add(n)
	for _, f := range t.join[:n] {
		go f()
	}
}

// stop sends them home and waits until they have gone.
func (t *team) stop() {
	t.over.Store(true)
	t.mu.Lock()
	t.wake.Broadcast()
	t.mu.Unlock()
	t.left.Wait()
}

// run does the items 0 .. n-1 of a region and returns when all are done.
func (t *team) run(n int, w task) error {
	t.task = w
	t.done.Store(0)
	t.next.Store(int64(n))
	if t.asleep.Load() > 0 {
		t.mu.Lock()
		t.wake.Broadcast()
		t.mu.Unlock()
	}
	for t.take(&t.state.hands[0]) {
	}
	for k := 0; t.done.Load() < int64(n); k++ {
		if k > spins {
			runtime.Gosched()
		}
	}
	if e := t.failed.Swap(nil); e != nil {
		return *e
	}
	return nil
}

// take does one item, the last of those left; false when there is none.
func (t *team) take(h *hand) bool {
	if t.next.Load() <= 0 {
		return false
	}
	i := t.next.Add(-1)
	if i < 0 {
		return false
	}
	t.doItem(h, int(i))
	t.done.Add(1)
	return true
}

// doItem turns a panic, which would be a bug, into the region's error.
func (t *team) doItem(h *hand, i int) {
	defer func() {
		if r := recover(); r != nil {
			err := fmt.Errorf("internal error while running the graph: %v", r)
			t.failed.CompareAndSwap(nil, &err)
		}
	}()
	t.task.item(t.state, h, i)
}

// work is the life of a member.
func (t *team) work(h *hand) {
	defer t.left.Done()
	for idle := 0; !t.over.Load(); idle++ {
		if t.take(h) {
			idle = 0
			continue
		}
		if idle < spins {
			continue
		}
		t.mu.Lock()
		t.asleep.Add(1)
		for t.next.Load() <= 0 && !t.over.Load() {
			t.wake.Wait()
		}
		t.asleep.Add(-1)
		t.mu.Unlock()
		idle = 0
	}
}

// gather lets the State work with up to n helpers until dismiss.
func (s *State) gather(n int) {
	if s.crew == nil || len(s.crew.join) < n {
		for len(s.hands) <= n {
			s.hands = append(s.hands, s.p.hand.make())
		}
		s.crew = newTeam(s)
	}
	s.team = s.crew
	s.team.start(n)
}

// dismiss ends what gather began.
func (s *State) dismiss() {
	s.team.stop()
	s.team = nil
}

// share does the items of a task, on the team where there is one.
func (s *State) share(n int, w task) error {
	if s.team != nil && n > 1 {
		return s.team.run(n, w)
	}
	for i := range n {
		w.item(s, &s.hands[0], i)
	}
	return nil
}
