package kernel

import "math"

// Quantisers divide, since that is what their definition does. A division takes as
// long as ten multiplications, and of its result only the whole number that it is
// rounded to matters. So on AVX-512 and NEON the kernels compute
//
//	q = x·inv, q += (x - q·Alpha)·inv with inv = round(1/Alpha) and fused operations
//
// which is the rounded quotient but for those x whose true quotient lies within
// 2^-23 of half a unit in the last place beside it. Both forms are step functions of x,
// so they give the same codes if they do so at the few floats beside every step, and
// WithInverse tries these.

// WithInverse is g with the permission to multiply instead of dividing, if that gives
// every float32 the same code; g as it is otherwise. NaN gets the code Qn.
func (g Grid) WithInverse() Grid {
	g.inv = 0
	whole := func(v float32) bool { return v == float32(int32(v)) && v > -1<<20 && v < 1<<20 }
	if g.Alphas != nil || !(g.Alpha > 1e-15 && g.Alpha < 1e15) || !whole(g.Zp) || !whole(g.Qn) || !whole(g.Qp) || !whole(g.Offset) || g.Qn >= g.Qp || g.Qp-g.Qn > 255 {
		return g
	}
	inv := 1 / g.Alpha
	lo, hi := g.bounds()
	same := func(x float32) bool {
		x = min(max(x, lo), hi)
		return float32(math.RoundToEven(float64(quotient(x, g.Alpha, inv)))) == min(max(float32(math.RoundToEven(float64(x/g.Alpha)))+g.Zp, g.Qn), g.Qp)-g.Zp
	}
	for n := g.Qn - g.Zp; n <= g.Qp-g.Zp; n++ {
		// All quotients that round to n + 1/2 or to a float beside it belong to floats
		// within three of this one.
		x := float32(float64(g.Alpha) * (float64(n) + 0.5))
		for range 3 {
			x = math.Nextafter32(x, float32(math.Inf(-1)))
		}
		for range 7 {
			if !same(x) {
				return g
			}
			x = math.Nextafter32(x, float32(math.Inf(1)))
		}
	}
	if same(lo) && same(hi) {
		g.inv = inv
	}
	return g
}

// bounds is the values of the least and the greatest code.
func (g *Grid) bounds() (lo, hi float32) {
	return g.Alpha * (g.Qn - g.Zp), g.Alpha * (g.Qp - g.Zp)
}

// quotient is x/alpha as the kernels compute it with inv.
func quotient(x, alpha, inv float32) float32 {
	q := float32(x * inv)
	return fma32(fma32(-q, alpha, x), inv, q)
}

// fma32 is a·b + c rounded once.
func fma32(a, b, c float32) float32 {
	p, d := float64(a)*float64(b), float64(c)
	s := p + d
	// What the sum leaves out keeps it from being rounded twice: an inexact sum
	// becomes the odd one of its two neighbours.
	t := s - p
	if e := (p - (s - t)) + (d - t); e != 0 && math.Float64bits(s)&1 == 0 {
		s = math.Nextafter(s, math.Copysign(math.Inf(1), e))
	}
	return float32(s)
}
