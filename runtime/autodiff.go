package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// written is the set of ranges of one root's gradient that hold data at the
// present point of the backward order, sorted and disjoint.
type written []piece

// gaps lists the parts of [lo, hi) that hold nothing yet.
func (w written) gaps(root, lo, hi int) []piece {
	var out []piece
	at := lo
	for _, p := range w {
		if p.hi <= at || p.lo >= hi {
			continue
		}
		if p.lo > at {
			out = append(out, piece{root, at, p.lo})
		}
		at = max(at, p.hi)
	}
	if at < hi {
		out = append(out, piece{root, at, hi})
	}
	return out
}

// add marks [lo, hi) as holding data.
func (w written) add(root, lo, hi int) written {
	out := written{{root, lo, hi}}
	for _, p := range w {
		q := &out[0]
		if p.hi < q.lo || p.lo > q.hi {
			out = append(out, p)
			continue
		}
		q.lo, q.hi = min(q.lo, p.lo), max(q.hi, p.hi)
	}
	slices.SortFunc(out, func(a, b piece) int { return a.lo - b.lo })
	return out
}

// planBackward decides which steps run backward, in reverse order of execution,
// and for every gradient range who writes it first (overwriting) and who adds.
// Parts that nobody writes before they are read are cleared.
func (c *compiler) planBackward() error {
	p := c.p
	if !p.train {
		return nil
	}
	for _, id := range p.params {
		p.values[p.values[id].root].grad = true
	}
	has := func(id int) bool { return p.values[p.values[id].root].grad }
	for _, st := range p.steps {
		b := st.plan()
		any := false
		for _, d := range b.dx {
			any = any || has(d.id)
		}
		for _, id := range b.blocked {
			any = any || has(id)
		}
		if !any {
			continue
		}
		for _, id := range b.out {
			if p.values[id].elem == ir.Float32 {
				p.values[p.values[id].root].grad = true
			}
		}
	}
	state := map[int]written{}
	mark := func(id int) {
		v := &p.values[id]
		state[v.root] = state[v.root].add(v.root, v.off, v.off+v.n)
	}
	for _, v := range append(slices.Clone(p.output), c.cfg.Taps...) {
		id := p.byIR[v]
		if x := &p.values[id]; x.elem == ir.Float32 && has(id) && p.values[x.root].param < 0 && !slices.Contains(p.seeds, id) {
			p.seeds = append(p.seeds, id)
			x.seed = true
			mark(id)
		}
	}
	for i, st := range slices.Backward(p.steps) {
		if err := c.planBackStep(i, st, state, has); err != nil {
			return err
		}
	}
	for _, id := range p.params {
		r := p.values[id].root
		p.unreached = append(p.unreached, state[r].gaps(r, 0, p.values[r].n)...)
	}
	return nil
}

func (c *compiler) planBackStep(index int, st step, state map[int]written, has func(int) bool) error {
	p := c.p
	b := st.plan()
	reached := false
	for _, id := range b.out {
		v := &p.values[id]
		for _, w := range state[v.root] {
			reached = reached || (w.lo < v.off+v.n && w.hi > v.off)
		}
	}
	if !reached {
		return nil
	}
	for _, id := range b.blocked {
		if has(id) {
			return b.err
		}
	}
	k := backStep{step: st, index: index}
	wanted := false
	for _, d := range b.dx {
		wanted = wanted || has(d.id)
	}
	if !wanted {
		return nil
	}
	empty := true // a step that has nothing to do does not write zeros either
	for _, id := range b.out {
		if v := &p.values[id]; v.elem == ir.Float32 {
			empty = empty && v.n == 0
			k.clear = append(k.clear, state[v.root].gaps(v.root, v.off, v.off+v.n)...)
		}
	}
	for _, d := range b.dx {
		v := &p.values[d.id]
		if d.want = has(d.id); !d.want {
			continue
		}
		gaps := state[v.root].gaps(v.root, v.off, v.off+v.n)
		switch {
		case !empty && len(gaps) == 1 && gaps[0].lo == v.off && gaps[0].hi == v.off+v.n:
			d.acc = false
		default:
			d.acc = true
			k.clear = append(k.clear, gaps...)
		}
		state[v.root] = state[v.root].add(v.root, v.off, v.off+v.n)
	}
	p.back = append(p.back, k)
	return nil
}
