package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func quantPart(m machine) {
	fakeQuant(m)
	fakeQuantBackward(m)
	if m.wide() {
		geluQuantBackward(m)
	}
	fakeQuantCols(m)
	fakeQuantColsBackward(m)
	quantizeU8(m)
}

// quantizer is the arguments that every loop of this part needs.
type quantizer struct{ alpha, zp, qn, qp func() reg.VecVirtual }

// code returns clip(round(d) + zp). The limits are the first sources, so that an
// equal value keeps its own sign of zero, as in the twin.
func (l lane) code(d reg.Register, z quantizer) reg.VecVirtual {
	q := l.vec()
	l.round(d, q)
	VADDPS(z.zp(), q, q)
	VMAXPS(q, z.qn(), q)
	VMINPS(q, z.qp(), q)
	return q
}

// scalars is the quantizer of one group.
func (m machine) scalars() quantizer {
	return quantizer{m.constant("alpha"), m.constant("zp"), m.constant("qn"), m.constant("qp")}
}

// fake quantises x in place.
func (l lane) fake(x reg.VecVirtual, z quantizer) reg.VecVirtual {
	VDIVPS(z.alpha(), x, x)
	q := l.code(x, z)
	VSUBPS(z.zp(), q, q)
	VMULPS(z.alpha(), q, q)
	return q
}

func fakeQuant(m machine) {
	m.fn("fakeQuant", "(dst, x []float32, alpha, zp, qn, qp float32)", "rounds each element to its grid.")
	dst, x, n := base("dst"), base("x"), length("dst")
	z := m.scalars()
	m.each(n, func(l lane) { l.store(l.fake(l.load(x), z), dst) })
	end()
}

// columnwise is the quantizer of the columns of one step; zp may be nil.
func (l lane) columnwise(alpha, zp reg.GPVirtual, m quantizer) quantizer {
	a, z := l.load(alpha), l.zero()
	none := label("noZero")
	TESTQ(zp, zp)
	JZ(LabelRef(none))
	VMOVAPS(l.load(zp), z)
	Label(none)
	return quantizer{func() reg.VecVirtual { return a }, func() reg.VecVirtual { return z }, m.qn, m.qp}
}

func fakeQuantCols(m machine) {
	m.fn("fakeQuantCols", "(dst, x, alpha, zp []float32, qn, qp float32, rows, n int)", "rounds each column to its grid; rows and n are positive, zp may be nil.")
	dst, x, alpha, zp := base("dst"), base("x"), base("alpha"), base("zp")
	count, n := integer("rows"), integer("n")
	lim := quantizer{qn: m.constant("qn"), qp: m.constant("qp")}
	r := m.row(n)
	rows(count, stride(n), []reg.GPVirtual{dst, x}, func() {
		r.each(func(l lane) { l.store(l.fake(l.load(x), l.columnwise(alpha, zp, lim)), dst) })
	})
	end()
}

// backward returns the terms of the gradient: in is dy inside the clip range (else
// 0), out is dy outside of it, term is (q-zp) less x/alpha where inside. x is
// overwritten.
func (l lane) backward(x, dy reg.VecVirtual, z quantizer) (term, in, out reg.VecVirtual) {
	d := x
	VDIVPS(z.alpha(), d, d)
	term = l.code(d, z)
	VSUBPS(z.zp(), term, term)
	u := l.vec()
	VADDPS(z.zp(), d, u)
	in, out = l.vec(), l.vec()
	low := l.compare(cmpLE, z.qn(), u)
	if l.wide() {
		inside, outside := K(), K()
		VCMPPS(Imm(cmpLE), z.qp(), u, low, inside)
		KNOTW(inside, outside)
		VSUBPS(d, term, inside, term)
		VMOVAPS_Z(dy, inside, in)
		VMOVAPS_Z(dy, outside, out)
		return term, in, out
	}
	inside := l.compare(cmpLE, u, z.qp())
	VANDPS(low, inside, inside)
	VANDPS(inside, d, d)
	VSUBPS(d, term, term)
	VANDPS(inside, dy, in)
	VANDNPS(dy, inside, out)
	return term, in, out
}

