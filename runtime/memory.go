package runtime

import (
	"cmp"
	"slices"
)

// The timeline of a program with T steps: step i runs forward at time i, seeds
// are written at time T, and what Backward does, step by step, follows from T+1
// on. One arena serves activations, gradients and temporaries; two of them share
// memory when their lives do not overlap.

// buffer is one request of the arena.
type buffer struct {
	n, start, end int
	at            *int
}

// align is the granularity of the arena in floats: one cache line.
const align = 16

// pack places the buffers greedily, largest first, each at the lowest offset
// that is free during its whole life, and returns the length of the arena.
func pack(bufs []buffer) int {
	slices.SortStableFunc(bufs, func(a, b buffer) int {
		return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.start, b.start))
	})
	total := 0
	type span struct{ lo, hi int }
	var busy []span
	for i := range bufs {
		b := &bufs[i]
		n := (b.n + align - 1) / align * align
		busy = busy[:0]
		for j := range i {
			if c := &bufs[j]; c.start <= b.end && b.start <= c.end {
				busy = append(busy, span{*c.at, *c.at + (c.n+align-1)/align*align})
			}
		}
		slices.SortFunc(busy, func(x, y span) int { return cmp.Compare(x.lo, y.lo) })
		at := 0
		for _, s := range busy {
			if s.lo-at >= n {
				break
			}
			at = max(at, s.hi)
		}
		*b.at = at
		total = max(total, at+n)
	}
	return total
}

// place sets the lives of all values and places them. The steps marked in again
// run forward a second time when a gradient needs what they gave; it then has a
// second life, and may have a second place.
func (c *compiler) place(again []bool) {
	l := newLives(c, again)
	p := c.p
	for _, id := range c.pinned { // inputs, outputs and taps live throughout
		l.touch(id, -1)
		l.touch(id, l.last)
	}
	for i, st := range p.steps {
		b := st.plan()
		for _, id := range b.in {
			l.touch(id, i)
		}
		for _, id := range b.out {
			l.touch(id, i)
		}
		for _, id := range b.tmp {
			if p.values[id].life != inBackward {
				l.touch(id, i)
			}
		}
	}
	for _, s := range p.stretches {
		// Some lanes may be at the last step when others are at the first.
		for i := s.first; i <= s.last; i++ {
			b := p.steps[i].plan()
			for _, ids := range [][]int{b.in, b.out, b.tmp} {
				for _, id := range ids {
					l.touch(id, s.first)
					l.touch(id, s.last)
				}
			}
		}
	}
	for _, id := range p.seeds {
		l.touchGrad(id, len(p.steps))
	}
	for i := range p.back {
		l.backStep(&p.back[i])
	}
	var bufs []buffer
	for i := range p.values {
		v := &p.values[i]
		if v.root != i || v.n == 0 {
			continue
		}
		if v.inMemory() && v.end >= v.start {
			bufs = append(bufs, buffer{v.floats(), v.start, v.end, &v.at})
		}
		if v.inMemory() && v.end2 >= 0 {
			bufs = append(bufs, buffer{v.floats(), v.start2, v.end2, &v.at2})
		}
		if v.grad && v.gstart >= 0 && v.param < 0 {
			bufs = append(bufs, buffer{v.n, v.gstart, v.gend, &v.gpos})
		}
	}
	p.floats = pack(bufs)
}

// lives collects when each root is written and read.
type lives struct {
	c       *compiler
	now     int           // the next moment of Backward
	last    int           // later than all others
	writers map[int][]int // steps that write a root
	dropped map[int]bool  // roots that are made again
	done    map[int]bool  // steps that have run again
	members map[int][]int // values of a root
}

