package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// evaluated runs a node through ops.Eval: right, slow, allocating, and without a
// gradient.
type evaluated struct {
	base
	noBackward
	node    *ir.Node
	ins     []int // -1 where left out
	outs    []int
	scratch []*ir.Tensor
}

func (c *compiler) fallback(n *ir.Node) error {
	if ops.Lookup(n.Domain, n.Op) == nil {
		return n.Errorf("operator %s is not supported, and the model has no function of that name", opName(n))
	}
	s := &evaluated{node: n}
	for _, v := range n.Inputs {
		id := c.value(v)
		s.ins = append(s.ins, id)
		if id >= 0 {
			s.in = append(s.in, id)
			if isFloat(v) {
				s.blocked = append(s.blocked, id)
			}
		}
	}
	for _, v := range n.Outputs {
		id := c.value(v)
		s.outs = append(s.outs, id)
		if id >= 0 {
			s.out = append(s.out, id)
		}
	}
	s.err = n.Errorf("cannot be differentiated: the runtime has no gradient for this operator in this form")
	c.emit(n, s)
	return nil
}

func opName(n *ir.Node) string {
	if n.Domain == "" {
		return ir.Quote(n.Op)
	}
	return ir.Quote(n.Domain + "::" + n.Op)
}

// weighEvaluated adds up what the results of such steps take: those that are not
// float32 have no place in the arena, and each is made beside it.
func (p *Program) weighEvaluated() {
	kept, most := int64(0), int64(0)
	for _, k := range p.steps {
		s, ok := k.(*evaluated)
		if !ok {
			continue
		}
		made := int64(0)
		for _, id := range s.out {
			x := &p.values[id]
			n := int64(x.n) * int64(max(8, x.elem.Bits())) / 8
			if made += n; x.elem != ir.Float32 {
				kept += n
			}
		}
		most = max(most, made)
	}
	p.evaluated = kept + most
}

func (s *evaluated) forward(st *State) error {
	in := make([]*ir.Tensor, len(s.ins))
	for i, id := range s.ins {
		if id >= 0 {
			in[i] = st.t[id]
		}
	}
	out, err := ops.Eval(s.node, in)
	if err != nil {
		return err
	}
	for i, id := range s.outs {
		if id < 0 {
			continue
		}
		x := &st.p.values[id]
		if i >= len(out) || out[i] == nil {
			return s.node.Errorf("output %d was not computed", i)
		}
		if out[i].Elem != x.elem || !slices.Equal(out[i].Shape, x.shape) {
			return s.node.Errorf("output %d is %v%v, planned was %v%v: shapes that depend on data are not supported", i, out[i].Elem, out[i].Shape, x.elem, x.shape)
		}
		if x.elem == ir.Float32 {
			copy(st.v[id], out[i].F32())
		} else {
			st.t[id] = out[i]
		}
	}
	return nil
}
