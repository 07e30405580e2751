package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// operandPart emits the packing of operands: panels in which four codes of an output
// lie together, see kernel's interleaved.
func operandPart(m machine) {
	packRows(m, "packRows")
	packRows(machine{name: m.name, lanes: 4}, "packRows4")
	packCols(m)
	if m.wide() {
		packKeys(m)
		storeNibbles(m)
	}
}

// bytesOf broadcasts a byte argument.
func (m machine) bytesOf(name string) reg.VecVirtual {
	x, v, b := XMM(), m.vec(), GP32()
	Load(Param(name), b.As8())
	MOVBLZX(b.As8(), b)
	VMOVD(b, x)
	VPBROADCASTB(x, v)
	return v
}

// packRows emits the packing of as many outputs as a vector has lanes: a 4 × 4
// transpose of words, four words of each row at a time, as in packPanelT.
func packRows(m machine, name string) {
	m.fn(name, "(dst *uint8, stride int, src *uint8, ld int, steps int, offset uint8)",
		"writes the codes, less offset, of one vector of outputs; a step is 16 codes of each, whose words go stride bytes apart; steps is positive.")
	dst, stride, src, ld, steps := integer("dst"), integer("stride"), integer("src"), integer("ld"), integer("steps")
	off := m.bytesOf("offset")
	ld4 := GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 1}, ld4)
	ADDQ(ld4, ld4)
	loop := label("loop")
	Label(loop)
	for _, v := range m.quads16(src, ld, ld4) {
		VPSUBB(off, v, v)
		VMOVUPS(v, Mem{Base: dst})
		ADDQ(stride, dst)
	}
	ADDQ(Imm(16), src)
	DECQ(steps)
	JNZ(LabelRef(loop))
	end()
}

