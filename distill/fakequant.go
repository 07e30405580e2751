package distill

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// codeRange is [Qn, Qp] of a FakeQuant.
func codeRange(n *ir.Node) (qn, qp float32) {
	bits := n.Attrs.Int("bits", 8)
	if n.Attrs.Int("signed", 1) != 0 {
		return -float32(int64(1) << (bits - 1)), float32(int64(1)<<(bits-1) - 1)
	}
	return 0, float32(int64(1)<<bits - 1)
}

// gradScale is LSQ's g = 1/√(N·Qp) for a scale or zero point, with N the
// elements of one group of one image (method.md section 2.4). Without a known
// shape it is 1.
func gradScale(p Param) float32 {
	x := p.Quant.Input(0)
	var dims ir.Shape
	if x.Type.Ranked {
		dims = x.Type.Shape
	}
	if !x.IsConst() && len(dims) > 0 {
		dims = dims[1:] // the batch
	}
	n := 1.0
	for _, d := range dims {
		if !d.Known() {
			return 1
		}
		n *= float64(d.Size)
	}
	_, qp := codeRange(p.Quant)
	n /= float64(len(p.Data))
	if n <= 0 {
		return 1
	}
	return float32(1 / math.Sqrt(n*float64(max(1, qp))))
}

// damper adds the gradient of lambda·‖w - ŵ‖² to that of a quantised weight, ŵ
// its value on the grid taken as fixed; weights outside the grid's range are
// left alone. It keeps 2- and 3-bit weights from oscillating between two codes.
type damper struct {
	scale  []float32
	qn, qp float32
	inner  int // elements between two changes of the group
}

func newDamper(p Param) *damper {
	q := p.Quant
	scale := q.Input(1)
	if !scale.IsConst() || q.Input(2) != nil {
		return nil
	}
	d := &damper{scale: scale.Const.F32(), inner: len(p.Data)}
	d.qn, d.qp = codeRange(q)
	if q.Attrs.Has("axis") {
		shape := p.Value.Const.Shape
		axis := q.Attrs.Int("axis", 0)
		if axis < 0 {
			axis += len(shape)
		}
		if axis < 0 || axis >= len(shape) || shape[axis] != len(d.scale) {
			return nil
		}
		d.inner = 1
		for _, n := range shape[axis+1:] {
			d.inner *= n
		}
	}
	if len(d.scale) == 0 || d.inner == 0 {
		return nil
	}
	return d
}

// add works on the chunk of the weight that starts at element lo.
func (d *damper) add(g, w []float32, lo int, lambda float32) {
	for i, x := range w {
		a := d.scale[(lo+i)/d.inner%len(d.scale)]
		u := x / a
		if u >= d.qn && u <= d.qp {
			g[i] += 2 * lambda * (x - a*float32(math.RoundToEven(float64(u))))
		}
	}
}
