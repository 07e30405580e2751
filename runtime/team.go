package runtime

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qvitc/qvitc/internal/spin"
)

// A team is the goroutines that share the work inside one Forward: lanes of rows go
// through the stretches of the program, see lanes.go. Each member has a lane that is its
// home, so that rows stay near one processor, but does the items of another lane when
// that one's members are late or absent: whoever is there finishes the work, and nobody
// is waited for but those within an item. Who does the last item of a task lets the lane go
// on; whose lane is the last to end a stretch starts the next. A member without work looks for
// some for a short while and then sleeps. The team lives as long as the Forward: nothing
// has to be closed, and nothing runs when no image does.
type team struct {
	state  *State
	ctx    context.Context
	lanes  []laneState
	left   atomic.Int64 // lanes within the stretch
	asleep atomic.Int64
	over   atomic.Bool
	failed atomic.Pointer[error]

	mu   sync.Mutex
	wake *sync.Cond

	gone spin.Group
	join []*spin.Task // the members other than the caller
}

// laneState says how far a lane is. Its word changes at each item; everything else
// follows from it.
type laneState struct {
	word    atomic.Uint64
	done    atomic.Int64 // items of the task that are finished
	members atomic.Int64 // whose home it is, awake
	_       [104]byte    // on cache lines of its own
}

// A word names a stretch, a task in it, its number of items and those handed out.
const (
	itemBits = 22
	taskBits = 8
	itemMask = 1<<itemBits - 1
	taskMask = 1<<taskBits - 1

	maxStretches = 1 << (64 - 2*itemBits - taskBits)
)

func laneWord(stretch, task, items int) uint64 {
	return uint64(stretch)<<(2*itemBits+taskBits) | uint64(task)<<(2*itemBits) | uint64(items)<<itemBits
}

// rest is the number of items not yet handed out.
func rest(word uint64) int { return int(word>>itemBits&itemMask) - int(word&itemMask) }

const (
	// late is how long a member without work waits before it takes that of other lanes.
	late = 20 * time.Microsecond
	// patience is how long it looks for work before it sleeps.
	patience = 200 * time.Microsecond
)

// newTeam makes a team of the caller and others, with the scratch of st.hands.
func newTeam(st *State) *team {
	t := &team{state: st, lanes: make([]laneState, st.p.lanes)}
	t.wake = sync.NewCond(&t.mu)
	for i := 1; i < len(st.hands); i++ {
		t.join = append(t.join, spin.NewTask(func() {
			t.work(i)
			t.gone.Done()
		}))
	}
	return t
}

// start calls n members together. They look for work until stop.
func (t *team) start(n int) {
	t.over.Store(false)
	t.failed.Store(nil)
	for i := range t.lanes {
		t.lanes[i].word.Store(0)
	}
	t.gone.Add(n)
	for _, m := range t.join[:n] {
		m.Start()
	}
}

// stop sends them home and waits until they have gone.
func (t *team) stop() {
	t.end()
	t.gone.Wait()
	t.ctx = nil
}

func (t *team) end() {
	t.over.Store(true)
	t.rouse()
}

// rouse wakes those who sleep.
func (t *team) rouse() {
	if t.asleep.Load() > 0 {
		t.mu.Lock()
		t.wake.Broadcast()
		t.mu.Unlock()
	}
}

// run goes through the program and returns when it is done.
func (t *team) run(ctx context.Context) error {
	t.ctx = ctx
	t.begin(0)
	t.work(0)
	if e := t.failed.Swap(nil); e != nil {
		return *e
	}
	return nil
}

// fail ends the run with an error.
func (t *team) fail(err error) {
	t.failed.CompareAndSwap(nil, &err)
	t.end()
}

