package passes

import (
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// LowerQONNX writes quantisers as QONNX has them.
var LowerQONNX = Pass{
	Name: "lower-qonnx",
	Doc: `write quantisers as IntQuant of the domain qonnx.custom_op.general

Scale, zero point and width are inputs that broadcast. Weights are stored as the
float values that their codes stand for.`,
	Run: lowerQONNX,
}

func lowerQONNX(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	l := qonnxLowering{g: g, r: r, names: heldNames{g: g}, widths: map[int]*ir.Value{}}
	changed, err := eachFakeQuant(g, l.quantiser)
	if err != nil {
		return changed, err
	}
	if changed {
		dropDead(g, &Report{Pass: r.Pass})
		l.names.settle()
	}
	return changed, nil
}

type qonnxLowering struct {
	g      *ir.Graph
	r      *Report
	names  heldNames
	widths map[int]*ir.Value // constants that the nodes share: one for each width
	none   *ir.Value         // and the zero point 0
}

// quantiser writes a FakeQuant as IntQuant.
func (l *qonnxLowering) quantiser(n *ir.Node, s *quantSettings) (bool, error) {
	x := n.Inputs[0]
	if s == nil || s.axis >= 0 && x.Type.Rank() < 0 || s.signed && s.bits < 2 {
		l.r.Note(n, "FakeQuant stays: its scale is computed, the rank is not known or it has one bit")
		return false, nil
	}
	if x.IsConst() {
		x = l.names.add(x.Name, s.dequantised(x.Const))
	}
	if l.widths[s.bits] == nil {
		l.widths[s.bits] = l.g.AddConst("bitwidth", ir.Scalar(float32(s.bits)))
	}
	scale := n.Inputs[1]
	zero := l.zero(s, x.Type.Rank())
	if s.axis >= 0 || len(scale.Const.Shape) > 0 {
		scale = l.names.add(scale.Name, s.broadcast(s.scale, x.Type.Rank()))
	}
	signed := int64(0)
	if s.signed {
		signed = 1
	}
	k := l.g.InsertBefore(n, ir.QONNX, "IntQuant", ir.Attrs{"signed": signed, "narrow": int64(0), "rounding_mode": "ROUND"},
		[]*ir.Value{x, scale, zero, l.widths[s.bits]}, n.Out().Name)
	k.Out().Type = n.Out().Type
	l.r.inherit(k, n)
	substitute(l.g, n.Out(), k.Out())
	l.g.Remove(n)
	l.r.Count("quantisers", 1)
	return true, nil
}

// zero is the constant of the zero points, shaped to broadcast.
func (l *qonnxLowering) zero(s *quantSettings, rank int) *ir.Value {
	if s.zeroPoint == nil {
		if l.none == nil {
			l.none = l.g.AddConst("zero_point", ir.Scalar(float32(0)))
		}
		return l.none
	}
	z := make([]float32, len(s.zeroPoint))
	for i, v := range s.zeroPoint {
		z[i] = float32(v)
	}
	return l.names.add(s.node.Inputs[2].Name, s.broadcast(z, rank))
}

// broadcast shapes one value a group so that it broadcasts against a tensor of
// this rank.
func (s *quantSettings) broadcast(v []float32, rank int) *ir.Tensor {
	if s.axis < 0 {
		return ir.Scalar(v[0])
	}
	shape := make([]int, rank-s.axis)
	for i := range shape {
		shape[i] = 1
	}
	shape[0] = len(v)
	return ir.Of(append([]float32(nil), v...), shape...)
}

// dequantised gives the values that the codes of a constant stand for.
func (s *quantSettings) dequantised(t *ir.Tensor) *ir.Tensor {
	inner, groups := 1, 1
	if s.axis >= 0 {
		groups = t.Shape[s.axis]
		for _, d := range t.Shape[s.axis+1:] {
			inner *= d
		}
	}
	out := make([]float32, t.Len())
	for i, c := range s.codes(t) {
		g := i / inner % groups
		if s.axis < 0 {
			g = 0
		}
		z := 0
		if s.zeroPoint != nil {
			z = s.zeroPoint[g]
		}
		out[i] = float32(int(c)-z) * s.scale[g]
	}
	return ir.Of(out, t.Shape...)
}
