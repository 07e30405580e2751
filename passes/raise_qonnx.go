package passes

import (
	"math"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// RaiseQONNX turns the quantisers of QONNX into FakeQuant.
var RaiseQONNX = Pass{
	Name: "raise-qonnx",
	Doc: `make FakeQuant of QONNX IntQuant (and Quant, its older name)

The domains are qonnx.custom_op.general, onnx.brevitas and finn.custom_op.general.
Only rounding_mode ROUND, half to even, is taken: FakeQuant has no other. A
narrow range becomes a Max (or Min) in front. A scale may vary along one axis.`,
	Run: raiseQONNX,
}

func raiseQONNX(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	z := newRaiser(g, r)
	changed := false
	for n := range g.Nodes() {
		if !isIntQuant(n) {
			continue
		}
		if mode := n.Attrs.Str("rounding_mode", "ROUND"); !strings.EqualFold(mode, "ROUND") {
			e := n.Errorf("rounding_mode %s is not supported: only ROUND, half to even", ir.Quote(mode))
			e.Hint = "export the model with rounding_mode ROUND"
			return changed, e
		}
		q, why := z.intQuant(n)
		if why != "" {
			r.Note(n, "%s stays: %s", n.Op, why)
			continue
		}
		x := n.Inputs[0]
		lo, hi := q.bounds()
		if n.Attrs.Int("narrow", 0) != 0 && !x.IsConst() {
			if q.signed {
				lo++
			} else {
				hi--
			}
			x = z.guard(n, x, q, lo, hi)
		}
		v := z.quantise(n, x, q, n.Inputs[1].Name, n.Inputs[2].Name)
		if z.g.IsOutput(n.Out()) {
			substitute(z.g, n.Out(), v)
		} else {
			z.g.ReplaceUses(n.Out(), v)
		}
		z.g.Remove(n)
		r.Count("quantisers", 1)
		changed = true
	}
	z.finish(changed)
	return changed, nil
}

// intQuant reads the grid of an IntQuant; it says why when a FakeQuant cannot
// hold it.
func (z *raiser) intQuant(n *ir.Node) (q grid, why string) {
	scale, ok := floats(n.Input(1))
	if !ok || !n.Input(2).IsConst() || !n.Input(3).IsConst() {
		return q, "its parameters are not constants"
	}
	width := n.Inputs[3].Const.Float(0)
	if width != math.Trunc(width) || width < 1 || width > 16 {
		return q, "its width is no number of bits from 1 to 16"
	}
	rank := n.Inputs[0].Type.Rank()
	q = grid{bits: int(width), signed: n.Attrs.Int("signed", 1) != 0, scale: scale}
	if q.axis, ok = scaleAxis(n.Inputs[1].Const.Shape, rank); !ok {
		return q, "its scale varies along more than one axis"
	}
	zero := numbers(n.Inputs[2])
	if za, ok := scaleAxis(n.Inputs[2].Const.Shape, rank); len(zero) != 1 && (!ok || za != q.axis || len(zero) != len(scale)) {
		return q, "its zero point has another shape than its scale"
	}
	q.zero = make([]float32, len(scale))
	for i := range q.zero {
		q.zero[i] = zero[i%len(zero)]
	}
	if !q.usable() {
		return q, "its scales are not positive or its zero points no integers"
	}
	if x := n.Inputs[0]; x.IsConst() && n.Attrs.Int("narrow", 0) != 0 {
		s := &quantSettings{bits: q.bits, signed: q.signed, axis: q.axis, scale: q.scale}
		for _, v := range q.zero {
			s.zeroPoint = append(s.zeroPoint, int(v))
		}
		lo, hi := s.bounds()
		for _, c := range s.codes(x.Const) {
			if q.signed && int(c) == lo || !q.signed && int(c) == hi {
				return q, "its narrow range cuts its weights"
			}
		}
	}
	return q.settled(), ""
}