// quads16 loads 16 bytes of each of as many rows as a vector has lanes, from src on and ld
// bytes apart: word i of all rows is vector i.
func (m machine) quads16(src, ld, ld4 reg.GPVirtual) [4]reg.VecVirtual {
	quarters := m.lanes / 4
	var in, u, out [4]reg.VecVirtual
	row := GP64()
	MOVQ(src, row)
	for j := range in {
		in[j] = m.vec()
	}
	// Rows j, j+4, j+8, j+12 become the quarters of in[j].
	for q := range quarters {
		at := GP64()
		MOVQ(row, at)
		for j := range in {
			s := Mem{Base: at}
			switch {
			case q == 0:
				VMOVDQU(s, in[j].AsX())
			case m.wide():
				VINSERTI32X4(Imm(uint64(q)), s, in[j], in[j])
			default:
				VINSERTI128(Imm(uint64(q)), s, in[j], in[j])
			}
			if j < 3 {
				ADDQ(ld, at)
			}
		}
		if q < quarters-1 {
			ADDQ(ld4, row)
		}
	}
	for i := range u {
		u[i], out[i] = m.vec(), m.vec()
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

// packCols emits the packing of 64 (AVX2: 16) outputs: four rows of codes are
// interleaved byte by byte.
func packCols(m machine) {
	if m.wide() {
		packCols64(m)
		return
	}
	m.fn("packCols", "(dst *uint8, src *uint8, ld int, steps int, cols int, offset uint8)",
		"writes the codes, less offset, of 16 outputs; a step is four rows of codes; steps and cols are positive.")
	dst, src, ld, steps := integer("dst"), integer("src"), integer("ld"), integer("steps")
	off := m.bytesOf("offset").AsX().(reg.VecVirtual)
	loop := label("loop")
	Label(loop)
	var in [4]reg.VecVirtual
	for i := range in {
		in[i] = XMM()
		VMOVDQU(Mem{Base: src}, in[i])
		VPSUBB(off, in[i], in[i])
		ADDQ(ld, src)
	}
	for i, e := range interleaved(in, XMM) {
		VMOVUPS(e, Mem{Base: dst, Disp: i * 16})
	}
	ADDQ(I32(4*16), dst)
	DECQ(steps)
	JNZ(LabelRef(loop))
	end()
}

// packCols64 is packCols of any number of rows.
func packCols64(m machine) {
	m.fn("packCols", "(dst *uint8, src *uint8, ld int, rows int, cols int, offset uint8)",
		"writes the codes, less offset, of at most 64 outputs, four rows of codes at a time; rows that complete the last four are 0. rows and cols are positive.")
	dst, src, ld, rows := integer("dst"), integer("src"), integer("ld"), integer("rows")
	off := m.bytesOf("offset")
	n, ones, mask := integer("cols"), GP64(), K()
	MOVQ(I32(-1), ones)
	full := label("full")
	CMPQ(n, Imm(64))
	JGE(LabelRef(full))
	BZHIQ(n, ones, ones)
	Label(full)
	KMOVQ(ones, mask)
	four := func(masks [4]reg.Register) {
		var in [4]reg.VecVirtual
		for i := range in {
			in[i] = ZMM()
			VMOVDQU8_Z(Mem{Base: src}, masks[i], in[i])
			VPSUBB_Z(off, in[i], masks[i], in[i])
			ADDQ(ld, src)
		}
		// e[i] holds columns 4i, 16+4i, 32+4i and 48+4i: transpose the quarters.
		e := interleaved(in, ZMM)
		var p [4]reg.VecVirtual
		for i := range p {
			p[i] = ZMM()
		}
		VSHUFI32X4(Imm(0x44), e[1], e[0], p[0])
		VSHUFI32X4(Imm(0x44), e[3], e[2], p[1])
		VSHUFI32X4(Imm(0xee), e[1], e[0], p[2])
		VSHUFI32X4(Imm(0xee), e[3], e[2], p[3])
		for i := range e {
			e[i] = ZMM()
		}
		VSHUFI32X4(Imm(0x88), p[1], p[0], e[0])
		VSHUFI32X4(Imm(0xdd), p[1], p[0], e[1])
		VSHUFI32X4(Imm(0x88), p[3], p[2], e[2])
		VSHUFI32X4(Imm(0xdd), p[3], p[2], e[3])
		for i := range e {
			VMOVUPS(e[i], Mem{Base: dst, Disp: i * 64})
		}
		ADDQ(I32(4*64), dst)
	}
	loop, tail, done := label("loop"), label("tail"), label("done")
	SUBQ(Imm(4), rows)
	JLT(LabelRef(tail))
	Label(loop)
	four([4]reg.Register{mask, mask, mask, mask})
	SUBQ(Imm(4), rows)
	JGE(LabelRef(loop))
	Label(tail)
	ADDQ(Imm(4), rows)
	JZ(LabelRef(done))
	here := [4]reg.Register{mask}
	for i := 1; i < 4; i++ {
		q, out := K(), label("out")
		KXORQ(q, q, q)
		CMPQ(rows, Imm(uint64(i)))
		JLE(LabelRef(out))
		KMOVQ(mask, q)
		Label(out)
		here[i] = q
	}
	four(here)
	Label(done)
	end()
}

// interleaved interleaves the bytes of four rows within quarters of 16 bytes.
func interleaved(in [4]reg.VecVirtual, vec func() reg.VecVirtual) (e [4]reg.VecVirtual) {
	var p [4]reg.VecVirtual
	for i := range p {
		p[i], e[i] = vec(), vec()
	}
	VPUNPCKLBW(in[1], in[0], p[0])
	VPUNPCKHBW(in[1], in[0], p[1])
	VPUNPCKLBW(in[3], in[2], p[2])
	VPUNPCKHBW(in[3], in[2], p[3])
	VPUNPCKLWD(p[2], p[0], e[0])
	VPUNPCKHWD(p[2], p[0], e[1])
	VPUNPCKLWD(p[3], p[1], e[2])
	VPUNPCKHWD(p[3], p[1], e[3])
	return e
}

// packKeys emits the packing of one panel of outputs, 16 at a time, with the sums of their
// codes.
func packKeys(m machine) {
	m.fn("packKeys", "(dst *uint8, src *uint8, ld int, steps int, rows int, offset uint8, sums *int32, zero int32)",
		"packs the codes, less offset, of 16 to 64 outputs of a panel and writes zero times the sum of those of each; a step is 16 codes; steps is positive.")
	dst, src, ld, rows, sums := integer("dst"), integer("src"), integer("ld"), integer("rows"), integer("sums")
	off, zero, one := m.bytesOf("offset"), m.vec(), m.vec()
	z := GP32()
	Load(Param("zero"), z)
	VPBROADCASTD(z, zero)
	VPBROADCASTD(c32("onesB", 0x01010101), one)
	ld4, j, block := GP64(), GP64(), label("block")
	LEAQ(Mem{Base: ld, Index: ld, Scale: 1}, ld4)
	ADDQ(ld4, ld4)
	SUBQ(Imm(16), rows) // the last block's first output
	XORQ(j, j)
	Label(block)
	at, to, steps, sum := GP64(), GP64(), integer("steps"), m.zero()
	MOVQ(j, at)
	IMULQ(ld, at)
	ADDQ(src, at)
	LEAQ(Mem{Base: dst, Index: j, Scale: 4}, to)
	loop := label("loop")
	Label(loop)
	for _, v := range m.quads16(at, ld, ld4) {
		VPSUBB(off, v, v)
		VMOVUPS(v, Mem{Base: to})
		VPDPBUSD(v, one, sum)
		ADDQ(I32(256), to)
	}
	ADDQ(Imm(16), at)
	DECQ(steps)
	JNZ(LabelRef(loop))
	VPMULLD(zero, sum, sum)
	VMOVUPS(sum, Mem{Base: sums, Index: j, Scale: 4})
	done := label("done")
	CMPQ(j, rows)
	JGE(LabelRef(done))
	ADDQ(Imm(16), j)
	CMPQ(j, rows)
	CMOVQGT(rows, j) // outputs that are packed twice
	JMP(LabelRef(block))
	Label(done)
	end()
}
