package passes

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// soleUser is the only node that reads v, once; nil when there are others or v
// is read twice. A graph output counts as a reader only through its node, so a
// caller that removes v asks Graph.IsOutput too.
func soleUser(v *ir.Value) *ir.Node {
	if v == nil || len(v.Uses()) != 1 {
		return nil
	}
	return v.Uses()[0].Node
}

// users lists the nodes that read v, each once, in no particular order.
func users(v *ir.Value) []*ir.Node {
	var out []*ir.Node
	for _, u := range v.Uses() {
		if !slices.Contains(out, u.Node) {
			out = append(out, u.Node)
		}
	}
	return out
}

// other is the operand of a two-input node that is not v; v itself when the
// node reads it twice.
func other(n *ir.Node, v *ir.Value) *ir.Value {
	if len(n.Inputs) != 2 {
		return nil
	}
	if n.Inputs[0] == v {
		return n.Inputs[1]
	}
	return n.Inputs[0]
}

// def is the node that makes v, when it is the ai.onnx operator op.
func def(v *ir.Value, op string) *ir.Node {
	if v == nil || !v.Def.Is(op) {
		return nil
	}
	return v.Def
}

// scalar reads a constant of one float element.
func scalar(v *ir.Value) (float64, bool) {
	if !v.IsConst() || v.Const.Len() != 1 || !v.Const.Elem.IsFloat() {
		return 0, false
	}
	return v.Const.Float(0), true
}

// isScalar reports whether v is a one-element float constant equal to x within
// a relative 1e-6.
func isScalar(v *ir.Value, x float64) bool {
	s, ok := scalar(v)
	if !ok {
		return false
	}
	d := s - x
	return d <= 1e-6*abs(x) && d >= -1e-6*abs(x)
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}

// intsOf reads a constant integer tensor.
func intsOf(v *ir.Value) ([]int, bool) {
	if !v.IsConst() || !v.Const.Elem.IsInt() {
		return nil, false
	}
	return v.Const.Ints(), true
}

// axisAttr reads an axis attribute, made non-negative.
func axisAttr(n *ir.Node, name string, byDefault, rank int) int {
	a := n.Attrs.Int(name, byDefault)
	if a < 0 && rank >= 0 {
		a += rank
	}
	return a
}

// dim is dimension i of v (negative counts from the end); unknown when the rank
// does not tell.
func dim(v *ir.Value, i int) ir.Dim {
	r := v.Type.Rank()
	if i < 0 {
		i += r
	}
	if i < 0 || i >= r {
		return ir.UnknownDim
	}
	return v.Type.Shape[i]
}

// known is dimension i of v as a size; -1 when not known.
func known(v *ir.Value, i int) int { return int(dim(v, i).Size) }

// sameShape reports whether both values provably have the same shape.
func sameShape(a, b ir.Type) bool {
	if !a.Ranked || !b.Ranked || len(a.Shape) != len(b.Shape) {
		return false
	}
	for i := range a.Shape {
		if !a.Shape[i].Same(b.Shape[i]) {
			return false
		}
	}
	return true
}

// perm reads the permutation of a Transpose; the default reverses.
func perm(n *ir.Node) []int {
	if p := n.Attrs.Ints("perm"); p != nil {
		return p
	}
	r := n.Out().Type.Rank()
	if r < 0 {
		r = n.Inputs[0].Type.Rank()
	}
	if r < 0 {
		return nil
	}
	p := make([]int, r)
	for i := range p {
		p[i] = r - 1 - i
	}
	return p
}

func isIdentityPerm(p []int) bool {
	for i, x := range p {
		if i != x {
			return false
		}
	}
	return p != nil
}

// swapLast is the permutation of rank r that swaps the last two axes.
func swapLast(r int) []int {
	p := make([]int, r)
	for i := range p {
		p[i] = i
	}
	p[r-2], p[r-1] = r-1, r-2
	return p
}

// compose gives the one permutation that does first a, then b.
func compose(a, b []int) []int {
	c := make([]int, len(b))
	for i, x := range b {
		c[i] = a[x]
	}
	return c
}

// permuted is the type after a Transpose.
func permuted(t ir.Type, p []int) ir.Type {
	if t.Rank() != len(p) {
		return ir.Type{Elem: t.Elem}
	}
	s := make(ir.Shape, len(p))
	for i, x := range p {
		s[i] = t.Shape[x]
	}
	return ir.TensorType(t.Elem, s)
}

// substitute puts new, made by a node for this purpose, in the place of old and
// gives it old's name.
func substitute(g *ir.Graph, old, new *ir.Value) {
	name := old.Name
	output := g.IsOutput(old)
	g.ReplaceUses(old, new)
	if !output { // else the two have swapped names already
		g.Rename(old, name+".replaced")
		g.Rename(new, name)
	}
}
