package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// nearGelu is wideGelu with few operations: the lines that find the bins give floats from
// 768 on, which are multiples of 2^-14, so that their bits are cut to 32 bins as integers;
// the bin and the sign of the distance to its step are one look-up for 64 codes.
func nearGelu(m machine) {
	m.fn("nearGelu64", "(p *byte)", "is dequantGeluTile64 on machines with AVX512-VBMI2.")
	e := &strip{machine: m, p: integer("p")}
	pointer := func(field int) reg.GPVirtual {
		p := GP64()
		MOVQ(e.arg(field), p)
		return p
	}
	tile, offset, factor, dst, bins := pointer(epiTile), pointer(epiOffset), pointer(epiFactor), pointer(epiDst), pointer(epiBins)
	vectors := func(base reg.GPVirtual, at, n int) (v []reg.VecVirtual) {
		for j := range n {
			v = append(v, m.vec())
			VMOVUPS(Mem{Base: base, Disp: at + 64*j}, v[j])
		}
		return v
	}
	number := func(at int) reg.VecVirtual {
		v := m.vec()
		VBROADCASTSS(Mem{Base: bins, Disp: at}, v)
		return v
	}
	bias := vectors(pointer(epiBias), 0, 4) // of these alone a model's file says where they lie
	low, codes := vectors(bins, binsLow, 2), vectors(bins, binsPairs, 1)[0]
	slope := [2]reg.VecVirtual{number(binsSlope), number(binsSlope + 4)}
	start := [2]reg.VecVirtual{number(binsFixed), number(binsFixed + 4)}
	first, last, order := m.get(f32("firstBin", 768)), m.get(f32("topBin", 799.5)), m.vec()
	VMOVUPS(lowBytes2(), order)
	least := [2]reg.VecVirtual{m.get(c32("allOnes", 0xffffffff)), m.get(c32("allOnes", 0xffffffff))}
	rows, loop := pointer(epiRows), label("row")
	Label(loop)
	v := vectors(tile, 0, 4)
	var a, b [4]reg.VecVirtual
	side := func(f func(j int)) {
		for j := range v {
			f(j)
		}
	}
	side(func(j int) { VPSUBD(Mem{Base: offset, Disp: 64 * j}, v[j], v[j]) })
	side(func(j int) { VCVTDQ2PS(v[j], v[j]) })
	side(func(j int) { VMULPS(Mem{Base: factor, Disp: 64 * j}, v[j], v[j]) })
	side(func(j int) { VADDPS(bias[j], v[j], v[j]) })
	side(func(j int) {
		a[j], b[j] = m.vec(), m.vec()
		VMOVAPS(start[0], a[j])
		VFMADD231PS(slope[0], v[j], a[j])
		VMOVAPS(start[1], b[j])
		VFMADD231PS(slope[1], v[j], b[j])
	})
	side(func(j int) { VPMAXSD(b[j], a[j], a[j]) })
	side(func(j int) { VPMINSD(last, a[j], a[j]) })
	side(func(j int) { VPMAXSD(first, a[j], a[j]) })
	side(func(j int) { VPSRLD(Imm(14), a[j], a[j]) }) // bits 0 to 4 are the bin
	side(func(j int) {
		VMOVAPS(a[j], b[j])
		VPERMI2PS(low[1], low[0], b[j])
	})
	side(func(j int) { VSUBPS(b[j], v[j], v[j]) })
	// As integers all negative numbers are great.
	side(func(j int) { VPMINUD(v[j], least[j%2], least[j%2]) })
	side(func(j int) { VPSHLDD(Imm(1), v[j], a[j], a[j]) })
	for _, j := range []int{0, 2} {
		VPERMT2B(a[j+1], order, a[j])
	}
	VINSERTI64X4(Imm(1), a[2].AsY(), a[0], a[0])
	VPERMB(codes, a[0], a[0])
	VMOVUPS(a[0], Mem{Base: dst})
	ADDQ(e.arg(epiLDT), tile)
	ADDQ(e.arg(epiLDD), dst)
	DECQ(rows)
	JNZ(LabelRef(loop))
	near, q, widest := GP64(), K(), m.vec()
	VPMINUD(least[1], least[0], least[0])
	VPBROADCASTD(Mem{Base: bins, Disp: binsWidest}, widest)
	VPCMPUD(Imm(2), widest, least[0], q) // least <= widest
	KMOVW(q, near.As32())
	MOVQ(near, e.arg(epiNear))
	end()
}
