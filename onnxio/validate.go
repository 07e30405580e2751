package onnxio

import (
	"fmt"
	"math"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// validate proves what only the whole graph can show: the invariants of ir,
// operators' types and shapes, declared types against inferred ones.
func (d *decoder) validate(s *scope) error {
	if err := s.g.Check(); err != nil {
		return err
	}
	if _, err := ops.Infer(s.g); err != nil {
		return err
	}
	for _, o := range s.g.Outputs {
		if why := conflict(s.declared[o.Name], o.Type); why != "" {
			return fmt.Errorf("output %s: %s", ir.Quote(o.Name), why)
		}
	}
	if err := checkEven(s.even); err != nil {
		return err
	}
	for _, f := range s.g.Functions {
		if _, err := ops.Infer(f.Body); err != nil {
			return err
		}
		if err := bodies(f.Body); err != nil {
			return err
		}
	}
	if err := bodies(s.g); err != nil {
		return err
	}
	if err := ops.CheckCalls(s.g); err != nil {
		return err
	}
	if d.opts.Warn != nil {
		d.oddities(s.g)
	}
	return nil
}

// conflict says how two types of one value contradict each other; empty when
// they do not. Unknown parts agree with everything.
func conflict(declared, inferred ir.Type) string {
	differ := fmt.Sprintf("declared %v, inferred %v", declared, inferred)
	if declared.Elem != ir.Undefined && inferred.Elem != ir.Undefined && declared.Elem != inferred.Elem {
		return differ
	}
	if !declared.Ranked || !inferred.Ranked {
		return ""
	}
	if len(declared.Shape) != len(inferred.Shape) {
		return differ
	}
	for i, d := range declared.Shape {
		if e := inferred.Shape[i]; d.Known() && e.Known() && d.Size != e.Size {
			return differ
		}
	}
	return ""
}

// oddities warns of what is legal but rarely meant.
func (d *decoder) oddities(g *ir.Graph) {
	names := map[string]bool{}
	for n := range g.Nodes() {
		if n.Name != "" && names[n.Name] {
			d.warn("node name %s is used twice", ir.Quote(n.Name))
		}
		names[n.Name] = true
	}
	for _, v := range g.Consts() {
		if f := v.Const.F32(); len(f) >= 8 && implausible(f) {
			d.opts.Warn(&ir.Error{File: d.file, Tensor: v.Name, Msg: "the magnitudes are not plausible (written on a big-endian machine?)"})
		}
	}
}

// implausible reports whether most values are so large or so small that they
// look like bytes in the wrong order.
func implausible(f []float32) bool {
	odd := 0
	for _, x := range f {
		if a := math.Abs(float64(x)); a > 1e15 || a < 1e-15 && a != 0 {
			odd++
		}
	}
	return odd > len(f)/2
}

// CheckFinite refuses a graph whose weights cannot be quantised: a constant
// with NaN, or a tensor with an infinity. An infinite scalar is a bound, and
// -Inf outside the weights of linear operators is an attention mask.
func CheckFinite(g *ir.Graph) error {
	for _, v := range g.Consts() {
		t := v.Const
		if !t.Elem.IsFloat() {
			continue
		}
		var nan, inf, negInf found
		for i := range t.Len() {
			switch x := t.Float(i); {
			case x != x:
				nan.add(i)
			case x > math.MaxFloat64:
				inf.add(i)
			case x < -math.MaxFloat64:
				negInf.add(i)
			}
		}
		if t.Len() == 1 && nan.n == 0 {
			continue
		}
		switch {
		case negInf.n == 0 || !isLinearWeight(v):
		case inf.n == 0:
			inf = negInf
		default:
			inf = found{inf.n + negInf.n, min(inf.first, negInf.first)}
		}
		what, at := "NaN", nan
		if nan.n == 0 {
			what, at = "Inf", inf
		}
		if at.n > 0 {
			return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("has %d %s, the first at %v; cannot be quantised or trained", at.n, what, position(at.first, t.Shape)), Hint: "check the training run that made the model"}
		}
	}
	return nil
}

// found counts elements of a tensor.
type found struct{ n, first int }

func (f *found) add(i int) {
	if f.n == 0 {
		f.first = i
	}
	f.n++
}

// position gives the indices of the element of a tensor that stands at i.
func position(i int, shape []int) []int {
	at := make([]int, len(shape))
	for d := len(shape) - 1; d >= 0; d-- {
		at[d], i = i%shape[d], i/shape[d]
	}
	return at
}

// isLinearWeight reports whether a linear operator reads v, directly or through
// operators that move data.
func isLinearWeight(v *ir.Value) bool {
	for range 8 {
		for _, u := range v.Uses() {
			switch u.Node.Op {
			case "MatMul", "Gemm", "Conv", "Einsum", "LayerNormalization":
				return true
			}
		}
		if len(v.Uses()) == 0 {
			return false
		}
		n := v.Uses()[0].Node
		if !n.Is("Transpose") && !n.Is("Identity") && !n.Is("Reshape") && !n.Is("Cast") {
			return false
		}
		v = n.Out()
	}
	return false
}
