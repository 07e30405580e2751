package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// A QuantizeLinear that is read only by DequantizeLinear nodes with the same
// scale and zero point is a fake quantiser: the pair runs, and is
// differentiated, as one float step, and no codes are stored.

// leaveToDequantize reports whether the node is such a QuantizeLinear.
func (c *compiler) leaveToDequantize(n *ir.Node) bool {
	if !n.Is("QuantizeLinear") || !isFloat(n.Inputs[0]) || !isFloat(n.Inputs[1]) || c.kept(n.Out()) {
		return false
	}
	for _, u := range n.Out().Uses() {
		if c.live[u.Node] && !c.pairs(n, u.Node) {
			return false
		}
	}
	return true
}

// pairs reports whether dq undoes q, in a form that fakeQuant can do.
func (c *compiler) pairs(q, dq *ir.Node) bool {
	if !dq.Is("DequantizeLinear") || dq.Inputs[0] != q.Out() || !isFloat(dq.Out()) || q.Attrs.Int("block_size", 0) != 0 {
		return false
	}
	if q.Inputs[1] != dq.Inputs[1] && !c.equalConst(q.Inputs[1], dq.Inputs[1]) {
		return false
	}
	zq, zd := q.Input(2), dq.Input(2)
	if zq != zd && !c.equalConst(zq, zd) {
		return false
	}
	if zq != nil && c.fixed(zq) == nil {
		return false
	}
	_, _, ok := codeRange(q.Out().Type.Elem)
	groups := size(c.shape(q.Inputs[1]))
	if groups == 1 {
		return ok
	}
	in := c.shape(q.Inputs[0])
	a, b := wrapAxis(q.Attrs.Int("axis", 1), len(in)), wrapAxis(dq.Attrs.Int("axis", 1), len(in))
	return ok && a == b && a < len(in) && in[a] == groups && len(c.shape(q.Inputs[1])) == 1
}

// equalConst reports whether both are fixed and hold the same numbers.
func (c *compiler) equalConst(a, b *ir.Value) bool {
	x, y := c.fixed(a), c.fixed(b)
	if x == nil || y == nil || x.Elem != y.Elem || !slices.Equal(x.Shape, y.Shape) || x.Elem == ir.String {
		return false
	}
	for i := range x.Len() {
		if x.Float(i) != y.Float(i) {
			return false
		}
	}
	return true
}

// codeRange gives the smallest and largest code of an integer type.
func codeRange(e ir.Elem) (qn, qp float32, ok bool) {
	b := e.Bits()
	if !e.IsInt() || b > 16 {
		return 0, 0, false
	}
	qn, qp = quantRange(b, e.IsSigned())
	return qn, qp, true
}

func buildDequantize(c *compiler, n *ir.Node) (bool, error) {
	q := n.Inputs[0].Def
	if q == nil || !q.Is("QuantizeLinear") || !isFloat(q.Inputs[0]) || !c.leaveToDequantize(q) {
		return false, nil
	}
	x := q.Inputs[0]
	in := c.shape(x)
	s := &fakeQuant{outer: 1, groups: 1, inner: size(in), node: n}
	if k := size(c.shape(q.Inputs[1])); k > 1 {
		a := wrapAxis(q.Attrs.Int("axis", 1), len(in))
		s.outer, s.groups, s.inner = size(in[:a]), in[a], size(in[a+1:])
	}
	s.qn, s.qp, _ = codeRange(q.Out().Type.Elem)
	zero := -1
	if t := c.fixed(q.Input(2)); t != nil {
		z := make([]float32, t.Len())
		some := false
		for i := range z {
			z[i] = float32(t.Float(i))
			some = some || z[i] != 0
		}
		if some {
			zero = c.add(value{elem: ir.Float32, shape: t.Shape, n: len(z), kind: constant, tens: ir.Of(z, t.Shape...), param: -1})
		}
	}
	return true, c.addFakeQuant(n, s, c.value(x), c.value(q.Inputs[1]), zero)
}
