package kernel

import (
	"math"
	"unsafe"
)

// FakeQuant rounds one group of values to its quantisation grid:
//
//	q = clip(round(x/alpha) + zp, qn, qp), dst = (q - zp)·alpha
//
// with true float32 division and rounding half to even, in the order of ONNX
// QuantizeLinear. alpha > 0; inputs are assumed free of NaN. Every set gives the
// same bits.
func FakeQuant(dst, x []float32, alpha, zp, qn, qp float32) {
	need("x", len(x), len(dst))
	active.fakeQuant(dst, x[:len(dst)], alpha, zp, qn, qp)
}

// FakeQuantBackward is the gradient of FakeQuant with the straight-through
// estimator (learned step size as in LSQ and LSQ+; Q-ViT section 3). With
// u = x/alpha + zp and inside = qn <= u <= qp it writes (acc: adds) dy where
// inside, else 0, into dx (which may be nil), and returns
//
//	dalpha = Σ dy·((q - zp) - (inside ? x/alpha : 0))
//	dzp    = Σ dy·(inside ? 0 : -alpha)
//
// The terms of dalpha are float32 and their products with dy are exact; sums run
// in float64 as in Dot. Every set gives the same bits.
func FakeQuantBackward(dx, x, dy []float32, alpha, zp, qn, qp float32, acc bool) (dalpha, dzp float64) {
	need("dy", len(dy), len(x))
	if dx != nil {
		need("dx", len(dx), len(x))
		dx = dx[:len(x)]
	}
	dalpha, out := active.fakeQuantBackward(dx, x, dy[:len(x)], alpha, zp, qn, qp, acc)
	return dalpha, -float64(alpha) * out
}

// QuantizeU8 writes the codes q + offset of FakeQuant's q (rounded half to even
// where zp is not whole) as bytes; they must lie in 0..255.
func QuantizeU8(dst []uint8, x []float32, alpha, zp, qn, qp, offset float32) {
	need("x", len(x), len(dst))
	active.quantize(dst, x[:len(dst)], alpha, zp, qn, qp, offset)
}

// QuantizeS8 writes the codes q of FakeQuant (rounded half to even where zp is
// not whole) as signed bytes; they must lie in -128..127.
func QuantizeS8(dst []int8, x []float32, alpha, zp, qn, qp float32) {
	need("x", len(x), len(dst))
	u := unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(dst))), len(dst))
	active.quantize(u, x[:len(dst)], alpha, zp, qn, qp, 0)
}

// code returns clip(round(v)+zp, qn, qp).
func code(v, zp, qn, qp float32) float32 {
	if v < 1<<22 && v > -1<<22 {
		v = (v + roundMagic) - roundMagic
	} else {
		v = float32(math.RoundToEven(float64(v)))
	}
	q := v + zp
	if q < qn {
		q = qn
	}
	if q > qp {
		q = qp
	}
	return q
}

func fakeQuantGo(dst, x []float32, alpha, zp, qn, qp float32) {
	for i, v := range x[:len(dst)] {
		dst[i] = (code(v/alpha, zp, qn, qp) - zp) * alpha
	}
}

// fakeQuantBackwardGo returns dalpha and the sum of dy outside the clip range.
func fakeQuantBackwardGo(dx, x, dy []float32, alpha, zp, qn, qp float32, acc bool) (dalpha, dout float64) {
	var s, o [lanes]float64
	for i, v := range x {
		d := v / alpha
		t := code(d, zp, qn, qp) - zp
		u := d + zp
		g := dy[i]
		var in float32
		if qn <= u && u <= qp {
			t -= d
			in = g
		} else {
			o[i%lanes] += float64(g)
		}
		s[i%lanes] += float64(t) * float64(g)
		if dx != nil {
			if acc {
				dx[i] += in
			} else {
				dx[i] = in
			}
		}
	}
	return sumLanes(&s), sumLanes(&o)
}

// quantizeGo writes the low byte of each code plus offset.
func quantizeGo(dst []uint8, x []float32, alpha, zp, qn, qp, offset float32) {
	for i, v := range x[:len(dst)] {
		dst[i] = uint8(int32(math.RoundToEven(float64(code(v/alpha, zp, qn, qp) + offset))))
	}
}