func newLives(c *compiler, again []bool) *lives {
	p := c.p
	T := len(p.steps)
	l := &lives{c: c, now: T + 1, last: 2*T + len(p.back) + 2, writers: map[int][]int{}, dropped: map[int]bool{}, done: map[int]bool{}, members: map[int][]int{}}
	for i := range p.values {
		v := &p.values[i]
		v.start, v.end, v.start2, v.end2, v.gstart, v.gend = l.last+1, -1, l.last+1, -1, -1, -1
	}
	for i := range p.back {
		p.back[i].again = nil
	}
	if again == nil {
		return l
	}
	for i := range p.values {
		r := p.values[i].root
		l.members[r] = append(l.members[r], i)
	}
	for i, s := range p.steps {
		b := s.plan()
		for _, id := range append(slices.Clone(b.out), b.tmp...) {
			if r := p.values[id].root; p.values[id].life != inBackward && !slices.Contains(l.writers[r], i) {
				l.writers[r] = append(l.writers[r], i)
			}
		}
	}
	pinned := map[int]bool{}
	for _, id := range c.pinned {
		pinned[p.values[id].root] = true
	}
	for r, w := range l.writers {
		l.dropped[r] = p.values[r].inMemory() && !pinned[r] && !slices.ContainsFunc(w, func(i int) bool { return !again[i] })
	}
	return l
}

// touch notes that a value is used at time t.
func (l *lives) touch(id, t int) {
	r := &l.c.p.values[l.c.p.values[id].root]
	if t > len(l.c.p.steps) && l.dropped[l.c.p.values[id].root] {
		r.start2, r.end2 = min(r.start2, t), max(r.end2, t)
		return
	}
	r.start, r.end = min(r.start, t), max(r.end, t)
}

func (l *lives) touchGrad(id, t int) {
	r := &l.c.p.values[l.c.p.values[id].root]
	if r.gstart < 0 {
		r.gstart = t
	}
	r.gstart, r.gend = min(r.gstart, t), max(r.gend, t)
}

// backStep notes what one step of Backward uses, and first what it needs made
// again.
func (l *lives) backStep(k *backStep) {
	p := l.c.p
	b := k.step.plan()
	for _, id := range b.keep {
		l.need(id, k)
	}
	for _, id := range b.tmp {
		if p.values[id].life == untilBack {
			l.need(id, k)
		}
	}
	t := l.now
	l.now++
	for _, id := range b.keep {
		l.touch(id, t)
	}
	for _, id := range b.tmp {
		if p.values[id].life != inForward {
			l.touch(id, t)
		}
	}
	for _, id := range b.out {
		if p.values[p.values[id].root].grad {
			l.touchGrad(id, t)
		}
	}
	for _, d := range b.dx {
		if d.want {
			l.touchGrad(d.id, t)
		}
	}
}

// need runs the steps again that give a dropped value.
func (l *lives) need(id int, k *backStep) {
	r := l.c.p.values[id].root
	if !l.dropped[r] {
		return
	}
	for _, i := range l.writers[r] {
		if !l.done[i] {
			l.runAgain(i, k)
		}
	}
}

func (l *lives) runAgain(i int, k *backStep) {
	p := l.c.p
	l.done[i] = true
	s := p.steps[i]
	b := s.plan()
	for _, id := range b.in {
		l.need(id, k)
	}
	t := l.now
	l.now++
	for _, id := range b.in {
		l.touch(id, t)
	}
	again := rerun{step: s}
	for _, id := range append(slices.Clone(b.out), b.tmp...) {
		if p.values[id].life == inBackward {
			continue
		}
		l.touch(id, t)
		if r := p.values[id].root; l.dropped[r] {
			for _, m := range l.members[r] {
				if !slices.Contains(again.moved, m) {
					again.moved = append(again.moved, m)
				}
			}
		}
	}
	k.again = append(k.again, again)
}

// inMemory reports whether the data of a root lie in the arena.
func (v *value) inMemory() bool { return v.kind == inArena || v.kind == temporary || v.kind == asCodes }

// floats is the length of a value in the arena; four codes take one float.
func (v *value) floats() int {
	if v.kind == asCodes {
		return (v.n + 3) / 4
	}
	return v.n
}
