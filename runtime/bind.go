package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Bind makes the caller's memory that of a float32 graph input or output, in
// place of the state's own, until the next Bind of that value: Forward then reads
// or writes there without a copy. data must have the value's length and stay alive
// while it is bound. It reports false, and changes nothing, where the value's
// memory is shared with other values, or the lengths differ; use Input and Value
// then.
func (s *State) Bind(v *ir.Value, data []float32) bool {
	id, ok := s.p.byIR[v]
	if !ok || s.p.train || s.moved {
		return false
	}
	x := &s.p.values[id]
	if x.kind != inArena || x.root != id || x.n != len(data) || x.elem != ir.Float32 {
		return false
	}
	for i := range s.p.values {
		if i != id && s.p.values[i].kind == viewOf && s.p.values[i].root == id {
			return false
		}
	}
	s.v[id], s.home[id] = data, data
	s.t[id], _ = ir.Wrap(ir.Float32, x.shape, data)
	return true
}

// lend notes the float32 inputs that a Session need not copy: only convolutions on codes
// read them, and they take floats from wherever these lie.
func (c *compiler) lend() {
	p := c.p
	p.lent = make([]bool, len(p.values))
	for v, id := range p.inputN {
		x := &p.values[id]
		p.lent[id] = !p.train && x.kind == inArena && x.root == id && x.elem == ir.Float32 && !slices.Contains(p.output, v)
	}
	for i := range p.values {
		if x := &p.values[i]; x.root != i {
			p.lent[x.root] = false
		}
	}
	for _, s := range p.steps {
		if _, ok := s.(*packedConv); ok {
			continue
		}
		for _, id := range s.plan().in {
			p.lent[id] = false
		}
	}
	for _, v := range c.cfg.Taps {
		if id, ok := p.byIR[v]; ok {
			p.lent[id] = false
		}
	}
}

// takeBack ends what setRows has lent.
func (s *State) takeBack() {
	for _, id := range s.p.inputN {
		if s.p.lent[id] {
			s.v[id] = s.home[id]
		}
	}
}
