package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// normWide is layerNormQuantize for rows of whole vectors on the wide machine: the
// same arithmetic in three phases of up to 16 rows, whose means and deviations are
// found together. The scratch is the means (one vector), the reciprocal deviations, and
// a vector of sums for each row; then, where codes are found by their distance to a step,
// factors and summands by column.
func normWide(m machine, near bool) {
	if near {
		m.fn("nearNorm16", "(p *byte)", "is layerNormCodes16 with a fixed point; its scratch holds two rows more.")
	} else {
		m.fn("layerNormCodes16", "(p *byte)", "normalises up to 16 rows of whole vectors and writes their codes; p points to a rowArgs with an inverse, gamma, beta and 18 vectors of scratch.")
	}
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
	// along runs body for each vector of a row, four at a time while there are four.
	along := func(body func(at reg.GPVirtual, vectors int)) {
		at, four, one, loop, done := GP64(), label("four"), label("one"), label("along"), label("alongDone")
		XORQ(at, at)
		Label(four)
		ADDQ(I32(256), at)
		CMPQ(at, n)
		JGT(LabelRef(one))
		SUBQ(I32(256), at)
		body(at, 4)
		ADDQ(I32(256), at)
		JMP(LabelRef(four))
		Label(one)
		SUBQ(I32(256), at)
		Label(loop)
		CMPQ(at, n)
		JGE(LabelRef(done))
		body(at, 1)
		ADDQ(Imm(64), at)
		JMP(LabelRef(loop))
		Label(done)
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
	element := func(base, at reg.GPVirtual, j int) Mem { return Mem{Base: base, Index: at, Scale: 1, Disp: 64 * j} }
	rows(func(x, i reg.GPVirtual) {
		sum := m.get(f32("zero", 0))
		along(func(at reg.GPVirtual, vectors int) {
			for j := range vectors {
				VADDPS(element(x, at, j), sum, sum)
			}
		})
		VMOVUPS(sum, sums(i))
	})
	VMOVUPS(total(), Mem{Base: stats})
	// deviations loads vectors of a row, less its mean.
	deviations := func(x, at reg.GPVirtual, mean reg.VecVirtual, vectors int) (v []reg.VecVirtual) {
		for j := range vectors {
			v = append(v, m.vec())
			VMOVUPS(element(x, at, j), v[j])
		}
		for j := range v {
			VSUBPS(mean, v[j], v[j])
		}
		return v
	}
	rows(func(x, i reg.GPVirtual) {
		mean, sq := number(i, 0), m.get(f32("zero", 0))
		along(func(at reg.GPVirtual, vectors int) {
			for _, v := range deviations(x, at, mean, vectors) {
				VFMADD231PS(v, v, sq)
			}
		})
		VMOVUPS(sq, sums(i))
	})
	k, rstd := total(), m.get(one())
	VADDPS(q.broadcast(rowEps), k, k)
	VSQRTPS(k, k)
	VDIVPS(k, rstd, rstd)
	VMOVUPS(rstd, Mem{Base: stats, Disp: 64})
	var f *fixed
	factors, summands, bad := GP64(), GP64(), GP64()
	if near {
		// Behind the sums, which are of no more use but to this.
		LEAQ(Mem{Base: stats, Disp: 128 + 16*64}, factors)
		LEAQ(Mem{Base: factors, Index: n, Scale: 1}, summands)
		f = q.fixed(rowInv, rowFixed)
		gamma, beta := q.integer(rowGamma), q.integer(rowBeta)
		along(func(at reg.GPVirtual, vectors int) {
			for j := range vectors {
				g, b := m.vec(), m.vec()
				VMOVUPS(element(gamma, at, j), g)
				VMOVUPS(element(beta, at, j), b)
				f.columns(g, b)
				VMOVUPS(g, element(factors, at, j))
				VMOVUPS(b, element(summands, at, j))
			}
		})
		f.bounded(bad)
		number, t := K(), GP64()
		VCMPPS_BCST(Imm(cmpLE), f32("fixedDeviation", 1e30), rstd, number)
		KMOVW(number, t.As32())
		NOTQ(t)
		ORQ(t, bad)
	}
	z, gamma, beta := q.inverse(), q.integer(rowGamma), q.integer(rowBeta)
	rows(func(x, i reg.GPVirtual) {
		mean, k, d := number(i, 0), number(i, 64), q.integer(rowDst)
		exact, done := label("exact"), label("normDone")
		if near {
			f.begin()
			to := GP64()
			MOVQ(d, to)
			along(func(at reg.GPVirtual, vectors int) {
				v := deviations(x, at, mean, vectors)
				for j := range v {
					VMULPS(k, v[j], v[j])
				}
				for j := range v {
					s := m.vec()
					VMOVUPS(element(factors, at, j), s)
					VFMADD213PS(element(summands, at, j), s, v[j])
				}
				f.write(v, to)
				ADDQ(Imm(uint64(16*vectors)), to)
			})
			f.end(exact)
			BTQ(i, bad)
			JCC(LabelRef(done))
			Label(exact)
		}
		along(func(at reg.GPVirtual, vectors int) {
			v := deviations(x, at, mean, vectors)
			for j := range v {
				VMULPS(k, v[j], v[j])
			}
			for j := range v {
				g := m.vec()
				VMOVUPS(element(gamma, at, j), g)
				VFMADD213PS(element(beta, at, j), g, v[j])
			}
			for j := range v {
				z.codes(m, v[j])
				VPMOVDB(v[j], Mem{Base: d, Disp: 16 * j})
			}
			ADDQ(Imm(uint64(16*vectors)), d)
		})
		Label(done)
		t := q.integer(rowLDD)
		ADDQ(t, q.arg(rowDst))
	})
	end()
}
