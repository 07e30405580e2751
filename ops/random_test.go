package ops

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// randomCall makes a node of o with operands that often fit together. It gives
// the node's graph and the operands; every operand is a graph input.
func randomCall(r *rand.Rand, o *Op) (*ir.Graph, *ir.Node, []*ir.Tensor) {
	g := ir.New("random")
	base := make([]int, r.IntN(5))
	if o.Attr("kernel_shape") != nil {
		base = make([]int, 3+r.IntN(2))
	}
	for i := range base {
		base[i] = 1 + r.IntN(4)
	}
	elems := map[string]ir.Elem{}
	var in []*ir.Tensor
	var vals []*ir.Value
	ps := o.In
	if n := len(ps); n > 0 && ps[n-1].Variadic {
		for range r.IntN(3) {
			ps = append(slices.Clip(ps), ps[n-1])
		}
	}
	for i, p := range ps {
		if p.Optional && r.IntN(2) == 0 {
			vals, in = append(vals, nil), append(in, nil)
			continue
		}
		e, ok := elems[p.Var]
		if p.Var == "" || !ok {
			l := p.Types.List()
			if e = l[r.IntN(len(l))]; p.Types.Has(ir.Float32) && r.IntN(2) == 0 {
				e = ir.Float32
			}
			elems[p.Var] = e
		}
		t := randomTensor(r, e, randomShape(r, base, i, p))
		in = append(in, t)
		vals = append(vals, g.AddInput(fmt.Sprintf("x%d", i), t.Type()))
	}
	attrs := ir.Attrs{}
	for _, a := range o.Attrs {
		if !a.Required && r.IntN(2) == 0 {
			continue
		}
		switch {
		case a.Enum != nil:
			attrs[a.Name] = a.Enum[r.IntN(len(a.Enum))]
		case a.Name == "equation":
			attrs[a.Name] = []string{"ij,jk->ik", "...i->...", "ii->i", "i,j", "bij,bjk", "abc->cb"}[r.IntN(6)]
		case a.Name == "to" || a.Name == "dtype" || a.Name == "output_dtype":
			attrs[a.Name] = int64(r.IntN(27))
		case a.Name == "bits":
			attrs[a.Name] = int64(2 + r.IntN(3))
		case a.Kind == Int:
			attrs[a.Name] = int64(r.IntN(5) - 2)
		case a.Kind == Float:
			attrs[a.Name] = float32(r.NormFloat64())
		case a.Kind == Ints:
			n := len(base)
			if a.Name != "perm" {
				n = max(0, n-2)
			}
			if a.Name == "pads" {
				n *= 2
			}
			l := make([]int64, n)
			for i := range l {
				l[i] = int64(1 + r.IntN(2))
			}
			if a.Name == "perm" {
				for i, x := range r.Perm(n) {
					l[i] = int64(x)
				}
			}
			attrs[a.Name] = l
		case a.Kind == Tensor:
			attrs[a.Name] = ir.Of([]int64{7}, 1)
		case a.Kind == String:
			attrs[a.Name] = "x"
		}
	}
	outs := []string{}
	for i, p := range o.Out {
		outs = append(outs, fmt.Sprintf("y%d", i))
		if p.Variadic {
			for k := range r.IntN(3) {
				outs = append(outs, fmt.Sprintf("z%d", k))
			}
		}
	}
	if lo, _ := arity(o.Out); r.IntN(2) == 0 && lo < len(outs) {
		outs = outs[:max(lo, 1)]
	}
	n := g.InsertBefore(nil, o.Domain, o.Name, attrs, vals, outs...)
	for _, v := range n.Outputs {
		g.AddOutput(v)
	}
	return g, n, in
}

func randomShape(r *rand.Rand, base []int, i int, p Param) []int {
	s := slices.Clone(base)
	switch {
	case (p.Types == i64 || p.Var == "I") && i > 0 && p.Name != "indices":
		return []int{[]int{len(base), 1, 2, 2 * len(base)}[r.IntN(4)]}
	case i > 0 && len(s) > 0 && r.IntN(3) == 0:
		return s[len(s)-1:]
	case i > 0 && r.IntN(4) == 0:
		return nil
	case i > 0 && len(s) > 1 && r.IntN(4) == 0:
		s[len(s)-1], s[len(s)-2] = s[len(s)-2], s[len(s)-1]
	case r.IntN(8) == 0 && len(s) > 0:
		s[r.IntN(len(s))] = r.IntN(2)
	}
	return s
}

