package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Epilogues of whole panels on the wide machine: a row of four vectors at a time, so
// that what is written is a whole line of codes.

// wideRows is a loop over the rows of a tile of 64 columns; rows of zero points by row
// are not served.
type wideRows struct {
	strip
	tile         reg.GPVirtual
	factor, bias []reg.VecVirtual
	offset       reg.GPVirtual
}

func newWideRows(m machine, name, doc string) *wideRows {
	m.fn(name+"Tile64", "(p *byte)", doc+" of a tile of 64 columns; p points to an epilogueArgs, whose row is not read.")
	w := &wideRows{strip: strip{machine: m, p: integer("p")}, tile: GP64(), offset: GP64()}
	w.dst = GP64()
	MOVQ(w.arg(epiTile), w.tile)
	MOVQ(w.arg(epiDst), w.dst)
	MOVQ(w.arg(epiOffset), w.offset)
	for _, a := range []struct {
		field int
		v     *[]reg.VecVirtual
	}{{epiFactor, &w.factor}, {epiBias, &w.bias}} {
		p := GP64()
		MOVQ(w.arg(a.field), p)
		for j := range 4 {
			v := m.vec()
			VMOVUPS(Mem{Base: p, Disp: 64 * j}, v)
			*a.v = append(*a.v, v)
		}
	}
	return w
}

// each runs body for each row; the function is still to be ended.
func (w *wideRows) each(body func()) {
	n, loop := GP64(), label("row")
	MOVQ(w.arg(epiRows), n)
	Label(loop)
	body()
	ADDQ(w.arg(epiLDT), w.tile)
	ADDQ(w.arg(epiLDD), w.dst)
	DECQ(n)
	JNZ(LabelRef(loop))
}

// value computes vector j of the row.
func (w *wideRows) value(j int) reg.VecVirtual {
	v := w.vec()
	VMOVUPS(Mem{Base: w.tile, Disp: 64 * j}, v)
	VPSUBD(Mem{Base: w.offset, Disp: 64 * j}, v, v)
	VCVTDQ2PS(v, v)
	VMULPS(w.factor[j], v, v)
	VADDPS(w.bias[j], v, v)
	return v
}

func wideEpilogues(m machine) {
	w := newWideRows(m, "dequantAdd", "writes the sums of res and the values")
	w.res = GP64()
	MOVQ(w.arg(epiRes), w.res)
	var offset []reg.VecVirtual
	for j := range 4 {
		offset = append(offset, m.vec())
		VMOVUPS(Mem{Base: w.offset, Disp: 64 * j}, offset[j])
	}
	w.each(func() {
		var v [4]reg.VecVirtual
		side := func(f func(j int)) {
			for j := range v {
				f(j)
			}
		}
		side(func(j int) {
			v[j] = m.vec()
			VMOVUPS(Mem{Base: w.tile, Disp: 64 * j}, v[j])
		})
		side(func(j int) { VPSUBD(offset[j], v[j], v[j]) })
		side(func(j int) { VCVTDQ2PS(v[j], v[j]) })
		side(func(j int) { VMULPS(w.factor[j], v[j], v[j]) })
		side(func(j int) { VADDPS(w.bias[j], v[j], v[j]) })
		// The residual is the first operand of the sum, as in dequantAdd.
		side(func(j int) { VADDPS(v[j], w.residual(j), v[j]) })
		side(func(j int) { VMOVUPS(v[j], Mem{Base: w.dst, Disp: 64 * j}) })
		ADDQ(w.arg(epiLDR), w.res)
	})
	end()
	wideGelu(m)
}

// residual is the residual's vector j, the first operand of the sum as in dequantAdd.
func (w *wideRows) residual(j int) reg.VecVirtual {
	r := w.vec()
	VMOVUPS(Mem{Base: w.res, Disp: 64 * j}, r)
	return r
}

// wideGelu is geluTable with one look-up less: a value is near a step where it lies at
// most the widest step's width above the beginning of its bin's.
func wideGelu(m machine) {
	w := newWideRows(m, "dequantGelu", "writes the codes of GELU of the values")
	bins := GP64()
	MOVQ(w.arg(epiBins), bins)
	table := func(at int) (t [2]reg.VecVirtual) {
		for i := range t {
			t[i] = m.vec()
			VMOVUPS(Mem{Base: bins, Disp: at + 64*i}, t[i])
		}
		return t
	}
	number := func(at int) reg.VecVirtual {
		v := m.vec()
		VBROADCASTSS(Mem{Base: bins, Disp: at}, v)
		return v
	}
	low, codes := table(binsLow), table(binsCodes)
	slope := [2]reg.VecVirtual{number(binsSlope), number(binsSlope + 4)}
	start := [2]reg.VecVirtual{number(binsStart), number(binsStart + 4)}
	order, zero, last, least := m.vec(), m.zero(), m.get(f32("lastBin", 31)), m.vec()
	VMOVUPS(byteOrder(), order)
	VPTERNLOGD(Imm(0xff), least, least, least)
	w.each(func() {
		var t []reg.VecVirtual
		for j := range 4 {
			v := w.value(j)
			a, b := m.vec(), m.vec()
			VMOVAPS(start[0], a)
			VFMADD231PS(slope[0], v, a)
			VMOVAPS(start[1], b)
			VFMADD231PS(slope[1], v, b)
			VMAXPS(b, a, a)
			VMINPS(last, a, a)
			VCVTTPS2DQ(a, a)
			VPMAXSD(zero, a, a)
			VMOVAPS(a, b)
			VPERMI2PS(low[1], low[0], b)
			above := K()
			VCMPPS(Imm(cmpLE), v, b, above)
			VSUBPS(b, v, v)
			// As integers all negative numbers are great.
			VPMINUD(v, least, least)
			VPERMI2D(codes[1], codes[0], a)
			VPSRLD(Imm(8), a, above, a)
			t = append(t, a)
		}
		lowest := m.get(c32("lowByte", 255))
		for j := range t {
			VPANDD(lowest, t[j], t[j])
		}
		packBytes(t, order)
		VMOVUPS(t[0], Mem{Base: w.dst})
	})
	near, q := GP64(), K()
	widest := m.vec()
	VPBROADCASTD(Mem{Base: bins, Disp: binsWidest}, widest)
	VPCMPUD(Imm(2), widest, least, q) // least <= widest
	KMOVW(q, near.As32())
	MOVQ(near, w.arg(epiNear))
	end()
}
