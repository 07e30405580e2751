package passes

import (
	"math"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// LowerConv writes quantised convolutions with standard operators.
var LowerConv = Pass{
	Name: "lower-conv",
	Doc: `write the quantisers that no packed operator took with QuantizeLinear and DequantizeLinear

A FakeQuant of a constant becomes its codes in 8 bits behind a DequantizeLinear
(a linear layer becomes Gemm with codes [N,K]); a Clip tells narrower widths. The
FakeQuant of an activation, as that of the image, becomes QuantizeLinear and
DequantizeLinear, also with a Clip on the codes between them.`,
	Run: lowerConv,
}

func lowerConv(g *ir.Graph, r *Report) (bool, error) { return lowerBytes(g, r, true) }

// lowerBytes writes quantised weights, and activations where asked to, in bytes.
func lowerBytes(g *ir.Graph, r *Report, activations bool) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	l := newQDQLowering(g, r, QDQ{Bytes: true})
	changed, err := l.linears()
	if err != nil {
		return changed, err
	}
	more, err := eachFakeQuant(g, func(n *ir.Node, s *quantSettings) (bool, error) {
		switch {
		case s == nil || s.bits > 8:
			return false, nil
		case n.Inputs[0].IsConst():
			return l.weight(s), nil
		case activations:
			return l.activation(s)
		}
		return false, nil
	})
	if err != nil {
		return changed, err
	}
	changed = changed || more
	return changed, l.finish(changed)
}

func replaceNode(g *ir.Graph, r *Report, n *ir.Node, op string, attrs ir.Attrs, counter string, in ...*ir.Value) *ir.Node {
	k := g.InsertBefore(n, "", op, attrs, in, n.Out().Name)
	k.Out().Type = n.Out().Type
	r.inherit(k, n)
	substitute(g, n.Out(), k.Out())
	g.Remove(n)
	r.Count(counter, 1)
	return k
}

// LowerFakeQuant spells out the FakeQuant nodes that no packed operator took.
var LowerFakeQuant = Pass{
	Name: "lower-fakequant",
	Doc: `spell out the remaining FakeQuant nodes with standard operators

Div, Round, Add, Max, Min, Sub, Mul: q = clip(round(x/scale) + zp, Qn, Qp) and
y = (q - zp)*scale, exactly as FakeQuant computes it.`,
	Run: lowerFakeQuant,
}

func lowerFakeQuant(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	names := heldNames{g: g}
	changed, err := eachFakeQuant(g, func(n *ir.Node, s *quantSettings) (bool, error) {
		if s == nil || s.axis >= 0 && n.Inputs[0].Type.Rank() < 0 {
			r.Note(n, "FakeQuant stays: its scale is computed or the rank is not known")
			return false, nil
		}
		spellQuant(&names, r, s)
		return true, nil
	})
	if err != nil {
		return changed, err
	}
	g.DropUnusedConsts()
	names.settle()
	return changed, nil
}

func spellQuant(names *heldNames, r *Report, s *quantSettings) {
	g := names.g
	n := s.node
	x, t := n.Inputs[0], n.Out().Type
	name := n.Out().Name
	// a constant of one element a group, shaped to broadcast against x
	perGroup := func(v *ir.Value, data []float32) *ir.Value {
		if s.axis < 0 {
			if len(v.Const.Shape) == 0 && &v.Const.F32()[0] == &data[0] {
				return v
			}
			return names.add(v.Name, ir.Scalar(data[0]))
		}
		shape := make([]int, x.Type.Rank()-s.axis)
		for i := range shape {
			shape[i] = 1
		}
		shape[0] = len(data)
		return names.add(v.Name, ir.Of(append([]float32(nil), data...), shape...))
	}
	scale := perGroup(n.Inputs[1], s.scale)
	step := func(op, suffix string, in ...*ir.Value) *ir.Value {
		k := g.InsertBefore(n, "", op, nil, in, name+suffix)
		k.Out().Type = t
		r.inherit(k, n).Role = ir.Role{Block: -1}
		k.Name = n.Name + suffix
		return k.Out()
	}
	lo, hi := s.bounds()
	v := step("Round", ".round", step("Div", ".div", x, scale))
	var zp *ir.Value
	if s.zeroPoint != nil {
		z := make([]float32, len(s.zeroPoint))
		for i, x := range s.zeroPoint {
			z[i] = float32(x)
		}
		zp = perGroup(n.Inputs[2], z)
		v = step("Add", ".shift", v, zp)
	}
	v = step("Max", ".max", v, g.AddConst(name+".qn", ir.Scalar(float32(lo))))
	v = step("Min", ".min", v, g.AddConst(name+".qp", ir.Scalar(float32(hi))))
	if zp != nil {
		v = step("Sub", ".unshift", v, zp)
	}
	replaceNode(g, r, n, "Mul", nil, "spelled out", v, scale).Role = ir.Role{Block: -1}
}

// LowerGelu writes Gelu with operators that older opsets have.
var LowerGelu = Pass{
	Name: "lower-gelu",
	Doc:  "write Gelu as Div, Erf, Add, Mul, Mul (or its tanh form), which opset 18 has",
	Run: func(g *ir.Graph, r *Report) (bool, error) {
		changed := false
		for n := range g.Nodes() {
			if n.Is("Gelu") {
				spellGelu(g, r, n)
				changed = true
			}
		}
		return changed, nil
	},
}

func spellGelu(g *ir.Graph, r *Report, n *ir.Node) {
	x, name := n.Inputs[0], n.Out().Name
	step := func(op, suffix string, in ...*ir.Value) *ir.Value {
		k := g.InsertBefore(n, "", op, nil, in, name+suffix)
		k.Out().Type = n.Out().Type
		r.inherit(k, n).Role = ir.Role{Block: -1}
		if n.Name != "" {
			k.Name = n.Name + suffix
		}
		return k.Out()
	}
	c := func(suffix string, v float64) *ir.Value { return g.AddConst(name+suffix, ir.Scalar(float32(v))) }
	var inner *ir.Value
	if n.Attrs.Str("approximate", "none") == "tanh" {
		cube := step("Mul", ".cube", step("Mul", ".square", x, x), x)
		arg := step("Add", ".poly", x, step("Mul", ".cubic", cube, c(".c3", 0.044715)))
		inner = step("Tanh", ".tanh", step("Mul", ".arg", arg, c(".c1", math.Sqrt(2/math.Pi))))
	} else {
		inner = step("Erf", ".erf", step("Div", ".div", x, c(".sqrt2", math.Sqrt2)))
	}
	p := step("Mul", ".product", x, step("Add", ".plus1", inner, c(".one", 1)))
	replaceNode(g, r, n, "Mul", nil, "spelled out", p, c(".half", 0.5))
}
