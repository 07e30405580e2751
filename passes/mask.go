package passes

import (
	"math"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// DropMasks removes attention masks that mask nothing.
var DropMasks = Pass{
	Name: "drop-masks",
	Doc: `remove attention masks that mask nothing

Exporters write scaled dot product attention with a mask even where the model has
none: a constant of true, expanded to the batch, chooses 0 over -inf, and the
result is added to the scores. Where with a condition that is the same everywhere
becomes its branch, Add and Sub of zeros become their operand, when shapes stay.
The guard behind it, Where(IsNaN(p), 0, p) of a Softmax p, becomes p when no row of
its input can be masked as a whole: products of tensors, to which only finite
constants are added.`,
	Run: dropMasks,
}

func dropMasks(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	m := maskFinder{same: map[*ir.Value]sameness{}}
	changed := false
	for n := range g.Nodes() {
		keep := m.unmasked(n)
		if keep == nil || keep.Type.Elem != n.Out().Type.Elem || !sameShape(keep.Type, n.Out().Type) {
			continue
		}
		if g.IsOutput(n.Out()) && (keep.Def == nil || g.IsOutput(keep)) {
			continue // an output must be made by a node of its own
		}
		g.ReplaceUses(n.Out(), keep)
		g.Remove(n)
		r.Count(n.Op, 1)
		changed = true
	}
	return changed, nil
}

// sameness says that every element of a value is x.
type sameness struct {
	x  float64
	ok bool
}

type maskFinder struct{ same map[*ir.Value]sameness }

// unmasked gives the operand that a node passes on; nil when it does more.
func (m *maskFinder) unmasked(n *ir.Node) *ir.Value {
	if n.Domain != "" || len(n.Outputs) != 1 {
		return nil
	}
	zero := func(v *ir.Value) bool { s := m.of(v, 8); return s.ok && s.x == 0 && v.Type.Elem.IsFloat() }
	switch n.Op {
	case "Add":
		switch {
		case zero(n.Inputs[1]):
			return n.Inputs[0]
		case zero(n.Inputs[0]):
			return n.Inputs[1]
		}
	case "Sub":
		if zero(n.Inputs[1]) {
			return n.Inputs[0]
		}
	case "Where":
		if s := m.of(n.Inputs[0], 8); s.ok && s.x != 0 {
			return n.Inputs[1]
		} else if s.ok {
			return n.Inputs[2]
		}
		p := n.Inputs[2]
		if nan := def(n.Inputs[0], "IsNaN"); nan != nil && nan.Inputs[0] == p && def(p, "Softmax") != nil && finite(p.Def.Inputs[0], 8) {
			return p
		}
	}
	return nil
}

// of reports whether all elements of v are one number, looking at most depth
// nodes back.
func (m *maskFinder) of(v *ir.Value, depth int) sameness {
	if v == nil || depth == 0 {
		return sameness{}
	}
	s, known := m.same[v]
	if !known {
		s = m.find(v, depth)
		m.same[v] = s
	}
	return s
}

func (m *maskFinder) find(v *ir.Value, depth int) sameness {
	if v.Const != nil {
		return uniform(v.Const)
	}
	n := v.Def
	if n == nil || n.Domain != "" {
		return sameness{}
	}
	at := func(i int) sameness { return m.of(n.Input(i), depth-1) }
	switch n.Op {
	case "Expand", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Flatten":
		return at(0)
	case "Not":
		s := at(0)
		return sameness{1 - s.x, s.ok}
	case "And":
		a, b := at(0), at(1)
		switch {
		case a.ok && a.x == 0, b.ok && b.x == 0:
			return sameness{0, true}
		case a.ok && b.ok:
			return sameness{1, true}
		}
	case "Where":
		c, a, b := at(0), at(1), at(2)
		switch {
		case c.ok && c.x != 0:
			return a
		case c.ok:
			return b
		case a.ok && b.ok && a.x == b.x:
			return a
		}
	}
	return sameness{}
}

// uniform reports whether all elements of a constant are one number.
func uniform(t *ir.Tensor) sameness {
	if t.Len() == 0 || t.Elem == ir.String {
		return sameness{}
	}
	x := t.Float(0)
	for i := 1; i < t.Len(); i++ {
		if t.Float(i) != x {
			return sameness{}
		}
	}
	return sameness{x, x == x}
}

// finite reports whether the scores v are products of tensors, scaled and
// shifted by finite constants alone, so that no row is all -inf.
func finite(v *ir.Value, depth int) bool {
	if v.Const != nil {
		for i := range v.Const.Len() {
			if x := v.Const.Float(i); math.IsInf(x, 0) || x != x {
				return false
			}
		}
		return v.Const.Elem.IsFloat()
	}
	n := v.Def
	if n == nil || n.Domain != "" || depth == 0 {
		return false
	}
	switch n.Op {
	case "MatMul", "Gemm":
		return true
	case "Add", "Sub", "Mul", "Div":
		return finite(n.Inputs[0], depth-1) && finite(n.Inputs[1], depth-1)
	case "Where":
		return finite(n.Inputs[1], depth-1) && finite(n.Inputs[2], depth-1)
	case "Expand", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity":
		return finite(n.Inputs[0], depth-1)
	}
	return false
}
