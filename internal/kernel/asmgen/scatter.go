package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dequantAddTo emits dequantAdd of whole vectors whose rows go to, and are added to, any rows;
// epiRow names them.
func dequantAddTo(m machine, nv int, name string) {
	m.fn(name, "(p *byte)", "writes the sums of res and the values of a tile whose row i is row row[i] of dst and res; p points to an epilogueArgs.")
	q := quantRows{m, integer("p")}
	columns := func(field int) (v []reg.VecVirtual) {
		p := q.integer(field)
		for j := range nv {
			v = append(v, m.vec())
			VMOVUPS(Mem{Base: p, Disp: 64 * j}, v[j])
		}
		return v
	}
	offset, factor, bias := columns(epiOffset), columns(epiFactor), columns(epiBias)
	tile, to, dst, res, left := q.integer(epiTile), q.integer(epiRow), q.integer(epiDst), q.integer(epiRes), q.integer(epiRows)
	ldt, ldd, ldr := q.integer(epiLDT), q.integer(epiLDD), q.integer(epiLDR)
	loop := label("row")
	Label(loop)
	d, r := GP64(), GP64()
	MOVLQSX(Mem{Base: to}, d)
	MOVQ(d, r)
	IMULQ(ldd, d)
	IMULQ(ldr, r)
	ADDQ(dst, d)
	ADDQ(res, r)
	for j := range nv {
		v := m.vec()
		VMOVUPS(Mem{Base: tile, Disp: 64 * j}, v)
		VPSUBD(offset[j], v, v)
		VCVTDQ2PS(v, v)
		VMULPS(factor[j], v, v)
		VADDPS(bias[j], v, v)
		VADDPS(Mem{Base: r, Disp: 64 * j}, v, v)
		VMOVUPS(v, Mem{Base: d, Disp: 64 * j})
	}
	ADDQ(ldt, tile)
	ADDQ(Imm(4), to)
	DECQ(left)
	JNZ(LabelRef(loop))
	end()
}
