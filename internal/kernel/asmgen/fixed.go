package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// fixed is a quantiser that reads codes off the bits of floats from 128 to 256, which are
// whole multiples of 2^-16: byte 2 is the code, bytes 0 and 1 are how far the value lies
// above the step to it. See kernel's fixedGrid.
type fixed struct {
	machine
	inv, zero         reg.VecVirtual // 1/alpha; what is added to the values in units of alpha
	low, top          reg.VecVirtual // limits
	order, ones, near reg.VecVirtual
	factors, summands reg.VecVirtual // greatest magnitudes
	least             [4]reg.VecVirtual
}

// fixed loads the quantiser whose 1/alpha is at inv, and whose zero and limits lie at the
// field.
func (q quantRows) fixed(inv, field int) *fixed {
	f := &fixed{
		machine: q.machine, inv: q.broadcast(inv), zero: q.broadcast(field), low: q.broadcast(field + 8), top: q.broadcast(field + 16), order: q.vec(),
		ones: q.get(c32("allOnes", 0xffffffff)), near: q.get(c32("fixedNear", 4)), factors: q.get(f32("zero", 0)), summands: q.get(f32("zero", 0)),
	}
	VMOVUPS(thirdBytes(), f.order)
	return f
}

// columns turns factors and summands of the values into those of the fixed point.
func (f *fixed) columns(factor, summand reg.VecVirtual) {
	VMULPS(f.inv, factor, factor)
	f.greater(factor, f.factors)
	f.greater(summand, f.summands)
	VFMADD213PS(f.zero, f.inv, summand)
}

// greater keeps the greater magnitude; as integers those of what is no number are greatest.
func (f *fixed) greater(v, most reg.VecVirtual) {
	t := f.vec()
	VPANDD_BCST(magnBits(), v, t)
	VPMAXUD(t, most, most)
}

// bounded clears bad, or sets all its bits where columns lie beyond what the bound of the
// error is for.
func (f *fixed) bounded(bad reg.GPVirtual) {
	VMULPS(f.inv, f.summands, f.summands)
	k, both := K(), K()
	VCMPPS_BCST(Imm(cmpLE), f32("fixedSummand", 32), f.summands, k)
	VCMPPS_BCST(Imm(cmpLE), f32("fixedFactor", 1<<20), f.factors, k, both)
	t := GP64()
	XORQ(bad, bad)
	MOVQ(I32(-1), t)
	KORTESTW(both, both)
	CMOVQCC(t, bad) // not all lanes
}

// begin starts a row, or several.
func (f *fixed) begin() {
	for j := range f.least {
		f.least[j] = f.vec()
		VMOVAPS(f.ones, f.least[j])
	}
}

// write writes the codes of one or four vectors.
func (f *fixed) write(v []reg.VecVirtual, to reg.GPVirtual) {
	f.limit(v)
	for j := range v {
		VPMINUW(v[j], f.least[j], f.least[j])
	}
	f.store(v, to)
}

// row writes the codes of a row of four vectors and goes to exact where one of the values
// lay near a step.
func (f *fixed) row(v []reg.VecVirtual, to reg.GPVirtual, exact string) {
	f.limit(v)
	a, b := f.vec(), f.vec()
	VPMINUW(v[1], v[0], a)
	VPMINUW(v[3], v[2], b)
	VPMINUW(b, a, a)
	f.store(v, to)
	f.leave(a, exact)
}

// limit cuts the values off in the middle of the outer codes.
func (f *fixed) limit(v []reg.VecVirtual) {
	for j := range v {
		VPMINSD(f.top, v[j], v[j])
	}
	for j := range v {
		VPMAXSD(f.low, v[j], v[j])
	}
}

// store writes the third bytes of one or four vectors.
func (f *fixed) store(v []reg.VecVirtual, to reg.GPVirtual) {
	if len(v) == 1 {
		VPERMB(v[0], f.order, v[0])
		VMOVUPS(v[0].AsX(), Mem{Base: to})
		return
	}
	for j := 0; j < len(v); j += 2 {
		VPERMT2B(v[j+1], f.order, v[j])
	}
	VINSERTI64X4(Imm(1), v[2].AsY(), v[0], v[0])
	VMOVUPS(v[0], Mem{Base: to})
}

// end goes to exact where one of the values since begin lay near a step.
func (f *fixed) end(exact string) {
	l := f.least
	VPMINUW(l[1], l[0], l[0])
	VPMINUW(l[3], l[2], l[2])
	VPMINUW(l[2], l[0], l[0])
	f.leave(l[0], exact)
}

// leave goes to exact where one of the least distances is near.
func (f *fixed) leave(least reg.VecVirtual, exact string) {
	near := K()
	VPCMPUW(Imm(2), f.near, least, near) // least <= limit
	KORTESTD(near, near)
	JNZ(LabelRef(exact))
}

// thirdBytes gathers bytes 2 of 32 words of two vectors.
func thirdBytes() Mem { return bytesOfTwo("thirdBytesOfTwo", 2) }

// lowBytes2 gathers the low bytes of 32 words of two vectors.
func lowBytes2() Mem { return bytesOfTwo("lowBytesOfTwo", 0) }

func bytesOfTwo(name string, first int) Mem {
	if k, ok := constants[name]; ok {
		return k
	}
	k := GLOBL(name, NOPTR|RODATA)
	for i := range 16 {
		v := uint32(0)
		for j := range 4 {
			v |= uint32((4*i+j)%32*4+first) << (8 * j)
		}
		DATA(4*i, U32(v))
	}
	constants[name] = k
	return k
}
