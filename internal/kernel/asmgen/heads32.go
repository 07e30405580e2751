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
	h.rows(func(r twoRows) { h.write(h.values(r), r) })
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
	dst, ldd, to, stats  reg.GPVirtual
	mean, spread         reg.GPVirtual // where the moments go, nil: nowhere
}

// twoRows are the rows i and i+step: at is the tile's row i, ld the bytes to the other one.
// sums is where row i's vector to be combined lies. step is 0 where the last row is left
// without another, and done twice.
type twoRows struct {
	at, ld, sums, i reg.GPVirtual
	step            int
}

func (r twoRows) tile(k, j int) Mem {
	if k*r.step == 0 {
		return Mem{Base: r.at, Disp: 64 * j}
	}
	return Mem{Base: r.at, Index: r.ld, Scale: 1, Disp: 64 * j}
}

func (r twoRows) sum(k int) Mem { return Mem{Base: r.sums, Disp: 64 * k * r.step} }

// number is a number by row.
func (r twoRows) number(base reg.GPVirtual, k, disp int) Mem {
	return Mem{Base: base, Index: r.i, Scale: 4, Disp: 4*k*r.step + disp}
}

func newPair(m machine, name, doc string) *pair {
	m.fn(name, "(p *byte)", doc)
	h := &pair{quantRows: quantRows{m, integer("p")}}
	h.dst, h.ldd, h.to, h.stats = h.integer(headDst), h.integer(headLDD), h.integer(headTo), h.integer(headStats)
	h.alpha, h.inv, h.hi = h.broadcast(headAlpha), h.broadcast(headInv), h.broadcast(headHi)
	h.zero, h.order = m.vec(), m.vec()
	VPBROADCASTW(h.arg(headZero), h.zero)
	VMOVUPS(byteOrder(), h.order)
	h.offset, h.factor, h.bias = h.columns(headOffset), h.columns(headFactor), h.columns(headBias)
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
func (h *pair) rows(body func(r twoRows)) {
	r := twoRows{at: h.integer(headTile), ld: h.integer(headLDT), i: GP64(), sums: GP64(), step: 1}
	last := h.integer(headRows)
	LEAQ(Mem{Base: h.stats, Disp: headSums}, r.sums)
	DECQ(last)
	XORQ(r.i, r.i)
	loop, single, done := label("pairs"), label("single"), label("done")
	CMPQ(r.i, last)
	JGE(LabelRef(single))
	Label(loop)
	body(r)
	LEAQ(Mem{Base: r.at, Index: r.ld, Scale: 2}, r.at)
	ADDQ(I32(128), r.sums)
	ADDQ(Imm(2), r.i)
	CMPQ(r.i, last)
	JLT(LabelRef(loop))
	Label(single)
	JNE(LabelRef(done))
	r.step = 0
	body(r)
	Label(done)
}

// values computes the values of two rows.
func (h *pair) values(r twoRows) (v [2][2]reg.VecVirtual) {
	for k := range v {
		for j := range v[k] {
			x := h.vec()
			VMOVUPS(r.tile(k, j), x)
			VPSUBD(h.offset[j], x, x)
			VCVTDQ2PS(x, x)
			VMULPS(h.factor[j], x, x)
			VADDPS(h.bias[j], x, x)
			v[k][j] = x
		}
	}
	return v
}

// write writes the codes of two rows, and their moments where they are wanted. What lies
// below the least code, and NaN, become negative integers, which saturate to 0.
func (h *pair) write(v [2][2]reg.VecVirtual, r twoRows) {
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
	for k := range v {
		to, at := GP64(), GP64()
		MOVLQSX(r.number(h.to, k, 0), to)
		MOVQ(to, at)
		IMULQ(h.ldd, at)
		d := Mem{Base: h.dst, Index: at, Scale: 1}
		if k == 0 {
			VMOVDQU(codes.AsY(), d)
		} else {
			VEXTRACTI64X4(Imm(1), codes, d)
		}
		if h.mean == nil {
			continue
		}
		for i, moments := range []reg.GPVirtual{h.mean, h.spread} {
			t := GP32()
			MOVL(r.number(h.stats, k, i*headSums), t)
			MOVL(t, Mem{Base: moments, Index: to, Scale: 4})
		}
	}
}

// normalised emits rows that are normalised first: their values and sums, the means of 16
// rows at once, the same for the deviations, then the codes.
func (h *pair) normalised() {
	m := h.machine
	h.rows(func(r twoRows) {
		v := h.values(r)
		for k := range v {
			for j, x := range v[k] {
				VMOVUPS(x, r.tile(k, j))
			}
			sum := m.vec()
			VADDPS(v[k][1], v[k][0], sum)
			VMOVUPS(sum, r.sum(k))
		}
	})
	all := &head{quantRows: h.quantRows}
	share := m.get(f32("share32", 1.0/32)) // as exact as dividing by 32
	all.sixteens(func(at reg.GPVirtual, sum reg.VecVirtual) {
		VMULPS(share, sum, sum)
		VMOVUPS(sum, Mem{Base: at})
	})
	// each gives what two rows lie below their means.
	each := func(r twoRows) (v [2][2]reg.VecVirtual) {
		for k := range v {
			mean := m.vec()
			VBROADCASTSS(r.number(h.stats, k, 0), mean)
			for j := range v[k] {
				v[k][j] = m.vec()
				VSUBPS(r.tile(k, j), mean, v[k][j])
			}
		}
		return v
	}
	h.rows(func(r twoRows) {
		for k, v := range each(r) {
			VMULPS(v[0], v[0], v[0])
			VFMADD231PS(v[1], v[1], v[0])
			VMOVUPS(v[0], r.sum(k))
		}
	})
	eps := h.broadcast(headEps)
	all.sixteens(func(at reg.GPVirtual, sum reg.VecVirtual) {
		rstd := m.get(one())
		VMULPS(share, sum, sum)
		VADDPS(eps, sum, sum)
		VSQRTPS(sum, sum)
		VDIVPS(sum, rstd, rstd)
		// The sums of the first 16 rows are no longer needed.
		VMOVUPS(one(), sum)
		VDIVPS(rstd, sum, sum)
		VMOVUPS(sum, Mem{Base: at, Disp: headSums})
		VXORPS(m.get(signBit()), rstd, rstd)
		VMOVUPS(rstd, Mem{Base: at, Disp: headSums / 2})
	})

	codes := func(scaled func(v [2][2]reg.VecVirtual)) {
		h.rows(func(r twoRows) {
			v := each(r)
			for k := range v {
				rstd := m.vec()
				VBROADCASTSS(r.number(h.stats, k, headSums/2), rstd)
				for _, x := range v[k] {
					VMULPS(rstd, x, x)
				}
			}
			scaled(v)
			h.write(v, r)
		})
	}
	out := label("out")
	moments := func() {
		plain := label("plain")
		CMPQ(h.arg(headGamma), Imm(0))
		JEQ(LabelRef(plain))
		gamma, beta := h.columns(headGamma), h.columns(headBeta)
		codes(func(v [2][2]reg.VecVirtual) {
			for k := range v {
				for j, x := range v[k] {
					VFMADD213PS(beta[j], gamma[j], x)
				}
			}
		})
		JMP(LabelRef(out))
		Label(plain)
		codes(func([2][2]reg.VecVirtual) {})
	}
	none := label("noMoments")
	CMPQ(h.arg(headMean), Imm(0))
	JEQ(LabelRef(none))
	h.mean, h.spread = h.integer(headMean), h.integer(headSpread)
	moments()
	JMP(LabelRef(out))
	Label(none)
	h.mean = nil
	moments()
	Label(out)
}
