package passes

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Quantiser is what one operand of one node is quantised with.
type Quantiser struct {
	Layer   string // name of the node that reads it
	Operand int    // input of that node
	Weight  bool   // a constant; Codes are its codes
	Bits    int
	Scale   []float32 // one value, or one for each index of an axis
	Zero    []int     // code of 0.0 counted from the lowest code, one a scale
	Codes   []int32   // counted from the lowest code, row-major in the order of the constant
}

// Quantisers lists what the operands of the nodes of g are quantised with, in
// topological order of the nodes that read them, through a Transpose in front
// of them. g is in FakeQuant form (see Raise); a quantiser whose scale is not a
// constant is left out.
func Quantisers(g *ir.Graph) ([]Quantiser, error) {
	var out []Quantiser
	for n := range g.Nodes() {
		for i, v := range n.Inputs {
			if v == nil || n.Is("Transpose") && quantised(v) && !g.IsOutput(n.Out()) {
				continue
			}
			if t := def(v, "Transpose"); t != nil {
				v = t.Inputs[0]
			}
			s, err := quantOf(v)
			if err != nil {
				return nil, err
			}
			if s == nil {
				continue
			}
			q := Quantiser{Layer: LayerName(n), Operand: i, Bits: s.bits, Scale: s.scale, Zero: make([]int, len(s.scale))}
			lo, _ := s.bounds()
			for k := range q.Zero {
				if q.Zero[k] = -lo; s.zeroPoint != nil {
					q.Zero[k] += s.zeroPoint[k]
				}
			}
			if w := s.node.Inputs[0]; w.IsConst() {
				q.Weight, q.Codes = true, s.codes(w.Const)
				for i := range q.Codes {
					q.Codes[i] -= int32(lo)
				}
			}
			out = append(out, q)
		}
	}
	return out, nil
}

// SameQuantisers compares what two graphs are quantised with, bit for bit: one by
// one in order or, where nodes that do not depend on each other stand in another
// order, as sets. It gives the number of quantisers compared; the error is about
// the first that differs in order.
func SameQuantisers(a, b *ir.Graph) (int, error) {
	var lists [2][]Quantiser
	for i, g := range []*ir.Graph{a, b} {
		var err error
		if lists[i], err = Quantisers(g); err != nil {
			return 0, err
		}
	}
	n, err := sameLists(lists[0], lists[1])
	if err == nil {
		return n, nil
	}
	for _, l := range lists {
		slices.SortStableFunc(l, func(a, b Quantiser) int {
			return cmp.Or(a.Bits-b.Bits, slices.Compare(a.Scale, b.Scale), slices.Compare(a.Zero, b.Zero), slices.Compare(a.Codes, b.Codes))
		})
	}
	if n, again := sameLists(lists[0], lists[1]); again == nil {
		return n, nil
	}
	return n, err
}

func sameLists(a, b []Quantiser) (int, error) {
	for i, q := range a {
		if i >= len(b) {
			return i, fmt.Errorf("input %d of layer %s is not quantised any more", q.Operand, ir.Quote(q.Layer))
		}
		if err := q.same(b[i]); err != nil {
			return i, fmt.Errorf("layer %s, input %d: %w", ir.Quote(q.Layer), q.Operand, err)
		}
	}
	if n := len(a); len(b) > n {
		return n, fmt.Errorf("input %d of layer %s was not quantised before", b[n].Operand, ir.Quote(b[n].Layer))
	}
	return len(a), nil
}

func (q Quantiser) same(p Quantiser) error {
	switch {
	case q.Weight != p.Weight:
		return fmt.Errorf("one is a weight, the other is not")
	case q.Bits != p.Bits:
		return fmt.Errorf("%d bits, and %d bits", q.Bits, p.Bits)
	case !slices.Equal(q.Scale, p.Scale) && !sameValue(q.Scale, p.Scale):
		return fmt.Errorf("scales %v, and %v", short(q.Scale), short(p.Scale))
	case !slices.Equal(q.Zero, p.Zero) && !sameValue(q.Zero, p.Zero):
		return fmt.Errorf("zero points %v, and %v", short(q.Zero), short(p.Zero))
	}
	if len(q.Codes) != len(p.Codes) {
		return fmt.Errorf("%d codes, and %d", len(q.Codes), len(p.Codes))
	}
	for i := range q.Codes {
		if q.Codes[i] != p.Codes[i] {
			return fmt.Errorf("code %d is %d, and %d", i, q.Codes[i], p.Codes[i])
		}
	}
	return nil
}

// sameValue reports whether one list is a single value and the other only
// repeats it.
func sameValue[T comparable](a, b []T) bool {
	if len(a) == 0 || len(b) == 0 || len(a) > 1 && len(b) > 1 {
		return false
	}
	return !slices.ContainsFunc(append(slices.Clone(a), b...), func(v T) bool { return v != a[0] })
}

func short[T any](v []T) []T { return v[:min(len(v), 4)] }
