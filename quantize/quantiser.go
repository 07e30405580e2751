package quantize

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// Quantiser is a uniform integer grid of Bits bits: the Q-ViT quantiser of
// method.md 2.4 in the rounding order of ONNX QuantizeLinear. The functions
// below are the reference that faster kernels are tested against.
type Quantiser struct {
	Bits   int  // 2 to 8
	Signed bool // codes from -2^(Bits-1), otherwise from 0
}

// MaxBits is the widest grid.
const MaxBits = 8

// Range gives the lowest and the highest code: -2^(b-1), 2^(b-1)-1 when signed,
// 0, 2^b-1 when not.
func (q Quantiser) Range() (qn, qp int) {
	if q.Signed {
		return -1 << (q.Bits - 1), 1<<(q.Bits-1) - 1
	}
	return 0, 1<<q.Bits - 1
}

// Levels is the number of codes.
func (q Quantiser) Levels() int { return 1 << q.Bits }

// Code is clip(round(x/alpha)+round(zp), Qn, Qp): float32 division, rounding
// half to even, the zero point added after rounding. alpha must be positive; a
// NaN x has no code and gives Qn.
func (q Quantiser) Code(x, alpha, zp float32) int {
	return q.clip(math.RoundToEven(float64(x/alpha)) + math.RoundToEven(float64(zp)))
}

// Fake is the value that the code of x stands for: (Code-round(zp))*alpha in
// float32. A NaN x gives NaN.
func (q Quantiser) Fake(x, alpha, zp float32) float32 {
	if x != x {
		return x
	}
	z := math.RoundToEven(float64(zp))
	return float32(float64(q.Code(x, alpha, zp))-z) * alpha
}

func (q Quantiser) clip(v float64) int {
	qn, qp := q.Range()
	switch {
	case v >= float64(qp):
		return qp
	case v > float64(qn):
		return int(v)
	}
	return qn
}

// Grad gives the contribution of one element to the gradients of
// y = Fake(x, alpha, zp) for upstream gradient g, in float64 (method.md 2.3,
// straight-through estimator). With u = x/alpha+zp and in = [Qn <= u <= Qp]:
//
//	dx = g*in, dalpha = g*((q-zp) - in*x/alpha), dzp = in ? 0 : -g*alpha
//
// dalpha and dzp are summed over the elements that share alpha; a plain
// gradient-descent trainer multiplies the sums by GradScale.
func (q Quantiser) Grad(g, x, alpha, zp float64) (dx, dalpha, dzp float64) {
	qn, qp := q.Range()
	z := math.RoundToEven(zp)
	r := x / alpha
	code := float64(q.clip(math.RoundToEven(r) + z))
	if u := r + z; u >= float64(qn) && u <= float64(qp) {
		return g, g * (code - z - r), 0
	}
	return 0, g * (code - z), -g * alpha
}

// GradScale is LSQ's factor 1/sqrt(n*Qp) for the gradient of alpha, where n is
// the number of elements that share alpha, the batch not counted (method.md 2.4).
func (q Quantiser) GradScale(n int) float64 {
	_, qp := q.Range()
	return 1 / math.Sqrt(float64(n)*float64(qp))
}

// LSQInit is LSQ's start value 2*mean(|x|)/sqrt(Qp) (method.md 2.2), given
// mean(|x|).
func (q Quantiser) LSQInit(meanAbs float64) float64 {
	_, qp := q.Range()
	return 2 * meanAbs / math.Sqrt(float64(qp))
}

// OfNode reads the grid of a FakeQuant node: attributes bits (2 to 8) and
// signed (0 or 1, default 1).
func OfNode(n *ir.Node) (Quantiser, error) {
	if !n.IsOwn("FakeQuant") {
		return Quantiser{}, n.Errorf("is not a FakeQuant of domain %q", ir.Domain)
	}
	bits, signed := n.Attrs.Int("bits", 0), n.Attrs.Int("signed", 1)
	if bits < 2 || bits > MaxBits {
		return Quantiser{}, n.Errorf("attribute bits is %d; it must be 2 to %d", bits, MaxBits)
	}
	if signed != 0 && signed != 1 {
		return Quantiser{}, n.Errorf("attribute signed is %d; it must be 0 or 1", signed)
	}
	return Quantiser{Bits: bits, Signed: signed == 1}, nil
}
