package runtime

import (
	"context"
	"errors"
	goruntime "runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestLanes(t *testing.T) {
	for _, m := range []int{1, 2, 3, 7, 49, 197} {
		for n := 1; n <= 9; n++ {
			next := 0
			for i := range n {
				lo, hi := lane{i, n}.rows(m)
				if lo != next {
					t.Fatalf("%d rows, lane %d of %d begins at %d, want %d", m, i, n, lo, next)
				}
				for next = lo; next < hi; next++ {
					if got := laneOf(next, m, n); got != i {
						t.Fatalf("row %d of %d is in lane %d of %d, want %d", next, m, got, n, i)
					}
				}
			}
			if next != m {
				t.Fatalf("%d lanes have %d rows of %d", n, next, m)
			}
		}
	}
}

// TestAccess wants lanes to wait where one would touch what another has written, or write what
// another may yet read, and nowhere else.
func TestAccess(t *testing.T) {
	two, other := []int{5, 10}, []int{4, 10}
	read := func(cuts []int) access { return access{known: true, cuts: cuts} }
	write := func(cuts []int) access { return access{known: true, written: true, cuts: cuts} }
	for _, c := range []struct {
		before []access
		next   access
		want   bool
	}{
		{nil, write(nil), false},
		{[]access{read(nil)}, read(two), false},
		{[]access{write(two)}, read(two), false},
		{[]access{write(two)}, read(other), true},
		{[]access{write(two)}, read(nil), true},
		{[]access{write(nil)}, read(two), true},
		{[]access{read(two)}, write(two), false},
		{[]access{read(nil), read(two)}, write(two), true}, // as a sum in the place of its residual
		{[]access{read(two), read(other)}, write(two), true},
		{[]access{read(two), write(two)}, read(two), false},
	} {
		var seen access
		for _, a := range c.before {
			seen = seen.and(a)
		}
		if got := seen.clashes(c.next); got != c.want {
			t.Errorf("%+v after %+v: clashes %v, want %v", c.next, c.before, got, c.want)
		}
	}
}

// count is a task that notes how often each of its items is done, and wants the lane's part
// of the task before to be finished.
type count struct {
	base
	noBackward
	done   [][]atomic.Int64
	before *count
	all    bool // of the task before, all lanes must be finished
	hook   func(l lane, i int)
	wrong  *atomic.Int64
}

func (c *count) items(l lane) int { return len(c.done[l.i]) }

func (c *count) item(_ *State, _ *hand, l lane, i int) {
	for j := range c.done {
		if c.before == nil || !c.all && j != l.i {
			continue
		}
		for k := range c.before.done[j] {
			if c.before.done[j][k].Load() != 1 {
				c.wrong.Add(1)
			}
		}
	}
	if c.hook != nil {
		c.hook(l, i)
	}
	c.done[l.i][i].Add(1)
}

func (c *count) forward(*State) error {
	if c.hook != nil {
		c.hook(lane{}, 0)
	}
	return nil
}

// counts is a program of tasks in stretches of a few, some lanes of which have no items,
// and steps for one goroutine between them.
func counts(lanes int) (*Program, []*count, *atomic.Int64) {
	p := &Program{lanes: lanes}
	var list []*count
	wrong := &atomic.Int64{}
	for s := range 12 {
		if s%5 == 3 {
			p.stretches = append(p.stretches, stretch{alone: &count{}})
			continue
		}
		var tasks []task
		for k := range 1 + s%4 {
			c := &count{wrong: wrong, all: k == 0, done: make([][]atomic.Int64, lanes)}
			if len(list) > 0 {
				c.before = list[len(list)-1]
			}
			for i := range c.done {
				c.done[i] = make([]atomic.Int64, (s+3*k+2*i)%4)
			}
			list, tasks = append(list, c), append(tasks, c)
		}
		p.stretches = append(p.stretches, stretch{tasks: tasks})
	}
	return p, list, wrong
}

func (c *count) reset() {
	for i := range c.done {
		for k := range c.done[i] {
			c.done[i][k].Store(0)
		}
	}
}

// TestTeam runs tasks with as many members as lanes, fewer, more and none, on one processor
// and several, some members being slow, and wants each item once and in order.
func TestTeam(t *testing.T) {
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 4} {
		goruntime.GOMAXPROCS(procs)
		for _, lanes := range []int{1, 2, 3, 8} {
			p, list, wrong := counts(lanes)
			for helpers := range 5 {
				st := &State{p: p, hands: make([]hand, 1)}
				for round := range 8 {
					for _, c := range list {
						c.reset()
						c.hook = func(l lane, i int) {
							if round%7 == 3 && (l.i+i)%5 == 1 {
								time.Sleep(300 * time.Microsecond) // the others sleep meanwhile
							}
						}
					}
					st.gather(helpers)
					err := st.team.run(context.Background())
					st.dismiss()
					if err != nil || wrong.Load() != 0 {
						t.Fatalf("%d processors, %d lanes, %d helpers: error %v, %d items too early", procs, lanes, helpers, err, wrong.Load())
					}
					for k, c := range list {
						for i := range c.done {
							for j := range c.done[i] {
								if n := c.done[i][j].Load(); n != 1 {
									t.Fatalf("%d processors, %d lanes, %d helpers: item %d of lane %d of task %d done %d times", procs, lanes, helpers, j, i, k, n)
								}
							}
						}
					}
				}
			}
		}
	}
}

// TestTeamFails wants a panic in any item or step, and a cancelled context, to end the run
// with an error, and the next run to be whole.
func TestTeamFails(t *testing.T) {
	const lanes = 3
	p, list, _ := counts(lanes)
	st := &State{p: p, hands: make([]hand, 1)}
	run := func(ctx context.Context) error {
		for _, c := range list {
			c.reset()
		}
		st.gather(lanes - 1)
		defer st.dismiss()
		return st.team.run(ctx)
	}
	alone := p.stretches[slices.IndexFunc(p.stretches, func(s stretch) bool { return s.alone != nil })].alone.(*count)
	for _, c := range append(slices.Clone(list), alone) {
		c.hook = func(lane, int) { panic("broken") }
		err := run(context.Background())
		c.hook = nil
		if items := slices.ContainsFunc(c.done, func(d []atomic.Int64) bool { return len(d) > 0 }); items || c == alone {
			if err == nil || !strings.Contains(err.Error(), "broken") {
				t.Fatalf("got %v", err)
			}
		}
		if err := run(context.Background()); err != nil {
			t.Fatalf("the run after the failure: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	list[3].hook = func(lane, int) { cancel() }
	if err := run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
}
