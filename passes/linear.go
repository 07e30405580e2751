package passes

import (
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// CanonicalLinear gives every linear layer one form.
var CanonicalLinear = Pass{
	Name: "canonical-linear",
	Doc: `write every linear layer as MatMul(x, W[K,N]) and Add(y, bias[N])

Gemm with a constant weight becomes MatMul and Add (alpha and beta go into the
constants), the bias becomes the second operand of Add and has rank 1, and a bias
that the exporter adds after splitting the last axis moves in front of the
Reshape.`,
	Run: canonicalLinear,
}

func canonicalLinear(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	changed := false
	for n := range g.Nodes() {
		switch {
		case n.Is("Gemm"):
			changed = gemmToMatMul(g, r, n) || changed
		case n.Is("Add"):
			changed = canonicalBias(g, r, n) || changed
		}
	}
	if changed {
		dropDead(g, &Report{Pass: r.Pass})
	}
	return changed, nil
}

// IsLinear reports whether n is a linear layer in canonical form: a MatMul by a
// constant matrix W [K,N].
func IsLinear(n *ir.Node) bool {
	return n.Is("MatMul") && len(n.Inputs) == 2 && weightOf(n) != nil
}

// weightOf is the constant matrix of a MatMul, also behind a FakeQuant.
func weightOf(n *ir.Node) *ir.Value {
	w := n.Input(1)
	if w != nil && w.Def.IsOwn("FakeQuant") {
		w = w.Def.Inputs[0]
	}
	if w.IsConst() && len(w.Const.Shape) == 2 && w.Const.Elem.IsFloat() && !n.Inputs[0].IsConst() {
		return w
	}
	return nil
}

// linearBias is the Add of the bias after a linear layer, and the bias; nil
// when there is none.
func linearBias(n *ir.Node) (*ir.Node, *ir.Value) {
	add := soleUser(n.Out())
	if !add.Is("Add") || add.Inputs[0] != n.Out() {
		return nil, nil
	}
	b := add.Inputs[1]
	if !b.IsConst() || len(b.Const.Shape) != 1 || b.Const.Shape[0] != weightOf(n).Const.Shape[1] {
		return nil, nil
	}
	return add, b
}

func gemmToMatMul(g *ir.Graph, r *Report, n *ir.Node) bool {
	x, w, c := n.Input(0), n.Input(1), n.Input(2)
	if n.Attrs.Int("transA", 0) != 0 || !w.IsConst() || w.Const.Elem != ir.Float32 || len(w.Const.Shape) != 2 || x.IsConst() {
		return false
	}
	transB := n.Attrs.Int("transB", 0) != 0
	width := w.Const.Shape[1]
	if transB {
		width = w.Const.Shape[0]
	}
	var bias *ir.Tensor
	if c != nil {
		if bias = gemmBias(c, width, n.Attrs.Float("beta", 1)); bias == nil {
			return false
		}
	}
	if alpha := n.Attrs.Float("alpha", 1); transB || alpha != 1 {
		w = replaceConst(g, w, scaledMatrix(w.Const, alpha, transB))
	}
	name := n.Out().Name
	mm := g.InsertBefore(n, "", "MatMul", nil, []*ir.Value{x, w}, name+".matmul")
	mm.Out().Type = n.Out().Type
	r.inherit(mm, n)
	y := mm.Out()
	if bias != nil {
		add := g.InsertBefore(n, "", "Add", nil, []*ir.Value{y, replaceConst(g, c, bias)}, name)
		add.Out().Type = n.Out().Type
		r.inherit(add, n).Role = ir.Role{Block: -1}
		if n.Name != "" {
			add.Name = n.Name + "/bias"
		}
		y = add.Out()
	}
	substitute(g, n.Out(), y)
	g.Remove(n)
	r.Count("gemm", 1)
	return true
}

// replaceConst gives a constant holding t in the place of v. When v has no
// other reader it keeps the value itself, so that its name survives.
func replaceConst(g *ir.Graph, v *ir.Value, t *ir.Tensor) *ir.Value {
	if t == v.Const {
		return v
	}
	if len(v.Uses()) == 1 && !g.IsOutput(v) {
		v.SetConst(t)
		return v
	}
	return g.AddConst(v.Name, t)
}

// gemmBias spreads C over the width and scales it by beta; nil when C depends
// on the row.
func gemmBias(c *ir.Value, width int, beta float32) *ir.Tensor {
	if !c.IsConst() || c.Const.Elem != ir.Float32 {
		return nil
	}
	t := c.Const
	if beta == 1 && len(t.Shape) == 1 && t.Len() == width {
		return t
	}
	rows := 1
	for _, d := range t.Shape[:max(0, len(t.Shape)-1)] {
		rows *= d
	}
	if rows != 1 || t.Len() != width && t.Len() != 1 {
		return nil
	}
	out := make([]float32, width)
	for i := range out {
		out[i] = t.F32()[i%t.Len()] * beta
	}
	return ir.Of(out, width)
}

// scaledMatrix gives alpha*w, or alpha times its transpose.
func scaledMatrix(w *ir.Tensor, alpha float32, transpose bool) *ir.Tensor {
	rows, cols := w.Shape[0], w.Shape[1]
	src := w.F32()
	out := make([]float32, len(src))
	if !transpose {
		for i, x := range src {
			out[i] = x * alpha
		}
		return ir.Of(out, rows, cols)
	}
	for i := range rows {
		for j := range cols {
			out[j*rows+i] = src[i*cols+j] * alpha
		}
	}
	return ir.Of(out, cols, rows)
}

func canonicalBias(g *ir.Graph, r *Report, add *ir.Node) bool {
	if len(add.Inputs) != 2 {
		return false
	}
	changed := false
	b, y := add.Inputs[0], add.Inputs[1]
	if b.IsConst() && !y.IsConst() && leadsToLinear(y) {
		add.SetInput(0, y)
		add.SetInput(1, b)
		r.rewrote(add)
		r.Count("bias order", 1)
		changed = true
	}
	y, b = add.Inputs[0], add.Inputs[1]
	if !b.IsConst() || b.Const.Elem != ir.Float32 || y.Def == nil {
		return changed
	}
	if IsLinear(y.Def) {
		width := weightOf(y.Def).Const.Shape[1]
		if len(b.Const.Shape) != 1 && b.Const.Len() == width && b.Const.Shape[len(b.Const.Shape)-1] == width && len(b.Const.Shape) <= y.Type.Rank() {
			t, err := b.Const.Reshaped(width)
			if err != nil {
				return changed
			}
			add.SetInput(1, replaceConst(g, b, t))
			r.rewrote(add)
			r.Count("bias rank", 1)
			changed = true
		}
		return changed
	}
	return hoistBias(g, r, add) || changed
}

// leadsToLinear reports whether y is the output of a linear layer, maybe
// reshaped.
func leadsToLinear(y *ir.Value) bool {
	if n := def(y, "Reshape"); n != nil {
		y = n.Inputs[0]
	}
	return y.Def != nil && IsLinear(y.Def)
}

// hoistBias moves Add(Reshape(x*W), b) to Reshape(Add(x*W, b)) when the Reshape
// splits the last axis and b spans exactly the parts.
func hoistBias(g *ir.Graph, r *Report, add *ir.Node) bool {
	resh := def(add.Inputs[0], "Reshape")
	if resh == nil || soleUser(resh.Out()) != add || g.IsOutput(resh.Out()) {
		return false
	}
	mm := resh.Inputs[0].Def
	if mm == nil || !IsLinear(mm) || !resh.Out().Type.Ranked || !mm.Out().Type.Ranked {
		return false
	}
	width := weightOf(mm).Const.Shape[1]
	shape, parts := resh.Out().Type.Shape, 0
	size := int64(1)
	for i := len(shape) - 1; i >= 0 && shape[i].Known() && size < int64(width); i-- {
		size *= shape[i].Size
		parts++
	}
	if size != int64(width) || parts == 0 {
		return false
	}
	b := add.Inputs[1]
	if len(b.Const.Shape) > len(shape) {
		return false
	}
	if len(b.Const.Shape) > parts {
		for _, d := range b.Const.Shape[:len(b.Const.Shape)-parts] {
			if d != 1 {
				return false
			}
		}
	}
	if b.Const.Len() != width {
		return false
	}
	tail := b.Const.Shape[max(0, len(b.Const.Shape)-parts):]
	for i, d := range tail {
		if shape[len(shape)-len(tail)+i].Size != int64(d) {
			return false
		}
	}
	t, err := b.Const.Reshaped(width)
	if err != nil {
		return false
	}
	early := g.InsertAfter(mm, "", "Add", nil, []*ir.Value{mm.Out(), replaceConst(g, b, t)}, add.Out().Name+".bias")
	early.Out().Type = mm.Out().Type
	r.inherit(early, add)
	resh.SetInput(0, early.Out())
	g.ReplaceUses(add.Out(), resh.Out())
	g.Remove(add)
	r.Count("bias hoisted", 1)
	return true
}