func randomTensor(r *rand.Rand, e ir.Elem, shape []int) *ir.Tensor {
	n := product(shape)
	if e == ir.String {
		return ir.Of(slices.Repeat([]string{"a"}, n), shape...)
	}
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(r.IntN(6) - 2)
		if !e.IsSigned() && !e.IsFloat() || r.IntN(2) == 0 {
			v[i] = max(v[i], -v[i])
		}
	}
	t, err := pack(e, shape, v)
	if err != nil {
		panic(err)
	}
	return t
}

// On arbitrary operands every operator gives a result of the inferred type or
// an error that names the node; and inference with symbolic dimensions, and
// with some operands unknown, never contradicts the evaluation.
func TestRandomCalls(t *testing.T) {
	for _, o := range All() {
		r := rand.New(rand.NewPCG(1, uint64(len(o.Name))))
		done := 0
		for range 300 {
			g, n, in := randomCall(r, o)
			out, err := Eval(n, in)
			if err != nil {
				if !strings.Contains(err.Error(), n.Op) {
					t.Fatalf("%s: the error does not name the node: %v", o.Name, err)
				}
				continue
			}
			done++
			for k, x := range out {
				if x == nil {
					t.Fatalf("%s: output %d is missing", o.Name, k)
				}
				if _, err := ir.Wrap(x.Elem, x.Shape, x.Raw()); err != nil {
					t.Fatalf("%s: output %d: %v", o.Name, k, err)
				}
				if p := param(o.Out, k); !p.Types.Has(x.Elem) {
					t.Fatalf("%s: output %d has type %v", o.Name, k, x.Elem)
				}
			}
			checkSymbolic(t, r, g, n, in, out)
		}
		if done == 0 && o.eval != nil && o.Domain == "" && !slices.Contains([]string{"Attention", "BatchNormalization", "QLinearConv", "RotaryEmbedding"}, o.Name) {
			t.Errorf("%s: none of the random calls could be evaluated", o.Name)
		}
	}
}

// checkSymbolic replaces some operands by symbolic ones and compares Infer with
// the evaluated result.
func checkSymbolic(t *testing.T, r *rand.Rand, g *ir.Graph, n *ir.Node, in, out []*ir.Tensor) {
	t.Helper()
	h := ir.New("symbolic")
	var vals []*ir.Value
	for i, x := range in {
		switch {
		case x == nil:
			vals = append(vals, nil)
		case r.IntN(2) == 0:
			vals = append(vals, h.AddConst(fmt.Sprintf("c%d", i), x))
		default:
			typ := x.Type()
			for a, d := range x.Shape {
				switch k := r.IntN(4); {
				case k < 2 && d > 0:
					typ.Shape[a] = ir.Sym(fmt.Sprintf("d%d", d))
				case k == 2:
					typ.Shape[a] = ir.UnknownDim
				}
			}
			vals = append(vals, h.AddInput(fmt.Sprintf("x%d", i), typ))
		}
	}
	var names []string
	for k := range n.Outputs {
		names = append(names, fmt.Sprintf("y%d", k))
	}
	m := h.InsertBefore(nil, n.Domain, n.Op, n.Attrs, vals, names...)
	for _, v := range m.Outputs {
		h.AddOutput(v)
	}
	facts, err := Infer(h)
	if err != nil {
		t.Fatalf("%s %v of %v: evaluates, but Infer says %v", n.Op, n.Attrs, h.Inputs, err)
	}
	for k, v := range m.Outputs {
		f := facts[v]
		if f.Type.Elem != 0 && f.Type.Elem != out[k].Elem || f.Type.Ranked && len(f.Type.Shape) != len(out[k].Shape) {
			t.Fatalf("%s: output %d is %v, inferred %v", n.Op, k, out[k].Type(), f.Type)
		}
		for a, d := range f.Type.Shape {
			if got, ok := evalNum(fromDim(d)); ok && got != int64(out[k].Shape[a]) {
				t.Fatalf("%s %v: output %d is %v, inferred %v", n.Op, n.Attrs, k, out[k].Type(), f.Type)
			}
		}
		for i, d := range f.Ints {
			if got, ok := evalNum(fromDim(d)); ok && got != out[k].Int(i) {
				t.Fatalf("%s %v: element %d is %d, inferred %v", n.Op, n.Attrs, i, out[k].Int(i), d)
			}
		}
	}
}

// evalNum puts size k for every symbol "dk".
func evalNum(a num) (int64, bool) {
	if !a.ok {
		return 0, false
	}
	s := a.c
	for _, t := range a.terms {
		p := t.coef
		for _, name := range strings.Split(t.mono, monoSep) {
			var k int64
			if _, err := fmt.Sscanf(name, "d%d", &k); err != nil {
				return 0, false
			}
			p *= k
		}
		s += p
	}
	return s, true
}
