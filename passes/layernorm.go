package passes

import (
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// FuseLayerNorm finds layer normalisation spelled out in elementary operators.
var FuseLayerNorm = Pass{
	Name: "fuse-layernorm",
	Doc: `fuse ReduceMean, Sub, Pow, Sqrt, Div, Mul, Add into LayerNormalization

(x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * gamma + beta over the last
axis, with the square as Pow or Mul, the division as Div, Reciprocal or Pow -0.5,
operands in either order, and gamma and beta constant or absent.`,
	Run: fuseLayerNorm,
}

func fuseLayerNorm(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	changed := false
	for n := range g.Nodes() {
		m := matchNormalised(n)
		if m == nil {
			continue
		}
		m.affine()
		if k := m.root.Role.Kind; k == ir.RoleIRMQ || k == ir.RoleIRMK {
			continue // its parts are read elsewhere
		}
		m.replace(g, r)
		changed = true
	}
	if changed {
		dropDead(g, &Report{Pass: r.Pass})
	}
	return changed, nil
}

// normMatch is one spelled-out layer normalisation.
type normMatch struct {
	x           *ir.Value
	eps         float64
	width       int
	gamma, beta *ir.Value // nil: absent
	root        *ir.Node  // makes the result
}

// matchNormalised matches the normalised value (x-mean)/sqrt(var+eps) at n.
func matchNormalised(n *ir.Node) *normMatch {
	var centred, spread *ir.Value
	switch {
	case n.Is("Div"):
		centred = n.Inputs[0]
		if s := def(n.Inputs[1], "Sqrt"); s != nil {
			spread = s.Inputs[0]
		}
	case n.Is("Mul"):
		for i, v := range n.Inputs {
			if s := inverseRoot(v); s != nil {
				centred, spread = n.Inputs[1-i], s
			}
		}
	}
	if spread == nil {
		return nil
	}
	x := centredOf(centred)
	add := def(spread, "Add")
	if x == nil || add == nil {
		return nil
	}
	for i, v := range add.Inputs {
		eps, ok := scalar(v)
		if !ok {
			continue
		}
		sq := meanOf(add.Inputs[1-i])
		if sq == nil || centredOf(squareOf(sq)) != x {
			return nil
		}
		width := known(x, -1)
		if width <= 0 || eps < 0 {
			return nil
		}
		return &normMatch{x: x, eps: eps, width: width, root: n}
	}
	return nil
}

// inverseRoot gives s where v = 1/sqrt(s).
func inverseRoot(v *ir.Value) *ir.Value {
	if n := def(v, "Reciprocal"); n != nil {
		if s := def(n.Inputs[0], "Sqrt"); s != nil {
			return s.Inputs[0]
		}
	}
	if n := def(v, "Div"); n != nil && isScalar(n.Inputs[0], 1) {
		if s := def(n.Inputs[1], "Sqrt"); s != nil {
			return s.Inputs[0]
		}
	}
	if n := def(v, "Pow"); n != nil && isScalar(n.Inputs[1], -0.5) {
		return n.Inputs[0]
	}
	return nil
}

// centredOf gives x where v = x - mean(x).
func centredOf(v *ir.Value) *ir.Value {
	n := def(v, "Sub")
	if n == nil || meanOf(n.Inputs[1]) != n.Inputs[0] {
		return nil
	}
	return n.Inputs[0]
}

// meanOf gives x where v is its mean over the last axis, kept as 1.
func meanOf(v *ir.Value) *ir.Value {
	n := def(v, "ReduceMean")
	if n == nil || n.Attrs.Int("keepdims", 1) != 1 {
		return nil
	}
	x := n.Inputs[0]
	axes, ok := intsOf(n.Input(1))
	if !ok || len(axes) != 1 {
		return nil
	}
	if a := axes[0]; a != -1 && (x.Type.Rank() < 0 || a != x.Type.Rank()-1) {
		return nil
	}
	return x
}

// squareOf gives x where v = x*x.
func squareOf(v *ir.Value) *ir.Value {
	if n := def(v, "Pow"); n != nil {
		if e, ok := exponent(n.Inputs[1]); ok && e == 2 {
			return n.Inputs[0]
		}
	}
	if n := def(v, "Mul"); n != nil && n.Inputs[0] == n.Inputs[1] {
		return n.Inputs[0]
	}
	return nil
}

func exponent(v *ir.Value) (float64, bool) {
	if !v.IsConst() || v.Const.Len() != 1 || v.Const.Elem == ir.String {
		return 0, false
	}
	return v.Const.Float(0), true
}

// affine extends the match over the Mul by gamma and the Add of beta after it.
func (m *normMatch) affine() {
	if mul := soleUser(m.root.Out()); mul.Is("Mul") {
		if w := other(mul, m.root.Out()); m.isRow(w) {
			m.gamma, m.root = w, mul
		}
	}
	if add := soleUser(m.root.Out()); add.Is("Add") {
		if b := other(add, m.root.Out()); m.isRow(b) {
			m.beta, m.root = b, add
		}
	}
}

// isRow accepts a constant of the width of the last axis, other axes 1.
func (m *normMatch) isRow(v *ir.Value) bool {
	if !v.IsConst() || !v.Const.Elem.IsFloat() || v.Const.Len() != m.width || len(v.Const.Shape) == 0 {
		return false
	}
	return v.Const.Shape[len(v.Const.Shape)-1] == m.width && len(v.Const.Shape) <= m.x.Type.Rank()
}

func (m *normMatch) replace(g *ir.Graph, r *Report) {
	name := m.root.Out().Name
	if m.gamma == nil {
		ones := make([]float32, m.width)
		for i := range ones {
			ones[i] = 1
		}
		m.gamma = g.AddConst(name+".gamma", ir.Of(ones, m.width))
	}
	inputs := []*ir.Value{m.x, rowOf(g, m.gamma)}
	if m.beta != nil {
		inputs = append(inputs, rowOf(g, m.beta))
	}
	ln := g.InsertBefore(m.root, "", "LayerNormalization",
		ir.Attrs{"axis": int64(-1), "epsilon": float32(m.eps)}, inputs, name)
	ln.Out().Type = m.root.Out().Type
	r.inherit(ln, m.root)
	substitute(g, m.root.Out(), ln.Out())
	r.Count("fused", 1)
}

// rowOf gives v as a constant of rank 1.
func rowOf(g *ir.Graph, v *ir.Value) *ir.Value {
	if len(v.Const.Shape) == 1 {
		return v
	}
	t, err := v.Const.Reshaped(v.Const.Len())
	if err != nil {
		return v
	}
	return replaceConst(g, v, t)
}
