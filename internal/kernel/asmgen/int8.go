package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// int8Part emits the integer product. AVX-512 multiplies four unsigned by four
// signed bytes per lane with VNNI. AVX2 widens both to 16 bits first: its byte
// multiply saturates, which is not exact for 8-bit codes.
func int8Part(m machine) {
	op := product{"igemm", true, func(b, a, acc, _ reg.Register) { VPDPBUSD(b, a, acc) }}
	if !m.wide() {
		op.step = func(b, a, acc, scratch reg.Register) {
			VPMADDWD(b, a, scratch)
			VPADDD(scratch, acc, acc)
		}
		widen16("widenU8", "*uint8", func(s, d Op) { VPMOVZXBW(s, d) })
		widen16("widenS8", "*int8", func(s, d Op) { VPMOVSXBW(s, d) })
	}
	for nv := 1; nv <= 2; nv++ {
		panel(m, op, nv)
	}
}

// widen16 converts blocks of sixteen bytes to 16-bit integers.
func widen16(name, src string, convert func(s, d Op)) {
	machine{name: "AVX2", lanes: 8}.fn(name, "(dst *int16, src "+src+", blocks int)", "converts blocks of sixteen elements; blocks is positive.")
	d, s, n := integer("dst"), integer("src"), integer("blocks")
	loop := label("loop")
	Label(loop)
	y := YMM()
	convert(Mem{Base: s}, y)
	VMOVDQU(y, Mem{Base: d})
	ADDQ(Imm(16), s)
	ADDQ(Imm(32), d)
	DECQ(n)
	JNZ(LabelRef(loop))
	end()
}
