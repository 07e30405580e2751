package distill

import (
	"github.com/qvitc/qvitc/ir"
)

// Kind says what a trained constant is; the optimiser treats the kinds
// differently (weight decay, log domain, learning-rate multipliers).
type Kind string

// Kinds of parameters.
const (
	Weight    Kind = "weight"     // matrix of a MatMul, Gemm or Conv
	Bias      Kind = "bias"       // added vector
	Norm      Kind = "norm"       // LayerNormalization scale or bias, per-channel gain
	Embed     Kind = "embed"      // class token, position embedding, relative position bias
	Scale     Kind = "scale"      // step size alpha of a FakeQuant, trained as log(alpha)
	ZeroPoint Kind = "zero_point" // zero point of a FakeQuant, in code units
)

// Param is one constant of the student that training changes in place.
type Param struct {
	Value *ir.Value
	Kind  Kind
	Data  []float32 // Value's own data, not a copy
	Name  string

	// Quant is the FakeQuant that reads the parameter: as its scale or zero
	// point, or as the weight that it quantises. Nil for other parameters.
	Quant *ir.Node
}

// maskBelow marks attention masks: an additive constant that holds a value this
// low is no parameter (Swin masks hold -100, others -1e4 or the lowest float).
const maskBelow = -50

// Params lists the constants of a student graph that training changes, in order
// of first use. Trained are scales and zero points of FakeQuant, weights (also
// behind FakeQuant, Identity or a change of layout) and biases of MatMul, Gemm
// and Conv, LayerNormalization (IRM's gamma and beta are among these), and other
// float32 constants of more than one element that feed Add, Mul, Concat or
// Expand. Scalars, attention masks and constants of other types stay as they are.
func Params(g *ir.Graph) []Param {
	c := collector{seen: map[*ir.Value]bool{}}
	for n := range g.Nodes() {
		switch {
		case n.IsOwn("FakeQuant"):
			c.add(n.Input(1), Scale, n)
			c.add(n.Input(2), ZeroPoint, n)
		case n.Is("MatMul"):
			c.weight(n.Input(0))
			c.weight(n.Input(1))
		case n.Is("Gemm"):
			c.weight(n.Input(0))
			c.weight(n.Input(1))
			c.add(behind(n.Input(2)), Bias, nil)
		case n.Is("Conv"):
			c.weight(n.Input(1))
			c.add(behind(n.Input(2)), Bias, nil)
		case n.Is("LayerNormalization"):
			c.add(behind(n.Input(1)), Norm, nil)
			c.add(behind(n.Input(2)), Norm, nil)
		case n.Is("Add"), n.Is("Mul"):
			c.elementwise(n, n.Input(0))
			c.elementwise(n, n.Input(1))
		case n.Is("Concat"):
			for _, v := range n.Inputs {
				c.elementwise(n, v)
			}
		case n.Is("Expand"):
			c.elementwise(n, n.Input(0))
		}
	}
	return c.params
}

type collector struct {
	params []Param
	seen   map[*ir.Value]bool
}

func (c *collector) add(v *ir.Value, k Kind, q *ir.Node) {
	if !v.IsConst() || c.seen[v] || v.Const.F32() == nil || v.Const.Len() == 0 {
		return
	}
	c.seen[v] = true
	c.params = append(c.params, Param{Value: v, Kind: k, Data: v.Const.F32(), Name: v.Name, Quant: q})
}

// weight adds the constant that v is computed from by quantisation and changes
// of layout alone.
func (c *collector) weight(v *ir.Value) {
	var quant *ir.Node
	for v != nil && v.Def != nil {
		switch n := v.Def; {
		case n.IsOwn("FakeQuant"):
			quant = n
			v = n.Input(0)
		case isLayout(n):
			quant = nil // axes differ from here on: the quantiser is not the weight's own
			v = n.Input(0)
		default:
			return
		}
	}
	c.add(v, Weight, quant)
}

// elementwise adds an operand of n that is a learnt tensor by its looks.
func (c *collector) elementwise(n *ir.Node, v *ir.Value) {
	v = behind(v)
	if !v.IsConst() || v.Const.Len() < 2 {
		return
	}
	for _, x := range v.Const.F32() {
		if x <= maskBelow {
			return
		}
	}
	kind := Embed
	switch {
	case n.Is("Mul"):
		kind = Norm
	case n.Is("Add") && len(v.Const.Shape) == 1:
		kind = Bias
	}
	c.add(v, kind, nil)
}

// behind looks through changes of layout.
func behind(v *ir.Value) *ir.Value {
	for v != nil && v.Def != nil && isLayout(v.Def) {
		v = v.Def.Input(0)
	}
	return v
}

func isLayout(n *ir.Node) bool {
	return n.Is("Identity") || n.Is("Transpose") || n.Is("Reshape") || n.Is("Unsqueeze") || n.Is("Squeeze") || n.Is("Flatten")
}

// untie gives every parameter memory of its own: a tensor that the parameter
// shares with another value of the student, or with the teacher, is copied, so
// that training in place changes nothing else. Param.Data follows.
func untie(params []Param, student, teacher *ir.Graph) {
	mine := map[*ir.Value]bool{}
	for _, p := range params {
		mine[p.Value] = true
	}
	taken := map[*float32]bool{}
	mark := func(g *ir.Graph) {
		for _, v := range g.Consts() {
			if d := v.Const.F32(); len(d) > 0 && !mine[v] {
				taken[&d[0]] = true
			}
		}
	}
	if teacher != nil {
		mark(teacher)
	}
	mark(student)
	for i := range params {
		p := &params[i]
		if taken[&p.Data[0]] {
			p.Value.SetConst(p.Value.Const.Clone())
			p.Data = p.Value.Const.F32()
		}
		taken[&p.Data[0]] = true
	}
}
