package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// heads32 emits the epilogue of heads of 32 columns, two rows at a time: their codes are
// one vector. The least code is 0.
func heads32(m machine) {
	h := newPair(m, "headCodes32", "writes the codes of up to 64 rows of a head of 32 columns; p points to a headArgs, whose least code is 0.")
	h.rows(func(r pairRows) { h.write(h.values(r), r) })
	end()
	h = newPair(m, "headNormCodes32", "normalises up to 64 rows of a head of 32 columns and writes their codes; p points to a headArgs, whose least code is 0.")
	h.normalised()
	end()
}

// pair is a head of two vectors of a tile.
type pair struct {
	quantRows
	offset, factor, bias [2]reg.VecVirtual
	alpha, inv, hi       reg.VecVirtual
	zero, order          reg.VecVirtual
}

// pairRows are two rows: their addresses in the tile and their numbers. They are the same
// row where the last one is left without another.
type pairRows struct{ at, row [2]reg.GPVirtual }

func newPair(m machine, name, doc string) *pair {
	m.fn(name, "(p *byte)", doc)
	h := &pair{quantRows: quantRows{m, integer("p")}}
	h.offset, h.factor, h.bias = h.columns(headOffset), h.columns(headFactor), h.columns(headBias)
	h.alpha, h.inv, h.hi = h.broadcast(headAlpha), h.broadcast(headInv), h.broadcast(headHi)
	h.zero, h.order = m.vec(), m.vec()
	VPBROADCASTW(h.arg(headZero), h.zero)
	VMOVUPS(byteOrder(), h.order)
	return h
}

func (h *pair) columns(field int) (v [2]reg.VecVirtual) {
	p := h.integer(field)
	for j := range v {
		v[j] = h.vec()
		VMOVUPS(Mem{Base: p, Disp: 64 * j}, v[j])
	}
	return v
}

// rows runs body for every two rows.
func (h *pair) rows(body func(r pairRows)) {
	var r pairRows
	for i := range 2 {
		r.at[i], r.row[i] = GP64(), GP64()
	}
	last := h.integer(headRows)
	DECQ(last)
	MOVQ(h.arg(headTile), r.at[0])
	XORQ(r.row[0], r.row[0])
	loop := label("pairs")
	Label(loop)
	MOVQ(r.at[0], r.at[1])
	ADDQ(h.arg(headLDT), r.at[1])
	LEAQ(Mem{Base: r.row[0], Disp: 1}, r.row[1])
	CMPQ(r.row[0], last)
	CMOVQGE(r.at[0], r.at[1])
	CMOVQGE(r.row[0], r.row[1])
	body(r)
	MOVQ(r.at[1], r.at[0])
	ADDQ(h.arg(headLDT), r.at[0])
	ADDQ(Imm(2), r.row[0])
	CMPQ(r.row[0], last)
	JLE(LabelRef(loop))
}

// values computes the values of two rows.
func (h *pair) values(r pairRows) (v [2][2]reg.VecVirtual) {
	for i, at := range r.at {
		for j := range v[i] {
			x := h.vec()
			VMOVUPS(Mem{Base: at, Disp: 64 * j}, x)
			VPSUBD(h.offset[j], x, x)
			VCVTDQ2PS(x, x)
			VMULPS(h.factor[j], x, x)
			VADDPS(h.bias[j], x, x)
			v[i][j] = x
		}
	}
	return v
}

// write writes the codes of two rows. What lies below the least code, and NaN, become
// negative integers, which saturate to 0.
func (h *pair) write(v [2][2]reg.VecVirtual, r pairRows) {
	for i := range v {
		for _, x := range v[i] {
			q := h.vec()
			VMINPS(x, h.hi, x)
			VMULPS(h.inv, x, q)
			VFNMADD231PS(h.alpha, q, x)
			VFMADD213PS(q, h.inv, x)
			VCVTPS2DQ(x, x)
		}
		VPACKSSDW(v[i][1], v[i][0], v[i][0])
		VPADDW(h.zero, v[i][0], v[i][0])
	}
	codes := v[0][0]
	VPACKUSWB(v[1][0], codes, codes)
	VPERMD(codes, h.order, codes)
	for i, row := range r.row {
		d := h.to(row)
		IMULQ(h.arg(headLDD), d)
		ADDQ(h.arg(headDst), d)
		if i == 0 {
			VMOVDQU(codes.AsY(), Mem{Base: d})
		} else {
			VEXTRACTI64X4(Imm(1), codes, Mem{Base: d})
		}
	}
}

