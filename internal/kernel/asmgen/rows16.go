package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// quantizeRows16 is maxAbs, the scale and quantize16 for row after row: the processor
// looks for the greatest of the next row while it rounds one. No product exceeds top16
// by as much as a half, so nothing is cut off.
func quantizeRows16(m machine) {
	m.fn("quantizeRows16", "(dst *int16, ldd int, scale, x *float32, ldx int, factor *float32, rows, n int)",
		"writes round(x·factor·inv) and the scale of every row; factor may be nil; ldd and ldx are in bytes, rows and n are positive.")
	dst, ldd, scale, x, ldx, f := integer("dst"), integer("ldd"), integer("scale"), integer("x"), integer("ldx"), integer("factor")
	count, n := integer("rows"), integer("n")
	r := m.row(n)
	sign := m.get(magnBits())
	top, least := m.get(f32("top16", top16)), m.get(f32("least16", 0x1p-100))
	variants([]reg.GPVirtual{f}, func(set []bool) {
		next := label("rows")
		Label(next)
		values := func(l lane) reg.VecVirtual {
			v := l.load(x)
			if set[0] {
				VMULPS(l.load(f), v, v)
			}
			return v
		}
		most := m.zero()
		r.each(func(l lane) {
			v := values(l)
			VANDPS(sign, v, v)
			VMAXPS(v, most, most)
		})
		m.spread(most, fmax)
		q := m.compare(cmpLE, least, most)
		inv, s := m.vec(), m.vec()
		VDIVPS_Z(most, top, q, inv)
		VDIVPS_Z(top, most, q, s)
		VMOVSS(s.AsX(), Mem{Base: scale})
		to := GP64()
		MOVQ(dst, to)
		r.each(func(l lane) {
			v := values(l)
			VMULPS(inv, v, v)
			VCVTPS2DQ(v, v)
			if l.tail {
				VPMOVDW(v, l.mask, Mem{Base: to})
			} else {
				VPMOVDW(v, Mem{Base: to})
			}
			ADDQ(Imm(uint64(2*m.lanes)), to)
		})
		ADDQ(Imm(4), scale)
		ADDQ(ldd, dst)
		ADDQ(ldx, x)
		DECQ(count)
		JNZ(LabelRef(next))
	})
}