// put writes or, where acc is not 0, adds v to this step of dx; not at all when
// dx is nil.
func (l lane) put(v reg.VecVirtual, dx, acc reg.GPVirtual) {
	write, skip := label("write"), label("skip")
	TESTQ(dx, dx)
	JZ(LabelRef(skip))
	TESTQ(acc, acc)
	JZ(LabelRef(write))
	VADDPS(l.load(dx), v, v)
	Label(write)
	l.store(v, dx)
	Label(skip)
}

func fakeQuantBackward(m machine) {
	m.fn("fakeQuantBackward", "(dx, x, dy []float32, alpha, zp, qn, qp float32, acc bool) (dalpha, dout float64)", "returns the scale's gradient and the sum of dy outside the clip range; dx may be nil.")
	dx, x, dy, n, acc := base("dx"), base("x"), base("dy"), length("x"), truth("acc")
	z := m.scalars()
	sums, outs := m.doubles(), m.doubles()
	m.each16(n, func(s step16) {
		for i, l := range s {
			g := l.load(dy)
			term, in, out := l.backward(l.load(x), g, z)
			l.put(in, dx, acc)
			for h, o := range m.widen(out) {
				VADDPD(o, outs[2*i+h], outs[2*i+h])
			}
			t, d := m.widen(term), m.widen(g)
			for h := range 2 {
				VFMADD231PD(t[h], d[h], sums[2*i+h])
			}
		}
	})
	Store(m.total(sums), Return("dalpha"))
	Store(m.total(outs), Return("dout"))
	end()
}

// geluQuantBackward is fakeQuantBackward of a GELU, whose slope the gradient is then
// multiplied by. On the narrow machine it is made of both: registers are too few.
func geluQuantBackward(m machine) {
	m.fn("geluQuantBackward", "(dx, x, dy []float32, alpha, zp, qn, qp float32, acc bool) (dalpha, dout float64)", "returns the gradients of a quantiser of GELU(x) and writes or adds that of x.")
	dx, x, dy, n, acc := base("dx"), base("x"), base("dy"), length("x"), truth("acc")
	z, tables := m.scalars(), m.geluTables()
	sums, outs := m.doubles(), m.doubles()
	m.each16(n, func(s step16) {
		for i, l := range s {
			y, slope := tables.both(l.load(x))
			g := l.load(dy)
			term, in, out := l.backward(y, g, z)
			VMULPS(slope, in, in)
			l.put(in, dx, acc)
			for h, o := range m.widen(out) {
				VADDPD(o, outs[2*i+h], outs[2*i+h])
			}
			t, d := m.widen(term), m.widen(g)
			for h := range 2 {
				VFMADD231PD(t[h], d[h], sums[2*i+h])
			}
		}
	})
	Store(m.total(sums), Return("dalpha"))
	Store(m.total(outs), Return("dout"))
	end()
}

// float64s is where the float64 partners of half a step's lanes lie, and how to
// mask them in the tail.
type float64s struct {
	l    lane
	at   Mem
	mask reg.Register
}

// halves is the two float64 vectors of a step in the slice at base.
func (l lane) halves(base reg.Register) (h [2]float64s) {
	for i := range h {
		h[i] = float64s{l: l, at: Mem{Base: base, Index: l.idx, Scale: 2, Disp: 2*l.disp + i*l.bytes()}}
	}
	if !l.tail {
		return h
	}
	if l.wide() {
		q := K()
		KSHIFTRW(Imm(8), l.mask, q)
		h[0].mask, h[1].mask = l.mask, q
		return h
	}
	for i := range h {
		y := YMM()
		VPMOVSXDQ(Mem{Base: l.mask, Disp: 16 * i}, y)
		h[i].mask = y
	}
	return h
}

func (h float64s) load(v reg.Register) {
	switch {
	case !h.l.tail:
		VMOVUPD(h.at, v)
	case h.l.wide():
		VMOVUPD_Z(h.at, h.mask, v)
	default:
		VMASKMOVPD(h.at, h.mask, v)
	}
}

func (h float64s) store(v reg.Register) {
	switch {
	case !h.l.tail:
		VMOVUPD(v, h.at)
	case h.l.wide():
		VMOVUPD(v, h.mask, h.at)
	default:
		VMASKMOVPD(v, h.mask, h.at)
	}
}

