package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// codesPart emits the way back from codes to floats.
func codesPart(m machine) {
	dequantize(m, "dequantizeU8", "[]uint8", func(s, d Op) { VPMOVZXBD(s, d) })
	dequantize(m, "dequantizeS8", "[]int8", func(s, d Op) { VPMOVSXBD(s, d) })
}

// dequantize emits dst = (src - zp)·alpha on whole vectors.
func dequantize(m machine, name, src string, widen func(s, d Op)) {
	m.fn(name, "(dst []float32, src "+src+", zp, alpha float32)", "converts the codes of whole vectors; the rest is left.")
	dst, s, n := base("dst"), base("src"), length("dst")
	zp, alpha := m.scalar("zp"), m.scalar("alpha")
	loop, done := label("loop"), label("done")
	SUBQ(Imm(uint64(m.lanes)), n)
	JLT(LabelRef(done))
	Label(loop)
	v := m.vec()
	widen(Mem{Base: s}, v)
	VCVTDQ2PS(v, v)
	VSUBPS(zp, v, v)
	VMULPS(alpha, v, v)
	VMOVUPS(v, Mem{Base: dst})
	ADDQ(Imm(uint64(m.lanes)), s)
	ADDQ(Imm(uint64(m.bytes())), dst)
	SUBQ(Imm(uint64(m.lanes)), n)
	JGE(LabelRef(loop))
	Label(done)
	end()
}
