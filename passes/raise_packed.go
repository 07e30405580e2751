package passes

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// RaisePacked turns packed operators back into quantisers and products.
var RaisePacked = Pass{
	Name: "raise-packed",
	Doc: `make FakeQuant and MatMul of packed operators

QLinearW{w}A{a} becomes FakeQuant on the input, FakeQuant on the unpacked weight,
MatMul and the Add of a bias that is not zero; a Pad that only filled the last
group of codes goes. QMatMulA{a}B{b} becomes MatMul of two FakeQuants, that of a
transposed operand in front of the Transpose. Unsigned codes with a zero point
are written as signed ones.`,
	Run: raisePacked,
}

func raisePacked(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	z := newRaiser(g, r)
	changed := false
	for n := range g.Nodes() {
		if n.Domain != ir.Domain || n.Op == "FakeQuant" {
			continue
		}
		a, b, linear := packedWidths(n.Op)
		var done bool
		var err error
		switch {
		case a == 0:
		case linear:
			done, err = z.linear(n, a, b)
		default:
			done = z.product(n, a, b)
		}
		if err != nil {
			return changed, err
		}
		if a != 0 && !done {
			r.Note(n, "%s stays: its scales or weights are not constants of a known form", n.Op)
		}
		changed = changed || done
	}
	z.finish(changed)
	return changed, nil
}

// packedWidths reads the widths in a packed operator's name: of weight and
// activation for QLinear, of the two operands for QMatMul; 0 for other names.
func packedWidths(op string) (a, b int, linear bool) {
	var rest string
	if n, _ := fmt.Sscanf(op, "QLinearW%dA%d%s", &a, &b, &rest); n == 2 && packs(a) && packs(b) {
		return a, b, true
	}
	if n, _ := fmt.Sscanf(op, "QMatMulA%dB%d%s", &a, &b, &rest); n == 2 && packs(a) && packs(b) {
		return a, b, false
	}
	return 0, 0, false
}

// unsignedGrid is the grid of codes 0..2^bits-1 with a zero point, in the form
// the plans use.
func unsignedGrid(bits, axis int, scale []float32, zero int) grid {
	q := grid{bits: bits, axis: axis, scale: scale, zero: make([]float32, len(scale))}
	for i := range q.zero {
		q.zero[i] = float32(zero)
	}
	return q.unshifted()
}

func (z *raiser) linear(n *ir.Node, wbits, abits int) (bool, error) {
	x, b, ws, xs, xz, bias := n.Input(0), n.Input(1), n.Input(2), n.Input(3), n.Input(4), n.Input(5)
	scales, ok := floats(ws)
	xscale, xok := floats(xs)
	if !ok || !xok || !b.IsConst() || !xz.IsConst() || bias != nil && !bias.IsConst() || len(xscale) != 1 || len(b.Const.Shape) < 2 {
		return false, nil
	}
	rows, padded := b.Const.Shape[0], known(x, -1)
	if len(scales) != rows || padded < 0 {
		return false, nil
	}
	codes, err := UnpackWeights(b.Const, padded, wbits)
	if err != nil {
		return false, n.Errorf("%v", err)
	}
	x = beforePad(x)
	k := known(x, -1)
	w := make([]int32, k*rows)
	for j := range rows {
		for i := range k {
			w[i*rows+j] = int32(codes[j*padded+i])
		}
	}
	in := unsignedGrid(abits, -1, xscale, int(xz.Const.Int(0)))
	weight := grid{bits: wbits, signed: true, axis: 1, scale: scales}
	if !in.usable() {
		return false, nil
	}
	name := LayerName(n)
	xq := z.quantise(n, x, in, xs.Name, name+".input_zero_point")
	z.product2(n, xq, z.weight(n, w, []int{k, rows}, weight, b.Name, ws.Name), bias)
	z.r.Count(n.Op, 1)
	return true, nil
}