func fakeQuantColsBackward(m machine) {
	m.fn("fakeQuantColsBackward", "(dx, x, dy, alpha, zp []float32, qn, qp float32, dalpha, dzp []float64, rows, n int, acc bool)", "adds the columns' gradients; rows and n are positive, dx, zp and dzp may be nil.")
	dx, x, dy, alpha, zp := base("dx"), base("x"), base("dy"), base("alpha"), base("zp")
	dalpha, dzp := base("dalpha"), base("dzp")
	n, acc := integer("n"), truth("acc")
	lim := quantizer{qn: m.constant("qn"), qp: m.constant("qp")}
	s := stride(n)
	m.each(n, func(l lane) {
		z := l.columnwise(alpha, zp, lim)
		sums, zeros := [2]reg.VecVirtual{m.vec(), m.vec()}, [2]reg.VecVirtual{m.zero(), m.zero()}
		for i, h := range l.halves(dalpha) {
			h.load(sums[i])
		}
		noZero, noZeroOut := label("noZero"), label("noZero")
		TESTQ(dzp, dzp)
		JZ(LabelRef(noZero))
		for i, h := range l.halves(dzp) {
			h.load(zeros[i])
		}
		Label(noZero)
		// idx walks down the rows and is put back at the end.
		count, i := integer("rows"), GP64()
		MOVQ(l.idx, i)
		down := l
		down.idx = i
		loop := label("down")
		Label(loop)
		later := GP64() // rows are too far apart for the processor to foresee
		LEAQ(Mem{Base: i, Index: s, Scale: 8}, later)
		for _, p := range []reg.GPVirtual{x, dy} {
			PREFETCHT0(Mem{Base: p, Index: later, Scale: 1})
		}
		g := down.load(dy)
		term, in, out := down.backward(down.load(x), g, z)
		down.put(in, dx, acc)
		noZeros := label("noZeros")
		TESTQ(dzp, dzp)
		JZ(LabelRef(noZeros))
		a, o := m.widen(z.alpha()), m.widen(out)
		for h := range 2 {
			VFNMADD231PD(a[h], o[h], zeros[h])
		}
		Label(noZeros)
		t, d := m.widen(term), m.widen(g)
		for h := range 2 {
			VFMADD231PD(t[h], d[h], sums[h])
		}
		ADDQ(s, i)
		DECQ(count)
		JNZ(LabelRef(loop))
		for i, h := range l.halves(dalpha) {
			h.store(sums[i])
		}
		TESTQ(dzp, dzp)
		JZ(LabelRef(noZeroOut))
		for i, h := range l.halves(dzp) {
			h.store(zeros[i])
		}
		Label(noZeroOut)
	})
	end()
}

func quantizeU8(m machine) {
	m.fn("quantizeU8", "(dst []uint8, x []float32, alpha, zp, qn, qp, offset float32)", "writes the codes of whole vectors (all elements for AVX-512) as bytes.")
	dst, x, n := base("dst"), base("x"), length("dst")
	z, offset := m.scalars(), m.constant("offset")
	if !m.wide() {
		ANDQ(I32(-8), n)
	}
	step := func(l lane) {
		v := l.load(x)
		VDIVPS(z.alpha(), v, v)
		q := l.code(v, z)
		VADDPS(offset(), q, q)
		VCVTPS2DQ(q, q)
		d := Mem{Base: dst}
		switch {
		case l.wide() && l.tail:
			VPMOVDB(q, l.mask, d)
		case l.wide():
			VPMOVDB(q, d)
		case !l.tail:
			hi := XMM()
			VPSHUFB(lowBytes(), q, q)
			VEXTRACTI128(Imm(1), q, hi)
			VPUNPCKLDQ(hi, q.AsX(), hi)
			VMOVQ(hi, d)
		}
		ADDQ(Imm(uint64(m.lanes)), dst)
	}
	m.each(n, step)
	end()
}

// lowBytes gathers the low byte of each element in the first four bytes of its
// 128-bit half.
func lowBytes() Mem { return c32("lowBytes", 0x0c080400) }
