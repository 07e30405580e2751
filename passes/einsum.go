package passes

import (
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// ExpandEinsum writes products given as Einsum with MatMul.
var ExpandEinsum = Pass{
	Name: "expand-einsum",
	Doc: `write two-operand Einsum products as Transpose, Reshape and MatMul

Batched products with one free index on each side ("bhid,bhjd->bhij") and dense
layers with several ("abc,cde->abde") are covered; others stay.`,
	Run: expandEinsum,
}

func expandEinsum(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	changed := false
	for n := range g.Nodes() {
		if !n.Is("Einsum") || len(n.Inputs) != 2 {
			continue
		}
		e, ok := parseEinsum(n)
		if !ok || !e.expand(g, r, n) {
			r.Note(n, "Einsum %q stays", n.Attrs.Str("equation", ""))
			continue
		}
		r.Count("expanded", 1)
		changed = true
	}
	if changed { // layout of weights
		if _, err := foldConstants(g, &Report{Pass: r.Pass}); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// einsum is a two-operand product: index letters by what they do.
type einsum struct {
	a, b, out                      string
	batch, left, contracted, right string
}

func parseEinsum(n *ir.Node) (einsum, bool) {
	eq := strings.ReplaceAll(n.Attrs.Str("equation", ""), " ", "")
	ins, out, ok := strings.Cut(eq, "->")
	a, b, ok2 := strings.Cut(ins, ",")
	e := einsum{a: a, b: b, out: out}
	if !ok || !ok2 || strings.ContainsAny(eq, ".") || repeats(a) || repeats(b) || repeats(out) {
		return e, false
	}
	for _, c := range out {
		inA, inB := strings.ContainsRune(a, c), strings.ContainsRune(b, c)
		switch {
		case inA && inB:
			e.batch += string(c)
		case inA:
			e.left += string(c)
		case inB:
			e.right += string(c)
		default:
			return e, false
		}
	}
	for _, c := range a {
		if !strings.ContainsRune(out, c) {
			if !strings.ContainsRune(b, c) {
				return e, false
			}
			e.contracted += string(c)
		}
	}
	for _, c := range b {
		if !strings.ContainsRune(out, c) && !strings.ContainsRune(a, c) {
			return e, false
		}
	}
	if e.contracted == "" || e.left == "" || e.right == "" {
		return e, false
	}
	if e.batch != "" && len(e.left)+len(e.right)+len(e.contracted) != 3 {
		return e, false
	}
	return e, true
}

func repeats(s string) bool {
	for i := range s {
		if strings.IndexByte(s[i+1:], s[i]) >= 0 {
			return true
		}
	}
	return false
}

func (e einsum) expand(g *ir.Graph, r *Report, n *ir.Node) bool {
	a, b := n.Inputs[0], n.Inputs[1]
	size := map[rune]int{}
	for i, c := range e.a {
		size[c] = known(a, i)
	}
	for i, c := range e.b {
		if known(b, i) > 0 {
			size[c] = known(b, i)
		}
	}
	product := func(s string) int {
		p := 1
		for _, c := range s {
			if size[c] < 0 {
				return -1
			}
			p *= size[c]
		}
		return p
	}
	if len(e.contracted) > 1 && product(e.contracted) < 0 || len(e.right) > 1 && product(e.right) < 0 {
		return false
	}
	name := n.Out().Name
	add := func(op string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
		return r.rewrote(g.InsertBefore(n, "", op, attrs, in, name+"."+strings.ToLower(op))).Out()
	}
	order := func(v *ir.Value, from, to string) *ir.Value {
		if from == to {
			return v
		}
		return add("Transpose", ir.Attrs{"perm": ir.Int64s(permOf(from, to)...)}, v)
	}
	reshape := func(v *ir.Value, dims ...int) *ir.Value {
		return add("Reshape", nil, v, g.AddConst(name+".shape", ir.Of(ir.Int64s(dims...), len(dims))))
	}
	a = order(a, e.a, e.batch+e.left+e.contracted)
	b = order(b, e.b, e.batch+e.contracted+e.right)
	k, m := product(e.contracted), product(e.right)
	if len(e.contracted) > 1 {
		a = reshape(a, append(make([]int, len(e.left)), k)...)
	}
	if e.batch == "" && len(e.contracted)+len(e.right) > 2 {
		if k < 0 {
			k = -1
		}
		b = reshape(b, k, m)
	}
	mm := g.InsertBefore(n, "", "MatMul", nil, []*ir.Value{a, b}, name)
	r.inherit(mm, n)
	y := mm.Out()
	if len(e.right) > 1 {
		dims := make([]int, len(e.left))
		for _, c := range e.right {
			dims = append(dims, size[c])
		}
		y = reshape(y, dims...)
	}
	y = order(y, e.batch+e.left+e.right, e.out)
	y.Type = n.Out().Type
	substitute(g, n.Out(), y)
	g.Remove(n)
	return true
}

// permOf is the permutation that brings axes named by from into the order to.
func permOf(from, to string) []int {
	p := make([]int, 0, len(to))
	for _, c := range to {
		p = append(p, slices.Index([]rune(from), c))
	}
	return p
}
