package passes

import "github.com/qvitc/qvitc/ir"

// matrix makes the dequantised weight [N,K] of a product by W [K,N]; nil when W
// is not quantised in a way that fits.
func (l *qdqLowering) matrix(n *ir.Node) (*ir.Value, error) {
	b, err := blockWeightOf(n.Inputs[1])
	if err != nil {
		return nil, err
	}
	if b != nil {
		return l.blockMatrix(n, b), nil
	}
	s, err := quantOf(n.Inputs[1])
	if err != nil || s == nil || !s.node.Inputs[0].IsConst() || len(s.node.Inputs[0].Const.Shape) != 2 || s.axis == 0 {
		return nil, err
	}
	e := l.elem(s.bits, s.signed, true)
	zero, ok := l.zeroOf(s, e, 0)
	if e == ir.Undefined || !ok {
		return nil, nil
	}
	w := s.node.Inputs[0].Const
	k, width := w.Shape[0], w.Shape[1]
	in := []*ir.Value{l.codesOf(n, s, e, transposedAs[int32](s.codes(w), k, width), width, k), s.node.Inputs[1]}
	if s.zeroPoint != nil {
		in = append(in, zero)
	}
	attrs := ir.Attrs{}
	if s.axis >= 0 {
		attrs["axis"] = int64(0)
	}
	v := l.g.InsertBefore(n, "", "DequantizeLinear", attrs, in, s.node.Out().Name)
	v.Name, v.Origin = s.node.Name, s.node.Origin
	v.Out().Type = ir.TensorType(ir.Float32, ir.Known(width, k))
	return l.names.hold(l.r.rewrote(v).Out(), s.node.Out().Name), nil
}

// blockMatrix is matrix for weights with a scale for each block of a row: the
// form with block_size, which came with opset 21; nil for target of bytes.
func (l *qdqLowering) blockMatrix(n *ir.Node, b *blockWeight) *ir.Value {
	e := l.elem(b.q.bits, b.q.signed, true)
	zero, ok := l.zeroOf(b.q, e, 0)
	if l.Bytes || e == ir.Undefined || !ok {
		return nil
	}
	all := b.q.codes(b.q.node.Inputs[0].Const)
	codes := make([]int32, 0, b.rows*b.width)
	for r := range b.rows {
		codes = append(codes, all[r*b.blocks*b.size:][:b.width]...)
	}
	square := func(v *ir.Value) *ir.Value {
		t, err := v.Const.Reshaped(b.rows, b.blocks)
		if err != nil {
			panic("passes: " + err.Error())
		}
		return l.names.add(v.Name, t)
	}
	in := []*ir.Value{l.codesOf(n, b.q, e, codes, b.rows, b.width), square(b.q.node.Inputs[1])}
	if b.q.zeroPoint != nil {
		in = append(in, square(zero))
	}
	v := l.g.InsertBefore(n, "", "DequantizeLinear", ir.Attrs{"axis": int64(1), "block_size": int64(b.size)}, in, n.Inputs[1].Name)
	v.Name, v.Origin = b.q.node.Name, b.q.node.Origin
	v.Out().Type = ir.TensorType(ir.Float32, ir.Known(b.rows, b.width))
	return l.r.rewrote(v).Out()
}

// weight writes a quantised constant as codes and DequantizeLinear.
func (l *qdqLowering) weight(s *quantSettings) bool {
	n := s.node
	e := l.elem(s.bits, s.signed, true)
	zero, ok := l.zeroOf(s, e, 0)
	if e == ir.Undefined || !ok {
		return false
	}
	w := n.Inputs[0].Const
	in := []*ir.Value{l.codesOf(n, s, e, s.codes(w), w.Shape...), n.Inputs[1]}
	if s.zeroPoint != nil {
		in = append(in, zero)
	}
	attrs := ir.Attrs{}
	if s.axis >= 0 {
		attrs["axis"] = int64(s.axis)
	}
	replaceNode(l.g, l.r, n, "DequantizeLinear", attrs, "weights", in...)
	return true
}

// codesOf makes the constant of a weight's codes, cut to its width where the
// type is a byte.
func (l *qdqLowering) codesOf(before *ir.Node, s *quantSettings, e ir.Elem, codes []int32, shape ...int) *ir.Value {
	name := s.node.Inputs[0].Name
	v := l.names.add(name+"_codes", codeTensor(e, codes, shape...))
	if s.bits == e.Bits() {
		return v
	}
	if !l.Bytes || s.bits > 8 {
		l.widths[v.Name] = s.bits
		return v
	}
	lo, hi := s.bounds()
	clip := l.g.InsertBefore(before, "", "Clip", nil, []*ir.Value{v,
		l.g.AddConst(name+"_lowest", codeTensor(e, []int32{int32(lo)})), l.g.AddConst(name+"_highest", codeTensor(e, []int32{int32(hi)}))}, name+"_clipped")
	clip.Name, clip.Origin = partName(s.node, "/clip"), s.node.Origin
	clip.Out().Type = v.Type
	return l.r.rewrote(clip).Out()
}
