package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// normWide is layerNormQuantize for rows of whole vectors on the wide machine: the
// same arithmetic in three phases of up to 16 rows, whose means and deviations are
// found together. The scratch is the means (one vector), the reciprocal deviations, and
// a vector of sums for each row.
func normWide(m machine) {
	m.fn("layerNormCodes16", "(p *byte)", "normalises up to 16 rows of whole vectors and writes their codes; p points to a rowArgs with an inverse, gamma, beta and 18 vectors of scratch.")
	q := quantRows{m, integer("p")}
	n, stats := q.integer(rowN), q.integer(rowScratch)
	size := m.count(n)
	SHLQ(Imm(2), n)
	// rows runs body for each row at x, i being its number.
	rows := func(body func(x, i reg.GPVirtual)) {
		x, i, loop := q.integer(rowX), GP64(), label("rows")
		XORQ(i, i)
		Label(loop)
		body(x, i)
		ADDQ(q.arg(rowLDX), x)
		INCQ(i)
		CMPQ(i, q.arg(rowRows))
		JLT(LabelRef(loop))
	}
	// along runs body for each vector of the row at x.
	along := func(body func(at reg.GPVirtual)) {
		at, loop := GP64(), label("along")
		XORQ(at, at)
		Label(loop)
		body(at)
		ADDQ(Imm(64), at)
		CMPQ(at, n)
		JLT(LabelRef(loop))
	}
	sums := func(i reg.GPVirtual) Mem {
		at := GP64()
		MOVQ(i, at)
		SHLQ(Imm(6), at)
		return Mem{Base: stats, Index: at, Scale: 1, Disp: 128}
	}
	total := func() reg.VecVirtual {
		at := GP64()
		LEAQ(Mem{Base: stats, Disp: 128}, at)
		v := m.total16(at, fadd)
		VDIVPS(size, v, v)
		return v
	}
	number := func(i reg.GPVirtual, disp int) reg.VecVirtual {
		v := m.vec()
		VBROADCASTSS(Mem{Base: stats, Index: i, Scale: 4, Disp: disp}, v)
		return v
	}
	rows(func(x, i reg.GPVirtual) {
		sum := m.zero()
		along(func(at reg.GPVirtual) { VADDPS(Mem{Base: x, Index: at, Scale: 1}, sum, sum) })
		VMOVUPS(sum, sums(i))
	})
	VMOVUPS(total(), Mem{Base: stats})
	rows(func(x, i reg.GPVirtual) {
		mean, sq := number(i, 0), m.zero()
		along(func(at reg.GPVirtual) {
			v := m.vec()
			VMOVUPS(Mem{Base: x, Index: at, Scale: 1}, v)
			VSUBPS(mean, v, v)
			VFMADD231PS(v, v, sq)
		})
		VMOVUPS(sq, sums(i))
	})
	k, rstd := total(), m.get(one())
	VADDPS(q.broadcast(rowEps), k, k)
	VSQRTPS(k, k)
	VDIVPS(k, rstd, rstd)
	VMOVUPS(rstd, Mem{Base: stats, Disp: 64})
	z, gamma, beta, dst := q.inverse(), q.integer(rowGamma), q.integer(rowBeta), q.integer(rowDst)
	rows(func(x, i reg.GPVirtual) {
		mean, k, d := number(i, 0), number(i, 64), GP64()
		MOVQ(dst, d)
		along(func(at reg.GPVirtual) {
			v, g := m.vec(), m.vec()
			VMOVUPS(Mem{Base: x, Index: at, Scale: 1}, v)
			VSUBPS(mean, v, v)
			VMULPS(k, v, v)
			VMOVUPS(Mem{Base: gamma, Index: at, Scale: 1}, g)
			VFMADD213PS(Mem{Base: beta, Index: at, Scale: 1}, g, v)
			z.codes(m, v)
			VPMOVDB(v, Mem{Base: d})
			ADDQ(Imm(16), d)
		})
		ADDQ(q.arg(rowLDD), dst)
	})
	end()
}
