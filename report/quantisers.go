package report

import (
	"math"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// quantiser is what turns an activation into codes.
type quantiser struct {
	x            *ir.Value
	scale, zero  []float64 // one, or one for each index of axis
	axis         int       // -1: one scale
	lowest, bits int       // lowest code
}

func appendQuantiser(list []quantiser, q *quantiser) []quantiser {
	if q == nil {
		return list
	}
	return append(list, *q)
}

// packedQuantiser reads the scale and the zero point of a packed operator.
func packedQuantiser(x, scale, zero *ir.Value, bits int) *quantiser {
	if x == nil || !scale.IsConst() || !zero.IsConst() {
		return nil
	}
	q := &quantiser{x: x, axis: -1, bits: bits}
	for i := range scale.Const.Len() {
		q.scale = append(q.scale, scale.Const.Float(i))
		q.zero = append(q.zero, float64(zero.Const.Int(0)))
	}
	if len(q.scale) > 1 {
		dims := scale.Const.Shape
		at := slices.IndexFunc(dims, func(d int) bool { return d == len(q.scale) })
		if at < 0 {
			return nil
		}
		q.axis = at + x.Type.Rank() - len(dims)
	}
	return q
}

// quantiserOf reads the FakeQuant or QuantizeLinear pair that makes v.
func quantiserOf(v *ir.Value) *quantiser {
	if v == nil || v.Def == nil || v.Def.Input(0).IsConst() {
		return nil
	}
	n := v.Def
	if n.Is("DequantizeLinear") && n.Input(0).Def.Is("QuantizeLinear") {
		n = n.Input(0).Def
	} else if !n.IsOwn("FakeQuant") {
		return nil
	}
	scale, zero := n.Input(1), n.Input(2)
	if !scale.IsConst() || zero != nil && !zero.IsConst() {
		return nil
	}
	q := &quantiser{x: n.Input(0), axis: -1, bits: n.Attrs.Int("bits", 8)}
	if n.IsOwn("FakeQuant") && n.Attrs.Int("signed", 1) != 0 {
		q.lowest = -(1 << (q.bits - 1))
	}
	if n.Is("QuantizeLinear") {
		q.bits = v.Def.Input(0).Type.Elem.Bits()
		if e := v.Def.Input(0).Type.Elem; e == ir.Int8 || e == ir.Int4 || e == ir.Int2 {
			q.lowest = -(1 << (q.bits - 1))
		}
	}
	for i := range scale.Const.Len() {
		z := 0.0
		if zero != nil {
			z = math.RoundToEven(zero.Const.Float(i % zero.Const.Len()))
		}
		q.scale, q.zero = append(q.scale, scale.Const.Float(i)), append(q.zero, z)
	}
	if len(q.scale) > 1 {
		q.axis = n.Attrs.Int("axis", 1)
		if q.axis < 0 {
			q.axis += q.x.Type.Rank()
		}
	}
	return q
}

// codes quantises data of the given shape. They count from the zero point, so
// that codes stored shifted compare with codes stored signed.
func (q *quantiser) codes(data []float32, shape []int, out []int16) []int16 {
	inner := len(data)
	if q.axis >= 0 && q.axis < len(shape) {
		inner = 1
		for _, d := range shape[q.axis+1:] {
			inner *= d
		}
	}
	highest := float64(q.lowest + 1<<q.bits - 1)
	out = out[:0]
	for i, x := range data {
		g := 0
		if q.axis >= 0 {
			g = i / inner % len(q.scale)
		}
		c := math.RoundToEven(float64(x/float32(q.scale[g]))) + q.zero[g]
		out = append(out, int16(min(max(c, float64(q.lowest)), highest)-q.zero[g]))
	}
	return out
}
