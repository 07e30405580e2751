package passes

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// RaiseLayout gives products by quantised weights the form of all others.
var RaiseLayout = Pass{
	Name: "raise-layout",
	Doc: `write products by quantised weights as MatMul(x, W[K,N]) and Add

A Transpose behind the FakeQuant of a constant goes into the constant. Gemm by a
quantised weight becomes MatMul and Add, and the Reshape pair that exporters put
around a Gemm for inputs of more than two dimensions goes. The quantiser of a
transposed operand moves in front of the Transpose.`,
	Run: raiseLayout,
}

func raiseLayout(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	z := newRaiser(g, r)
	changed := false
	for n := range g.Nodes() {
		switch {
		case n.Is("Transpose"):
			changed = z.transposeWeight(n) || changed
		case n.Is("Gemm"):
			changed = z.gemm(n) || changed
		case n.Is("MatMul"):
			changed = z.quantiserFirst(n) || changed
		}
	}
	z.finish(changed)
	if g.Meta[WidthsKey] != "" { // the quantisers have them now
		delete(g.Meta, WidthsKey)
		changed = true
	}
	return changed, nil
}

// quantiserFirst moves the quantiser of a transposed operand in front of the
// Transpose that swaps its last two axes.
func (z *raiser) quantiserFirst(n *ir.Node) bool {
	q := n.Inputs[1].Def
	if !q.IsOwn("FakeQuant") || soleUser(q.Out()) != n || z.g.IsOutput(q.Out()) {
		return false
	}
	t := def(q.Inputs[0], "Transpose")
	rank := q.Out().Type.Rank()
	if t == nil || soleUser(t.Out()) != q || z.g.IsOutput(t.Out()) || rank < 2 || !slices.Equal(perm(t), swapLast(rank)) {
		return false
	}
	in := t.Inputs[0]
	if q.Attrs.Has("axis") {
		q.Attrs["axis"] = int64(perm(t)[axisAttr(q, "axis", 0, rank)])
	}
	q.SetInput(0, in)
	z.g.MoveBefore(q, t)
	t.SetInput(0, q.Out())
	q.Out().Type = in.Type
	n.SetInput(1, t.Out())
	z.r.rewrote(q)
	z.r.Count("quantisers before transposes", 1)
	return true
}

// transposeWeight moves a Transpose into the constant behind a FakeQuant that
// nothing else reads.
func (z *raiser) transposeWeight(n *ir.Node) bool {
	q := n.Inputs[0].Def
	if !q.IsOwn("FakeQuant") || !q.Inputs[0].IsConst() || len(q.Out().Uses()) != 1 || z.g.IsOutput(q.Out()) || z.g.IsOutput(n.Out()) {
		return false
	}
	w := q.Inputs[0]
	p := perm(n)
	if len(w.Uses()) > 1 || z.g.IsOutput(w) || len(p) != len(w.Const.Shape) {
		return false
	}
	w.SetConst(transposed(w.Const, p))
	if q.Attrs.Has("axis") {
		q.Attrs["axis"] = int64(slices.Index(p, axisAttr(q, "axis", 0, len(p))))
	}
	q.Out().Type = w.Type
	z.g.ReplaceUses(n.Out(), q.Out())
	z.g.Remove(n)
	z.r.Count("transposes", 1)
	return true
}

// transposed permutes a float32 constant.
func transposed(t *ir.Tensor, p []int) *ir.Tensor {
	src := t.F32()
	if len(p) == 2 && p[0] == 1 {
		return ir.Of(transposedAs[float32](src, t.Shape[0], t.Shape[1]), t.Shape[1], t.Shape[0])
	}
	shape := make([]int, len(p))
	strides := make([]int, len(p))
	step := make([]int, len(p))
	for i, at := len(p)-1, 1; i >= 0; i-- {
		strides[i] = at
		at *= t.Shape[i]
	}
	for i, a := range p {
		shape[i], step[i] = t.Shape[a], strides[a]
	}
	out := make([]float32, len(src))
	index := make([]int, len(p))
	at := 0
	for i := range out {
		out[i] = src[at]
		for d := len(p) - 1; d >= 0; d-- {
			index[d]++
			at += step[d]
			if index[d] < shape[d] {
				break
			}
			at -= step[d] * shape[d]
			index[d] = 0
		}
	}
	return ir.Of(out, shape...)
}

// gemm replaces a Gemm by a quantised weight.
func (z *raiser) gemm(n *ir.Node) bool {
	x, w, bias := n.Input(0), n.Input(1), n.Input(2)
	if n.Attrs.Int("transA", 0) != 0 || n.Attrs.Float("alpha", 1) != 1 || !fromQuant(w) || bias != nil && !bias.IsConst() {
		return false
	}
	width := known(n.Out(), -1)
	if bias != nil {
		t := gemmBias(bias, width, n.Attrs.Float("beta", 1))
		if t == nil {
			return false
		}
		bias = replaceConst(z.g, bias, t)
	}
	if n.Attrs.Int("transB", 0) != 0 {
		t := z.g.InsertBefore(n, "", "Transpose", ir.Attrs{"perm": ir.Int64s(1, 0)}, []*ir.Value{w}, w.Name+".t")
		t.Out().Type = permuted(w.Type, []int{1, 0})
		n.SetInput(1, z.r.rewrote(t).Out())
		z.transposeWeight(t)
		w = n.Input(1)
	}
	root, in := n, x
	if a, b := def(x, "Reshape"), soleUser(n.Out()); a != nil && b.Is("Reshape") && b.Inputs[0] == n.Out() && !z.g.IsOutput(n.Out()) {
		if outer, inner := b.Out().Type, a.Inputs[0].Type; restores(inner, outer, known(x, -1), width) {
			root, in = b, a.Inputs[0]
		}
	}
	if root != n {
		// the product makes the outer value itself
		mm := z.g.InsertBefore(root, "", "MatMul", nil, []*ir.Value{in, w}, root.Out().Name)
		z.r.inherit(mm, n)
		mm.Out().Type = root.Out().Type
		hold := mm
		if bias != nil && !isZero(bias.Const) {
			z.g.Rename(mm.Out(), n.Out().Name+".matmul")
			hold = z.g.InsertBefore(root, "", "Add", nil, []*ir.Value{mm.Out(), bias}, root.Out().Name)
			z.r.inherit(hold, n).Role = ir.Role{Block: -1}
			hold.Out().Type = root.Out().Type
			if n.Name != "" {
				hold.Name = n.Name + "/bias"
			}
		}
		substitute(z.g, root.Out(), hold.Out())
		z.g.Remove(root)
		z.g.Remove(n)
	} else {
		z.product2(n, in, w, bias)
	}
	z.r.Count("gemm", 1)
	return true
}

// fromQuant reports whether v is a constant behind a FakeQuant, as it is or
// reshaped from blocks.
func fromQuant(v *ir.Value) bool {
	for v != nil && (v.Def.Is("Slice") || v.Def.Is("Reshape") || v.Def.Is("Transpose")) {
		v = v.Def.Inputs[0]
	}
	return quantised(v) && v.Def.Inputs[0].IsConst()
}

// restores reports whether outer is inner with the last dimension k replaced by
// n.
func restores(inner, outer ir.Type, k, n int) bool {
	r := inner.Rank()
	if r < 1 || outer.Rank() != r || !inner.Shape[r-1].Same(ir.D(k)) || !outer.Shape[r-1].Same(ir.D(n)) {
		return false
	}
	for i := range r - 1 {
		if !inner.Shape[i].Same(outer.Shape[i]) {
			return false
		}
	}
	return true
}
