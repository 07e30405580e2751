package runtime

import "github.com/qvitc/qvitc/ir"

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
