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
	changed := false
	names := heldNames{g: g}
	widths := map[int]*ir.Value{}
	var none *ir.Value
	for n := range g.Nodes() {
		if !n.IsOwn("FakeQuant") {
			continue
		}
		s, err := quantOf(n.Out())
		if err != nil {
			return changed, err
		}
		x := n.Inputs[0]
		if s == nil || s.axis >= 0 && x.Type.Rank() < 0 || s.signed && s.bits < 2 {
			r.Note(n, "FakeQuant stays: its scale is computed, the rank is not known or it has one bit")
			continue
		}
		if x.IsConst() {
			x = names.add(x.Name, s.dequantised(x.Const))
		}
		if widths[s.bits] == nil {
			widths[s.bits] = g.AddConst("bitwidth", ir.Scalar(float32(s.bits)))
		}
		zero := none
		if s.zeroPoint != nil {
			z := make([]float32, len(s.zeroPoint))
			for i, v := range s.zeroPoint {
				z[i] = float32(v)
			}
			zero = names.add(n.Inputs[2].Name, s.broadcast(z, x.Type.Rank()))
		} else if none == nil {
			none = g.AddConst("zero_point", ir.Scalar(float32(0)))
			zero = none
		}
		scale := n.Inputs[1]
		if s.axis >= 0 || len(scale.Const.Shape) > 0 {
			scale = names.add(scale.Name, s.broadcast(s.scale, x.Type.Rank()))
		}
		signed := int64(0)
		if s.signed {
			signed = 1
		}
		k := g.InsertBefore(n, ir.QONNX, "IntQuant", ir.Attrs{"signed": signed, "narrow": int64(0), "rounding_mode": "ROUND"},
			[]*ir.Value{x, scale, zero, widths[s.bits]}, n.Out().Name)
		k.Out().Type = n.Out().Type
		r.inherit(k, n)
		substitute(g, n.Out(), k.Out())
		g.Remove(n)
		r.Count("quantisers", 1)
		changed = true
	}
	if changed {
		dropDead(g, &Report{Pass: r.Pass})
		names.settle()
	}
	return changed, nil
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
