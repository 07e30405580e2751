package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The coefficients are those of kernel/exp.go, whose tests hold both to float64.
func coefs(name string, v ...float64) (c []Mem) {
	for i, x := range v {
		c = append(c, f32(name+string(rune('0'+i)), x))
	}
	return c
}

func expCoefs() []Mem {
	return coefs("expP", 1, 1, 0.4999999403953552, 0.1666651964187622, 0.041668400168418884, 0.008368837647140026, 0.0013814348494634032)
}

func erfSmall() []Mem {
	return coefs("erfS", 0.12837916709551256, -0.37612634897232056, 0.11283715069293976, -0.02686050906777382, 0.00520385941490531, -0.0008175641996785998, 8.513114153174683e-05)
}

func erfLarge() []Mem {
	return coefs("erfL", -0.00017749480321072042, -1.1277495622634888, -0.63705974817276, -0.10403735935688019, 0.02227708511054516, -0.0030556072015315294, 0.00019718168186955154)
}

func tanhSmall() []Mem {
	return coefs("tanhP", -0.3333328068256378, 0.13331441581249237, -0.05373971536755562, 0.02063908614218235, -0.005704985000193119)
}

func one() Mem      { return f32("one", 1) }
func half() Mem     { return f32("half", 0.5) }
func signBit() Mem  { return c32("signBit", 1<<31) }
func magnBits() Mem { return c32("magnBits", 1<<31-1) }

// exp returns e^x. NaN passes: the limits are the first sources of the minimum
// and maximum, which return the second one when either is NaN.
func (m machine) exp(x reg.Register) reg.VecVirtual {
	y := m.get(f32("expMax", 89))
	VMINPS(x, y, y)
	low := m.get(f32("expMin", -104))
	VMAXPS(y, low, y)
	return m.exp0(y)
}

// exp0 is exp for -104 <= x <= 89; x is overwritten.
func (m machine) exp0(x reg.Register) reg.VecVirtual {
	n := m.vec()
	m.constants(VMULPS, VMULPS_BCST)(f32("log2e", 1.4426950408889634), x, n)
	m.round(n, n)
	m.constants(VFNMADD231PS, VFNMADD231PS_BCST)(f32("ln2Hi", 0.693359375), n, x)
	m.constants(VFNMADD231PS, VFNMADD231PS_BCST)(f32("ln2Lo", -2.12194440e-4), n, x)
	p := m.horner(x, expCoefs()...)
	if m.wide() {
		VSCALEFPS(n, p, p)
		return p
	}
	// 2^n as the product of two normal numbers.
	h := m.vec()
	bias := c32("bias", 127)
	VCVTPS2DQ(n, n)
	VPSRAD(Imm(1), n, h)
	VPSUBD(h, n, n)
	for _, e := range []reg.Register{h, n} {
		VPADDD(bias, e, e)
		VPSLLD(Imm(23), e, e)
		VMULPS(e, p, p)
	}
	return p
}

// erf returns the error function of x.
func (m machine) erf(x reg.Register) reg.VecVirtual {
	t := m.vec()
	VMULPS(x, x, t)
	small := m.horner(t, erfSmall()...)
	VFMADD213PS(x, x, small)
	a := m.vec()
	m.constants(VANDPS, VANDPS_BCST)(magnBits(), x, a)
	end := m.get(f32("erfEnd", 4.2))
	VMINPS(a, end, end)
	e := m.exp0(m.horner(end, erfLarge()...))
	large := m.get(one())
	VSUBPS(e, large, large)
	sign := m.vec()
	m.constants(VANDPS, VANDPS_BCST)(signBit(), x, sign)
	VORPS(sign, large, large)
	return m.choose(m.compare(cmpLT, a, f32("erfSplit", 0.9)), small, large)
}

// tanh returns the hyperbolic tangent of x.
func (m machine) tanh(x reg.Register) reg.VecVirtual {
	t := m.vec()
	VMULPS(x, x, t)
	small := m.horner(t, tanhSmall()...)
	VMULPS(t, small, small)
	VFMADD213PS(x, x, small)
	a := m.vec()
	m.constants(VANDPS, VANDPS_BCST)(magnBits(), x, a)
	end := m.get(f32("tanhEnd", 10))
	VMINPS(a, end, end)
	VADDPS(end, end, end)
	e := m.exp0(end)
	m.constants(VADDPS, VADDPS_BCST)(one(), e, e)
	q := m.get(f32("two", 2))
	VDIVPS(e, q, q)
	large := m.get(one())
	VSUBPS(q, large, large)
	sign := m.vec()
	m.constants(VANDPS, VANDPS_BCST)(signBit(), x, sign)
	VORPS(sign, large, large)
	return m.choose(m.compare(cmpLT, a, f32("tanhSplit", 0.625)), small, large)
}

// gelu returns x·Φ(x).
func (m machine) gelu(x reg.Register) reg.VecVirtual {
	z, h := m.vec(), m.vec()
	m.constants(VMULPS, VMULPS_BCST)(f32("sqrtHalf", 0.7071067811865476), x, z)
	m.constants(VMULPS, VMULPS_BCST)(half(), x, h)
	e := m.erf(z)
	VFMADD213PS(h, h, e)
	return e
}

// geluSlope returns Φ(x) + x·φ(x).
func (m machine) geluSlope(x reg.VecVirtual) reg.VecVirtual {
	z := m.vec()
	m.constants(VMULPS, VMULPS_BCST)(f32("sqrtHalf", 0.7071067811865476), x, z)
	return m.slopeOf(x, z, m.erf(z))
}

