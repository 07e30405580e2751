package passes

import "github.com/qvitc/qvitc/ir"

// activation writes a quantiser as QuantizeLinear and DequantizeLinear.
func (l *qdqLowering) activation(s *quantSettings) (bool, error) {
	n := s.node
	e := l.elem(s.bits, s.signed, false)
	x := n.Inputs[0]
	shift := 0
	if e == ir.Int8 && l.Shift && s.axis < 0 {
		e, shift = ir.Uint8, 128
	}
	zero, ok := l.zeroOf(s, e, shift)
	if !ok {
		return false, zeroPointError(s)
	}
	if e == ir.Undefined || s.axis >= 0 && x.Type.Rank() < 0 {
		return false, nil
	}
	q := grid{bits: s.bits, signed: s.signed, axis: s.axis, scale: s.scale}
	for _, z := range s.zeroPoint {
		q.zero = append(q.zero, float32(z))
	}
	root := n
	if t := soleUser(n.Out()); t.Is("Transpose") && !l.g.IsOutput(n.Out()) && len(perm(t)) == x.Type.Rank() {
		p := perm(t)
		k := l.g.InsertBefore(n, "", "Transpose", t.Attrs.Clone(), []*ir.Value{x}, t.Out().Name)
		k.Out().Type = t.Out().Type
		x = l.names.hold(l.r.inherit(k, t).Out(), t.Out().Name)
		for i, a := range p {
			if q.axis >= 0 && a == q.axis {
				q.axis = i
				break
			}
		}
		root = t
	}
	lo, hi := s.bounds()
	if s.bits < e.Bits() && !(l.Bytes && s.bits <= 8) {
		x = addGuard(&l.names, l.r, n, x, q, lo, hi)
	}
	params := []*ir.Value{nil, scalarOrVector(&l.names, s)}
	if zero != nil {
		params = append(params, zero)
	}
	attrs := func() ir.Attrs {
		if q.axis < 0 {
			return nil
		}
		return ir.Attrs{"axis": int64(q.axis)}
	}
	params[0] = x
	c := l.g.InsertBefore(n, "", "QuantizeLinear", attrs(), params, n.Out().Name+".codes")
	c.Out().Type = ir.Type{Elem: e, Shape: x.Type.Shape, Ranked: x.Type.Ranked}
	l.r.inherit(c, n)
	v := c.Out()
	if s.bits < e.Bits() && l.Bytes && s.bits <= 8 {
		clip := l.g.InsertBefore(n, "", "Clip", nil, []*ir.Value{v,
			l.g.AddConst(n.Out().Name+".lowest", codeTensor(e, []int32{int32(lo + shift)})),
			l.g.AddConst(n.Out().Name+".highest", codeTensor(e, []int32{int32(hi + shift)}))}, n.Out().Name+".clipped")
		clip.Out().Type = v.Type
		v = l.r.inherit(clip, n).Out()
		clip.Name = partName(n, "/clip")
	}
	c.Name = partName(n, "/codes")
	params[0] = v
	d := l.g.InsertBefore(n, "", "DequantizeLinear", attrs(), params, n.Out().Name)
	d.Out().Type = root.Out().Type
	v = l.r.inherit(d, n).Out()
	if e.Bits() == 8 && q.axis >= 0 && readByProduct(root.Out()) {
		v = l.apart(n, v, q)
	}
	if root == n {
		substitute(l.g, n.Out(), v)
	} else { // each keeps its name: the Transpose that moved and the quantised value
		if l.g.ReplaceUses(root.Out(), v); !l.g.IsOutput(v) {
			l.names.hold(v, n.Out().Name)
		}
		l.g.Remove(root)
	}
	l.g.Remove(n)
	l.r.Count("activations", 1)
	return true, nil
}

func readByProduct(v *ir.Value) bool {
	for _, u := range v.Uses() {
		if u.Node.Is("MatMul") {
			return true
		}
	}
	return false
}

// apart puts a Max at the lowest value, which changes nothing, behind a
// DequantizeLinear of bytes with several scales: ONNX Runtime takes such ones
// into integer products that know one scale only, and fails when it runs them.
func (l *qdqLowering) apart(n *ir.Node, v *ir.Value, q grid) *ir.Value {
	lo, _ := q.bounds()
	k := l.g.InsertBefore(n, "", "Max", nil, []*ir.Value{v, l.g.AddConst(n.Out().Name+".lowest_value", q.cuts(lo, v.Type.Rank()))}, n.Out().Name+".apart")
	k.Out().Type = v.Type
	l.r.inherit(k, n).Name = partName(n, "/apart")
	return k.Out()
}

// scalarOrVector is the scale constant, 0-d without an axis.
func scalarOrVector(names *heldNames, s *quantSettings) *ir.Value {
	if s.axis < 0 {
		return scalarScale(names, s)
	}
	return s.node.Inputs[1]
}
