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
	quarters := m.lanes / 4
	ld4 := GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 1}, ld4)
	ADDQ(ld4, ld4)
	loop := label("loop")
	Label(loop)
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
	for i := range out {
		VPSUBB(off, out[i], out[i])
		VMOVUPS(out[i], Mem{Base: dst})
		ADDQ(stride, dst)
	}
	ADDQ(Imm(16), src)
	DECQ(steps)
	JNZ(LabelRef(loop))
	end()
}

// packCols emits the packing of 64 (AVX2: 16) outputs: four rows of codes are
// interleaved byte by byte.
func packCols(m machine) {
	cols := "16"
	if m.wide() {
		cols = "at most 64"
	}
	m.fn("packCols", "(dst *uint8, src *uint8, ld int, steps int, cols int, offset uint8)",
		"writes the codes, less offset, of "+cols+" outputs; a step is four rows of codes; steps and cols are positive.")
	dst, src, ld, steps := integer("dst"), integer("src"), integer("ld"), integer("steps")
	vec := XMM
	var off reg.VecVirtual
	var mask reg.Register
	if m.wide() {
		vec = ZMM
		off = m.bytesOf("offset")
		n, ones, q := integer("cols"), GP64(), K()
		MOVQ(I32(-1), ones)
		full := label("full")
		CMPQ(n, Imm(64))
		JGE(LabelRef(full))
		BZHIQ(n, ones, ones)
		Label(full)
		KMOVQ(ones, q)
		mask = q
	} else {
		off = m.bytesOf("offset").AsX().(reg.VecVirtual)
	}
	loop := label("loop")
	Label(loop)
	var in [4]reg.VecVirtual
	for i := range in {
		in[i] = vec()
		if m.wide() {
			VMOVDQU8_Z(Mem{Base: src}, mask, in[i])
		} else {
			VMOVDQU(Mem{Base: src}, in[i])
		}
		VPSUBB(off, in[i], in[i])
		ADDQ(ld, src)
	}
	var p, e [4]reg.VecVirtual
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
	if m.wide() {
		// e[i] holds columns 4i, 16+4i, 32+4i and 48+4i: transpose the quarters.
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
	}
	size := 16
	if m.wide() {
		size = 64
	}
	for i := range e {
		VMOVUPS(e[i], Mem{Base: dst, Disp: i * size})
	}
	ADDQ(I32(int32(4*size)), dst)
	DECQ(steps)
	JNZ(LabelRef(loop))
	end()
}
