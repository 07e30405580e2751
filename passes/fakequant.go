package passes

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// InsertFakeQuant makes the pass that puts the quantisers of the plan on
// weights and activations.
func InsertFakeQuant(p Plan) Pass {
	return Pass{
		Name: "insert-fakequant",
		Doc: `put FakeQuant on weights and activations as the plan says (method.md 2.4)

Weights: signed, one scale per output channel. Inputs of linear layers: one
scale, signed; with a zero point behind GELU and for the image. q, k, v: signed,
one scale a head; the attention map: unsigned, one scale a head. Scales are
constants of value 0, which means not calibrated. Readers of one value with the
same settings share one FakeQuant.`,
		Run: func(g *ir.Graph, r *Report) (bool, error) { return insertFakeQuant(g, r, p) },
	}
}

func insertFakeQuant(g *ir.Graph, r *Report, p Plan) (bool, error) {
	layers, err := p.Resolve(g)
	if err != nil {
		return false, err
	}
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	q := quantInserter{g: g, r: r, plan: p, made: map[quantKey]*ir.Value{}}
	for _, l := range layers {
		switch {
		case l.Role == ir.RoleScores && l.Node.Is("MatMul"):
			q.scores(l)
		case l.Role == ir.RoleContext && l.Node.Is("MatMul"):
			q.context(l)
		case l.Node.Is("Conv"):
			q.weighted(l, 0)
		case IsLinear(l.Node):
			q.weighted(l, 1)
		}
	}
	return len(q.made) > 0, nil
}

type quantInserter struct {
	g    *ir.Graph
	r    *Report
	plan Plan
	made map[quantKey]*ir.Value
}

// quantKey is what two readers must agree on to share a quantiser.
type quantKey struct {
	value     *ir.Value
	bits      int
	signed    bool
	axis      int // -1: one scale
	zeroPoint bool
}

// quantise gives the fake-quantised form of k.value, made on first use. name is
// the stem of the constants: name_scale and name_zero_point.
func (q *quantInserter) quantise(before *ir.Node, name string, k quantKey) *ir.Value {
	if v := q.made[k]; v != nil {
		return v
	}
	attrs := ir.Attrs{"bits": int64(k.bits), "signed": int64(0)}
	if k.signed {
		attrs["signed"] = int64(1)
	}
	shape := []int{}
	if k.axis >= 0 {
		attrs["axis"] = int64(k.axis)
		shape = []int{known(k.value, k.axis)}
	}
	zeros := func() *ir.Tensor {
		t, err := ir.NewTensor(ir.Float32, shape...)
		if err != nil {
			panic(fmt.Sprintf("passes: scale of %s: %v", ir.Quote(name), err))
		}
		return t
	}
	in := []*ir.Value{k.value, q.g.AddConst(name+"_scale", zeros())}
	if k.zeroPoint {
		in = append(in, q.g.AddConst(name+"_zero_point", zeros()))
	}
	var n *ir.Node
	if d := k.value.Def; d != nil { // right behind its source, so that it stands before every reader
		n = q.g.InsertAfter(d, ir.Domain, "FakeQuant", attrs, in, name+"_quant")
	} else {
		n = q.g.InsertBefore(before, ir.Domain, "FakeQuant", attrs, in, name+"_quant")
	}
	n.Name = name + "_quant"
	n.Out().Type = k.value.Type
	q.r.rewrote(n)
	q.made[k] = n.Out()
	return n.Out()
}

func quantised(v *ir.Value) bool { return v != nil && v.Def.IsOwn("FakeQuant") }

// weighted quantises weight and input of a linear layer or a convolution.
func (q *quantInserter) weighted(l Layer, axis int) {
	n := l.Node
	if w := n.Inputs[1]; l.Weights != 32 && !quantised(w) {
		n.SetInput(1, q.quantise(n, l.Name+".weight", quantKey{value: w, bits: l.Weights, signed: true, axis: axis}))
		q.r.Count("weights", 1)
	}
	if x := n.Inputs[0]; l.Acts != 32 && !quantised(x) {
		k := quantKey{value: x, bits: l.Acts, signed: true, axis: -1}
		switch rangeOf(x) {
		case rangeNonNegative:
			k.signed = false
		case rangeSkewed:
			k.zeroPoint = q.plan.ZeroPoints != "none"
		default:
			k.zeroPoint = q.plan.ZeroPoints == "all"
		}
		n.SetInput(0, q.quantise(n, l.Name+".input", k))
		q.r.Count("inputs", 1)
	}
}

// kinds of value ranges, told by what makes the value
const (
	rangeSigned = iota
	rangeNonNegative
	rangeSkewed
)

// rangeOf looks through layout at the operator that makes v.
func rangeOf(v *ir.Value) int {
	for v.Def != nil {
		n := v.Def
		switch n.Op {
		case "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "Slice", "Split", "Gather", "Cast":
			v = n.Inputs[0]
		case "Relu", "Sigmoid", "Softmax", "HardSigmoid", "Softplus", "Abs":
			return rangeNonNegative
		case "Gelu", "HardSwish", "Elu", "LeakyRelu", "Mish", "Swish", "Selu", "Celu":
			return rangeSkewed
		case "Mul": // x*sigmoid(x) and its like
			for _, in := range n.Inputs {
				if def(in, "Sigmoid") != nil {
					return rangeSkewed
				}
			}
			return rangeSigned
		default:
			return rangeSigned
		}
	}
	return rangeSkewed // the image
}

func (q *quantInserter) scores(l Layer) {
	if l.Acts == 32 {
		return
	}
	n, name := l.Node, parentName(l.Name)
	if !quantised(n.Inputs[0]) {
		n.SetInput(0, q.quantise(n, name+".q", q.headKey(n.Inputs[0], l.Acts, true)))
		q.r.Count("q", 1)
	}
	reader, i := n, 1
	if t := def(n.Inputs[1], "Transpose"); t != nil && soleUser(t.Out()) == n {
		reader, i = t, 0
	}
	if k := reader.Inputs[i]; !quantised(k) && !quantised(n.Inputs[1]) {
		reader.SetInput(i, q.quantise(reader, name+".k", q.headKey(k, l.Acts, true)))
		q.r.Count("k", 1)
	}
}

func (q *quantInserter) context(l Layer) {
	if l.Acts == 32 {
		return
	}
	n, name := l.Node, parentName(l.Name)
	if !quantised(n.Inputs[0]) {
		n.SetInput(0, q.quantise(n, name+".probs", q.headKey(n.Inputs[0], l.Acts, false)))
		q.r.Count("probs", 1)
	}
	if !quantised(n.Inputs[1]) {
		n.SetInput(1, q.quantise(n, name+".v", q.headKey(n.Inputs[1], l.Acts, true)))
		q.r.Count("v", 1)
	}
}

// headKey is one scale a head where the plan asks for it and the axis of heads
// is known.
func (q *quantInserter) headKey(v *ir.Value, bits int, signed bool) quantKey {
	k := quantKey{value: v, bits: bits, signed: signed, axis: -1}
	if axis := v.Type.Rank() - 3; q.plan.PerHead && v.Type.Rank() >= 4 && known(v, axis) > 0 {
		k.axis = axis
	}
	return k
}