// begin starts the stretch s, or the next one after it that is not for one goroutine
// alone. Nobody else is at work then.
func (t *team) begin(s int) {
	p := t.state.p
	for ; s < len(p.stretches); s++ {
		if err := t.ctx.Err(); err != nil {
			t.fail(err)
			return
		}
		if k := p.stretches[s].alone; k != nil {
			if err := t.guarded(func() error { return k.forward(t.state) }); err != nil {
				t.fail(err)
				return
			}
			continue
		}
		t.left.Store(int64(len(t.lanes)))
		through := 0
		for i := range t.lanes {
			if !t.advance(i, s, 0) {
				through++
			}
		}
		if through == 0 || t.left.Add(-int64(through)) > 0 {
			t.rouse()
			return
		}
	}
	t.end()
}

// advance lets lane i go on to the first task of the stretch s, from task k on, in which it
// has any items; false: there is none.
func (t *team) advance(i, s, k int) bool {
	l, list := &t.lanes[i], t.state.p.stretches[s].tasks
	for ; k < len(list); k++ {
		if n := list[k].items(lane{i, len(t.lanes)}); n > 0 {
			l.done.Store(0)
			l.word.Store(laneWord(s, k, n))
			return true
		}
	}
	l.word.Store(laneWord(s, len(list), 0))
	return false
}

// take does an item of lane i; false when there is none to be had.
func (t *team) take(h *hand, i int) bool {
	l := &t.lanes[i]
	w := l.word.Load()
	if rest(w) <= 0 {
		return false
	}
	if !l.word.CompareAndSwap(w, w+1) {
		return true
	}
	s, k, n := int(w>>(2*itemBits+taskBits)), int(w>>(2*itemBits)&taskMask), int64(w>>itemBits&itemMask)
	t.doItem(h, t.state.p.stretches[s].tasks[k], i, int(w&itemMask))
	if l.done.Add(1) == n && !t.over.Load() && !t.advance(i, s, k+1) && t.left.Add(-1) == 0 {
		t.begin(s + 1)
	}
	return true
}

// doItem turns a panic, which would be a bug, into an error.
func (t *team) doItem(h *hand, w task, i, item int) {
	defer func() {
		if r := recover(); r != nil {
			t.fail(fmt.Errorf("internal error while running the graph: %v", r))
		}
	}()
	w.item(t.state, h, lane{i, len(t.lanes)}, item)
}

func (t *team) guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error while running the graph: %v", r)
		}
	}()
	return f()
}

// work is the life of member m.
func (t *team) work(m int) {
	h, home := &t.state.hands[m], m%len(t.lanes)
	mine := &t.lanes[home]
	mine.members.Add(1)
	defer mine.members.Add(-1)
	ready := func() bool { return t.over.Load() || rest(mine.word.Load()) > 0 }
	var since time.Time // when the member began to look for work
	for !t.over.Load() {
		if t.take(h, home) || t.help(h, home, func(l *laneState) bool { return l.members.Load() == 0 }) {
			since = time.Time{}
			continue
		}
		if spin.Until(late, ready) {
			continue
		}
		if t.help(h, home, func(*laneState) bool { return true }) {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		} else if time.Since(since) > patience {
			mine.members.Add(-1)
			t.sleep()
			mine.members.Add(1)
			since = time.Time{}
		}
	}
}

// help does items of lanes that need it as long as there are any; false: there were none.
func (t *team) help(h *hand, home int, needed func(*laneState) bool) bool {
	helped := false
	for i := range t.lanes {
		if i != home && needed(&t.lanes[i]) {
			for !t.over.Load() && t.take(h, i) {
				helped = true
			}
		}
	}
	return helped
}

// sleep returns when there is work, for anybody.
func (t *team) sleep() {
	t.mu.Lock()
	t.asleep.Add(1)
	for !t.over.Load() && !t.anything() {
		t.wake.Wait()
	}
	t.asleep.Add(-1)
	t.mu.Unlock()
}

func (t *team) anything() bool {
	for i := range t.lanes {
		if rest(t.lanes[i].word.Load()) > 0 {
			return true
		}
	}
	return false
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

// share does a task alone.
func (s *State) share(w task) {
	for i := range w.items(whole) {
		w.item(s, &s.hands[0], whole, i)
	}
}