// slopeOf is geluSlope where z = x/√2 and its error function are known; both are
// overwritten.
func (m machine) slopeOf(x, z, e reg.VecVirtual) reg.VecVirtual {
	VMULPS(z, z, z)
	m.constants(VXORPS, VXORPS_BCST)(signBit(), z, z)
	d := m.exp(z)
	VMULPS(x, d, d)
	h := m.get(half())
	VFMADD213PS(h, h, e)
	m.constants(VFMADD231PS, VFMADD231PS_BCST)(f32("invSqrt2Pi", 0.3989422804014327), d, e)
	return e
}

func unary(m machine, name, doc string, f func(lane, reg.Register) reg.VecVirtual) {
	m.fn(name, "(dst, x []float32)", doc)
	dst, x, n := base("dst"), base("x"), length("dst")
	m.each(n, func(l lane) { l.store(f(l, l.load(x)), dst) })
	end()
}

func mapPart(m machine) {
	unary(m, "exp", "writes the exponential of each element.", func(l lane, x reg.Register) reg.VecVirtual { return l.exp(x) })
	unary(m, "erf", "writes the error function of each element.", func(l lane, x reg.Register) reg.VecVirtual { return l.erf(x) })
	unary(m, "tanh", "writes the hyperbolic tangent of each element.", func(l lane, x reg.Register) reg.VecVirtual { return l.tanh(x) })
	unary(m, "gelu", "writes the exact GELU of each element.", func(l lane, x reg.Register) reg.VecVirtual { return l.gelu(x) })
	geluBackward(m)
	for _, b := range []struct {
		name, doc string
		do        func(b, a, d Op)
	}{
		{"add", "writes a + b.", func(b, a, d Op) { VADDPS(b, a, d) }},
		{"sub", "writes a - b.", func(b, a, d Op) { VSUBPS(b, a, d) }},
		{"mul", "writes a · b.", func(b, a, d Op) { VMULPS(b, a, d) }},
	} {
		m.fn(b.name, "(dst, a, b []float32)", b.doc)
		dst, x, y, n := base("dst"), base("a"), base("b"), length("dst")
		m.each(n, func(l lane) {
			v := l.load(x)
			b.do(l.load(y), v, v)
			l.store(v, dst)
		})
		end()
	}
	m.fn("mulAdd", "(dst, a, b []float32)", "adds a · b to dst.")
	dst, x, y, n := base("dst"), base("a"), base("b"), length("dst")
	m.each(n, func(l lane) {
		d := l.load(dst)
		VFMADD231PS(l.load(x), l.load(y), d)
		l.store(d, dst)
	})
	end()
	m.fn("scale", "(dst, x []float32, s float32)", "writes s · x.")
	dst, x, n = base("dst"), base("x"), length("dst")
	s := m.scalar("s")
	m.each(n, func(l lane) {
		v := l.load(x)
		VMULPS(s, v, v)
		l.store(v, dst)
	})
	end()
	m.fn("axpy", "(dst, x []float32, s float32)", "adds s · x to dst.")
	dst, x, n = base("dst"), base("x"), length("dst")
	s = m.scalar("s")
	m.each(n, func(l lane) {
		d := l.load(dst)
		VFMADD231PS(l.load(x), s, d)
		l.store(d, dst)
	})
	end()
	adam(m)
}

func geluBackward(m machine) {
	m.fn("geluBackward", "(dx, x, dy []float32, acc bool)", "writes or adds the gradient of GELU.")
	dx, x, dy, n := base("dx"), base("x"), base("dy"), length("dx")
	acc := GP32()
	Load(Param("acc"), acc.As8())
	add, done := label("add"), label("end")
	step := func(add bool) func(lane) {
		return func(l lane) {
			s := l.geluSlope(l.load(x))
			g := l.load(dy)
			if add {
				VFMADD213PS(l.load(dx), g, s)
			} else {
				VMULPS(g, s, s)
			}
			l.store(s, dx)
		}
	}
	TESTB(acc.As8(), acc.As8())
	JNZ(LabelRef(add))
	m.each(n, step(false))
	JMP(LabelRef(done))
	Label(add)
	m.each(n, step(true))
	Label(done)
	end()
}

func adam(m machine) {
	m.fn("adam", "(w, m, v, g []float32, lr, beta1, beta2, eps, decay, c1, c2 float32)", "does one AdamW step.")
	wp, mp, vp, gp, n := base("w"), base("m"), base("v"), base("g"), length("w")
	lr, b1, b2, eps, decay, c1, c2 := m.scalar("lr"), m.scalar("beta1"), m.scalar("beta2"), m.scalar("eps"), m.scalar("decay"), m.scalar("c1"), m.scalar("c2")
	// c1, c2 become their reciprocals.
	for _, c := range []reg.Register{c1, c2} {
		t := m.get(one())
		VDIVPS(c, t, c)
	}
	m.each(n, func(l lane) {
		g, mv, vv := l.load(gp), l.load(mp), l.load(vp)
		t := m.vec()
		// m += (1-b1)(g-m) in the form of the definition: b1·m + (g - b1·g).
		VMOVUPS(g, t)
		VFNMADD231PS(b1, g, t)
		VFMADD231PS(b1, mv, t)
		l.store(t, mp)
		u := m.vec()
		VMULPS(g, g, g)
		VMOVUPS(g, u)
		VFNMADD231PS(b2, g, u)
		VFMADD231PS(b2, vv, u)
		l.store(u, vp)
		VMULPS(c2, u, u)
		VSQRTPS(u, u)
		VADDPS(eps, u, u)
		VMULPS(c1, t, t)
		VDIVPS(u, t, t)
		w := l.load(wp)
		VFMADD231PS(decay, w, t)
		VFNMADD231PS(lr, t, w)
		l.store(w, wp)
	})
	end()
}