// to is the row of dst that a row becomes.
func (h *pair) to(row reg.GPVirtual) reg.GPVirtual {
	d, to := GP64(), h.integer(headTo)
	MOVLQSX(Mem{Base: to, Index: row, Scale: 4}, d)
	return d
}

// normalised emits rows that are normalised first: their values and sums, the means of 16
// rows at once, the same for the deviations, then the codes.
func (h *pair) normalised() {
	m := h.machine
	stats := h.integer(headStats)
	n := GP64()
	MOVQ(U32(32), n)
	size := m.count(n)
	sums := func(row reg.GPVirtual) Mem {
		at := GP64()
		MOVQ(row, at)
		SHLQ(Imm(6), at)
		return Mem{Base: stats, Index: at, Scale: 1, Disp: headSums}
	}
	h.rows(func(r pairRows) {
		v := h.values(r)
		for i := range v {
			for j, x := range v[i] {
				VMOVUPS(x, Mem{Base: r.at[i], Disp: 64 * j})
			}
			sum := m.vec()
			VADDPS(v[i][1], v[i][0], sum)
			VMOVUPS(sum, sums(r.row[i]))
		}
	})
	all := &head{quantRows: h.quantRows}
	all.sixteens(func(at reg.GPVirtual, sum reg.VecVirtual) {
		VDIVPS(size, sum, sum)
		VMOVUPS(sum, Mem{Base: at})
	})
	// each gives the deviations of two rows.
	each := func(r pairRows) (v [2][2]reg.VecVirtual) {
		for i := range v {
			mean := m.vec()
			VBROADCASTSS(Mem{Base: stats, Index: r.row[i], Scale: 4}, mean)
			for j := range v[i] {
				v[i][j] = m.vec()
				VMOVUPS(Mem{Base: r.at[i], Disp: 64 * j}, v[i][j])
				VSUBPS(mean, v[i][j], v[i][j])
			}
		}
		return v
	}
	h.rows(func(r pairRows) {
		for i, v := range each(r) {
			VMULPS(v[0], v[0], v[0])
			VFMADD231PS(v[1], v[1], v[0])
			VMOVUPS(v[0], sums(r.row[i]))
		}
	})
	eps := h.broadcast(headEps)
	all.sixteens(func(at reg.GPVirtual, sum reg.VecVirtual) {
		rstd := m.get(one())
		VDIVPS(size, sum, sum)
		VADDPS(eps, sum, sum)
		VSQRTPS(sum, sum)
		VDIVPS(sum, rstd, rstd)
		VMOVUPS(rstd, Mem{Base: at, Disp: headSums / 2})
		// The sums of the first 16 rows are no longer needed.
		VMOVUPS(one(), sum)
		VDIVPS(rstd, sum, sum)
		VMOVUPS(sum, Mem{Base: at, Disp: headSums})
	})
	for _, f := range [][2]int{{headMean, 0}, {headSpread, headSums}} {
		none, next := label("noMoments"), label("moments")
		moments, i := h.integer(f[0]), GP64()
		TESTQ(moments, moments)
		JZ(LabelRef(none))
		XORQ(i, i)
		Label(next)
		to, t := h.to(i), GP32()
		MOVL(Mem{Base: stats, Index: i, Scale: 4, Disp: f[1]}, t)
		MOVL(t, Mem{Base: moments, Index: to, Scale: 4})
		INCQ(i)
		CMPQ(i, h.arg(headRows))
		JLT(LabelRef(next))
		Label(none)
	}

	codes := func(scaled func(v [2][2]reg.VecVirtual)) {
		h.rows(func(r pairRows) {
			v := each(r)
			for i := range v {
				k := m.vec()
				VBROADCASTSS(Mem{Base: stats, Index: r.row[i], Scale: 4, Disp: headSums / 2}, k)
				for _, x := range v[i] {
					VMULPS(k, x, x)
				}
			}
			scaled(v)
			h.write(v, r)
		})
	}
	plain, out := label("plain"), label("out")
	CMPQ(h.arg(headGamma), Imm(0))
	JEQ(LabelRef(plain))
	gamma, beta := h.columns(headGamma), h.columns(headBeta)
	codes(func(v [2][2]reg.VecVirtual) {
		for i := range v {
			for j, x := range v[i] {
				VFMADD213PS(beta[j], gamma[j], x)
			}
		}
	})
	JMP(LabelRef(out))
	Label(plain)
	codes(func([2][2]reg.VecVirtual) {})
	Label(out)
}