// product2 puts MatMul(x, w), and the Add of a bias that is not all zero, in
// the place of n.
func (z *raiser) product2(n *ir.Node, x, w, bias *ir.Value) {
	g := z.g
	if bias != nil && isZero(bias.Const) {
		bias = nil
	}
	out := n.Out()
	name := out.Name
	if bias != nil {
		name += ".matmul"
	}
	mm := g.InsertBefore(n, "", "MatMul", nil, []*ir.Value{x, w}, name)
	mm.Out().Type = out.Type
	z.r.inherit(mm, n)
	y := mm.Out()
	if bias != nil {
		add := g.InsertBefore(n, "", "Add", nil, []*ir.Value{y, bias}, out.Name)
		add.Out().Type = out.Type
		z.r.inherit(add, n).Role = ir.Role{Block: -1}
		if n.Name != "" {
			add.Name = n.Name + "/bias"
		}
		y = add.Out()
	}
	substitute(g, out, y)
	g.Remove(n)
}

func isZero(t *ir.Tensor) bool {
	for i := range t.Len() {
		if t.Float(i) != 0 {
			return false
		}
	}
	return true
}

// beforePad looks through a Pad that appends zeros to the last axis.
func beforePad(x *ir.Value) *ir.Value {
	n := def(x, "Pad")
	if n == nil || n.Attrs.Str("mode", "constant") != "constant" || len(n.Inputs) > 3 {
		return x
	}
	if v := n.Input(2); v != nil && (!v.IsConst() || !isZero(v.Const)) {
		return x
	}
	pads, ok := intsOf(n.Input(1))
	rank := x.Type.Rank()
	if !ok || len(pads) != 2*rank || known(n.Inputs[0], -1) < 1 {
		return x
	}
	for i, p := range pads {
		if p != 0 && i != 2*rank-1 || p < 0 {
			return x
		}
	}
	return n.Inputs[0]
}

func (z *raiser) product(n *ir.Node, abits, bbits int) bool {
	var q [2]grid
	for i := range q {
		s, off := n.Input(3*i+1), n.Input(3*i+2)
		scale, ok := floats(s)
		if !ok || !off.IsConst() || off.Const.Len() != 1 {
			return false
		}
		axis, ok := scaleAxis(s.Const.Shape, n.Inputs[3*i].Type.Rank())
		if !ok {
			return false
		}
		q[i] = unsignedGrid([]int{abits, bbits}[i], axis, scale, int(off.Const.Int(0)))
		if !q[i].usable() {
			return false
		}
	}
	var in [2]*ir.Value
	for i := range in {
		x, s := n.Inputs[3*i], n.Input(3*i+1)
		zero := fmt.Sprintf("%s.%s_zero_point", LayerName(n), string("ab"[i]))
		t := def(x, "Transpose")
		if t == nil || soleUser(x) != n || z.g.IsOutput(x) {
			in[i] = z.quantise(n, x, q[i], s.Name, zero)
			continue
		}
		if q[i].axis >= 0 {
			q[i].axis = perm(t)[q[i].axis]
		}
		t.SetInput(0, z.quantise(t, t.Inputs[0], q[i], s.Name, zero))
		in[i] = x
	}
	mm := z.g.InsertBefore(n, "", "MatMul", nil, in[:], n.Out().Name)
	mm.Out().Type = n.Out().Type
	z.r.inherit(mm, n)
	substitute(z.g, n.Out(), mm.Out())
	z.g.Remove(n)
	z.r.Count(n.Op, 1)
	return true
}

// scaleAxis reads the shape of a scale that broadcasts against an operand: the
// one axis along which it varies, -1 for one value; ok is false for more.
func scaleAxis(shape []int, rank int) (axis int, ok bool) {
	axis = -1
	for i, d := range shape {
		if d == 1 {
			continue
		}
		if axis >= 0 || rank < len(shape) {
			return 0, false
		}
		axis = rank - len(shape) + i
	}
	return axis, true
}
