package runtime

import (
	"cmp"
	"slices"
)

// The timeline of a program with T steps: step i runs forward at time i, seeds
// are written at time T, step i runs backward at time 2T-i. One arena serves
// activations, gradients and temporaries; two of them share memory when their
// lives do not overlap.

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

// planMemory sets the lives of all values and places them.
func (c *compiler) planMemory() {
	p := c.p
	T := len(p.steps)
	last := 2*T + 1
	for i := range p.values {
		v := &p.values[i]
		v.start, v.end = last+1, -1
	}
	touch := func(id, t int) {
		r := &p.values[p.values[id].root]
		r.start, r.end = min(r.start, t), max(r.end, t)
	}
	for _, id := range c.pinned { // inputs, outputs and taps live throughout
		touch(id, -1)
		touch(id, last)
	}
	for i, st := range p.steps {
		b := st.plan()
		for _, id := range b.in {
			touch(id, i)
		}
		for _, id := range b.out {
			touch(id, i)
		}
		for _, id := range b.tmp {
			if p.values[id].life != inBackward {
				touch(id, i)
			}
		}
	}
	for i := range p.values {
		p.values[i].gstart, p.values[i].gend = -1, -1
	}
	gtouch := func(id, t int) {
		r := &p.values[p.values[id].root]
		if r.gstart < 0 {
			r.gstart = t
		}
		r.gstart, r.gend = min(r.gstart, t), max(r.gend, t)
	}
	for _, id := range p.seeds {
		gtouch(id, T)
	}
	for i := range p.back {
		k := &p.back[i]
		t := 2*T - k.index
		b := k.step.plan()
		for _, id := range b.keep {
			touch(id, t)
		}
		for _, id := range b.tmp {
			if p.values[id].life != inForward {
				touch(id, t)
			}
		}
		for _, id := range b.out {
			if p.values[p.values[id].root].grad {
				gtouch(id, t)
			}
		}
		for _, d := range b.dx {
			if d.want {
				gtouch(d.id, t)
			}
		}
	}
	var bufs []buffer
	for i := range p.values {
		v := &p.values[i]
		if v.root != i {
			continue
		}
		if v.inMemory() && v.end >= v.start && v.n > 0 {
			bufs = append(bufs, buffer{v.floats(), v.start, v.end, &v.at})
		}
		if v.grad && v.gstart >= 0 && v.param < 0 && v.n > 0 {
			bufs = append(bufs, buffer{v.n, v.gstart, v.gend, &v.gpos})
		}
	}
	p.floats = pack(bufs)
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
