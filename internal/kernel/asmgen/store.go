package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// storeNibbles emits kernel's storeBytes of 4-bit codes for the wide machine: raised 4-bit codes of 64
// outputs as files have them become groups of 256 codes, as unpack4 reads them.
func storeNibbles(m machine) {
	m.fn("store4", "(dst *uint8, src *uint8, row int, steps int)", "stores 32 inputs of 64 outputs a step; rows of src are row bytes apart, steps is positive.")
	dst, src, row, steps := integer("dst"), integer("src"), integer("row"), integer("steps")
	low := m.get(c32("field4", 0x0f0f0f0f))
	loop := label("loop")
	Label(loop)
	at := GP64()
	MOVQ(src, at)
	for half := range 2 {
		var words [2][4]reg.VecVirtual
		for i := range words {
			words[i] = transposedRows(m, at, row)
		}
		for i := range 4 {
			x, y := words[0][i], words[1][i]
			even, odd, t := m.vec(), m.vec(), m.vec()
			VPSLLD(Imm(4), y, t)
			VMOVAPS(low, even)
			VPTERNLOGD(Imm(0xca), t, x, even) // low nibbles of x, high ones of t
			VPSRLD(Imm(4), x, t)
			VMOVAPS(low, odd)
			VPTERNLOGD(Imm(0xca), y, t, odd)
			a, b := m.vec(), m.vec()
			VPUNPCKLBW(odd, even, a)
			VPUNPCKHBW(odd, even, b)
			for q, imm := range []uint64{0x88, 0xdd} {
				g := m.vec()
				VSHUFPS(Imm(imm), b, a, g)
				VMOVUPS(g, Mem{Base: dst, Disp: 128*(2*i+q) + 64*half})
			}
		}
	}
	ADDQ(I32(1024), dst)
	ADDQ(Imm(16), src)
	DECQ(steps)
	JNZ(LabelRef(loop))
	end()
}

// transposedRows loads 16 bytes of each of 16 rows from at on, which moves behind them:
// vector i of the result is word i of all rows.
func transposedRows(m machine, at, row reg.GPVirtual) [4]reg.VecVirtual {
	var in, u, out [4]reg.VecVirtual
	for j := range in {
		in[j], u[j], out[j] = m.vec(), m.vec(), m.vec()
	}
	// Rows j, j+4, j+8, j+12 become the quarters of in[j].
	for q := range 4 {
		for j := range in {
			if q == 0 {
				VMOVUPS(Mem{Base: at}, in[j].AsX())
			} else {
				VINSERTI32X4(Imm(uint64(q)), Mem{Base: at}, in[j], in[j])
			}
			ADDQ(row, at)
		}
	}
	VPUNPCKLDQ(in[1], in[0], u[0])
	VPUNPCKHDQ(in[1], in[0], u[1])
	VPUNPCKLDQ(in[3], in[2], u[2])
	VPUNPCKHDQ(in[3], in[2], u[3])
	VPUNPCKLQDQ(u[2], u[0], out[0])
	VPUNPCKHQDQ(u[2], u[0], out[1])
	VPUNPCKLQDQ(u[3], u[1], out[2])
	VPUNPCKHQDQ(u[3], u[1], out[3])
	return out
}
