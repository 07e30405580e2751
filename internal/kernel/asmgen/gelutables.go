package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// GELU and its slope for the wide machine, as polynomials of degree four in sixteen
// pieces, whose coefficients are the lanes of five registers each:
//
//	x·Φ(x) = x/2 + |x|·phi(|x|),  Φ(x) + x·φ(x) = 1/2 ± slope(|x|)
//
// The slope is within 7e-7 of its true value, x·Φ(x) within 2e-7·max(1, |x|).

// geluEnd is where Φ is 1 in float32 and the slope nearly so.
const geluEnd = 5.5

func geluPhi(u float64) float64 { return math.Erf(u/math.Sqrt2) / 2 }

func geluSlope(u float64) float64 { return geluPhi(u) + u*math.Exp(-u*u/2)/math.Sqrt(2*math.Pi) }

// pieces fits f in sixteen equal pieces of [0, geluEnd], each over t from 0 to 1: the
// coefficients of 1, t, t², t³ and t⁴.
func (m machine) pieces(name string, f func(float64) float64) (c [5]reg.VecVirtual) {
	var table [5][16]float64
	for i := range 16 {
		for d, v := range interpolate(func(t float64) float64 { return f((float64(i) + t) * geluEnd / 16) }) {
			table[d][i] = v
		}
	}
	for d := range c {
		g := GLOBL(name+string(rune('0'+d)), NOPTR|RODATA)
		for i, v := range table[d] {
			DATA(4*i, U32(math.Float32bits(float32(v))))
		}
		c[d] = m.vec()
		VMOVUPS(g, c[d])
	}
	return c
}

// interpolate gives the polynomial of degree four through f at the Chebyshev nodes of
// [0, 1], by Newton's divided differences.
func interpolate(f func(float64) float64) (c [5]float64) {
	var x, d [5]float64
	for i := range x {
		x[i] = (1 - math.Cos(math.Pi*(2*float64(i)+1)/10)) / 2
		d[i] = f(x[i])
	}
	for k := 1; k < 5; k++ {
		for i := 4; i >= k; i-- {
			d[i] = (d[i] - d[i-1]) / (x[i] - x[i-k])
		}
	}
	for i := 4; i >= 0; i-- { // c = c·(t - x) + d
		for j := 4; j > 0; j-- {
			c[j] = c[j-1] - x[i]*c[j]
		}
		c[0] = d[i] - x[i]*c[0]
	}
	return c
}

// geluTables is the coefficients of both.
type geluTables struct {
	machine
	phi, slope [5]reg.VecVirtual
}

func (m machine) geluTables() geluTables {
	return geluTables{m, m.pieces("geluPhi", geluPhi), m.pieces("geluSlope", geluSlope)}
}

// both returns x·Φ(x) and its slope.
func (g geluTables) both(x reg.VecVirtual) (y, slope reg.VecVirtual) {
	u, s, n, t := g.vec(), g.vec(), g.vec(), g.vec()
	VANDPS_BCST(magnBits(), x, u)
	VMULPS_BCST(f32("geluPieces", 16/geluEnd), u, s)
	VMINPS_BCST(f32("geluLast", 15.999999), s, s)
	VCVTTPS2DQ(s, n)
	VCVTDQ2PS(n, t)
	VSUBPS(t, s, t)
	at := func(c [5]reg.VecVirtual) reg.VecVirtual {
		p := g.vec()
		VPERMPS(c[4], n, p)
		for d := 3; d >= 0; d-- {
			k := g.vec()
			VPERMPS(c[d], n, k)
			VFMADD213PS(k, t, p)
		}
		return p
	}
	p := at(g.phi)
	slope = at(g.slope)
	y = g.vec()
	VMULPS_BCST(half(), x, y)
	VFMADD231PS(p, u, y)
	sign := g.vec()
	VANDPS_BCST(signBit(), x, sign)
	VXORPS(sign, slope, slope)
	VADDPS_BCST(half(), slope, slope)
	return y, slope
}
