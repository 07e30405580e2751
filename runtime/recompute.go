package runtime

import (
	"fmt"
	"slices"
	"sort"
)

// Training keeps what the gradients need from Forward to Backward, but for what
// runs forward a second time just before a gradient needs it (gradient
// checkpointing): always the cheap steps, normalisations and GELUs, and to stay
// below Config.MaxMemory whole segments, from the front of the network on, where
// the second run falls in the time when most memory is free again. A segment is what lies between two points at which one tensor alone is alive: in
// a transformer, an attention or an MLP with its residual.

// rerun is a step that runs forward again during Backward.
type rerun struct {
	step  step
	moved []int // values whose data lie at their second place from here on
}

// planMemory places all values, in training with the cheap steps run again and as
// few segments as the limit asks for.
func (c *compiler) planMemory() error {
	p := c.p
	if !p.train {
		c.place(nil)
		return nil
	}
	limit := c.cfg.MaxMemory
	again := make([]bool, len(p.steps))
	c.cheapSteps(again)
	if c.place(again); limit <= 0 || p.Memory() <= limit {
		return nil
	}
	segments := c.segments()
	p.segments = len(segments)
	try := func(n int) bool {
		set := slices.Clone(again)
		for _, s := range segments[:n] {
			for _, i := range s {
				set[i] = true
			}
		}
		c.weightSteps(set)
		c.place(set)
		p.recomputed = n
		return p.Memory() <= limit
	}
	n := sort.Search(len(segments), func(n int) bool { return try(n) })
	if try(n) {
		return nil
	}
	return &MemoryError{Need: p.Memory(), Limit: limit}
}

// MemoryError says that Config.MaxMemory cannot be met: Need is what a State
// takes with every segment run twice.
type MemoryError struct{ Need, Limit int64 }

func (e *MemoryError) Error() string {
	return fmt.Sprintf("a training step of this batch needs %.1f MiB of activations and gradients even with every block computed twice; the limit is %.1f MiB: raise the limit or make the batch smaller",
		float64(e.Need)/(1<<20), float64(e.Limit)/(1<<20))
}

// cheapSteps marks the steps that cost little beside the products.
func (c *compiler) cheapSteps(again []bool) {
	for i, s := range c.p.steps {
		switch s := s.(type) {
		case *layerNorm:
			again[i] = true
		case *unary:
			again[i] = s.fn.keepX && !s.fn.keepY
		}
	}
}

// weightSteps marks the steps that depend on parameters alone.
func (c *compiler) weightSteps(again []bool) {
	data := c.dependsOnData()
	for i, s := range c.p.steps {
		if b := s.plan(); c.repeatable(s) && !slices.ContainsFunc(b.out, func(id int) bool { return data[c.p.values[id].root] }) {
			again[i] = true
		}
	}
}

// repeatable reports whether a step can run again: all that it gives lies in the
// arena.
func (c *compiler) repeatable(s step) bool {
	if _, slow := s.(*evaluated); slow {
		return false
	}
	for _, id := range s.plan().out {
		if v := &c.p.values[c.p.values[id].root]; !v.inMemory() && v.kind != ghost {
			return false
		}
	}
	return true
}

// dependsOnData tells which roots depend on a graph input.
func (c *compiler) dependsOnData() map[int]bool {
	p := c.p
	data := map[int]bool{}
	for _, v := range p.inputs {
		data[p.values[p.inputN[v]].root] = true
	}
	for _, s := range p.steps {
		b := s.plan()
		if slices.ContainsFunc(b.in, func(id int) bool { return data[p.values[id].root] }) {
			for _, id := range append(slices.Clone(b.out), b.tmp...) {
				data[p.values[id].root] = true
			}
		}
	}
	return data
}

// segments cuts the steps where one tensor alone is alive. A segment lists its
// steps but for those that give its last tensor, from which the next one starts.
func (c *compiler) segments() [][]int {
	p := c.p
	data := c.dependsOnData()
	first, last := map[int]int{}, map[int]int{}
	for i, s := range p.steps {
		b := s.plan()
		for _, id := range b.in {
			last[p.values[id].root] = i
		}
		for _, id := range append(slices.Clone(b.out), b.tmp...) {
			r := p.values[id].root
			if _, seen := first[r]; !seen {
				first[r] = i
			}
		}
	}
	var out [][]int
	from := 0
	for i := 1; i <= len(p.steps); i++ {
		var live []int
		for r, w := range first {
			if data[r] && w < i && last[r] >= i {
				live = append(live, r)
			}
		}
		if len(live) != 1 && i < len(p.steps) {
			continue
		}
		var seg []int
		for k := from; k < i; k++ {
			b := p.steps[k].plan()
			boundary := slices.ContainsFunc(b.out, func(id int) bool { return slices.Contains(live, p.values[id].root) })
			if !boundary && c.repeatable(p.steps[k]) {
				seg = append(seg, k)
			}
		}
		if len(seg) > 0 {
			out = append(out, seg)
		}
		from = i
	}
	return out
}

// Recomputed tells how many segments of a training program run forward twice to
// stay within Config.MaxMemory, and how many segments there are; of is 0 where
// the limit did not ask for any.
func (p *Program) Recomputed() (n, of int) { return p.recomputed, p.segments }

// relocate points values to their second place.
func (s *State) relocate(ids []int) {
	for _, id := range ids {
		x := &s.p.values[id]
		at := s.p.values[x.root].at2 + x.off
		s.v[id] = s.arena[at : at+x.floats() : at+x.floats()]
	}
	s.moved = true
}

// settle points all values to their first place again.
func (s *State) settle() {
	if !s.moved {
		return
	}
	for i := range s.p.back {
		for _, r := range s.p.back[i].again {
			for _, id := range r.moved {
				s.v[id] = s.home[id]
			}
		}
	}
	s.moved = false
}
