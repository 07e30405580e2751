package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// lookup emits the product of two bits by two bits as a look-up in tables of 64 bytes
// (AVX512-VBMI), see kernel's formLookup.
func lookup(m machine) {
	unpackLookup(m)
	packLookup(m)
	lookupTile(m)
}

// unpackLookup emits the unpacking of groups of three 2-bit codes: each 3 vectors hold
// the 6-bit indices of 4 groups, that of the fourth in the high bits of the others.
func unpackLookup(m machine) {
	m.fn("unpackLookup", "(dst, src *uint8, quads int)", "unpacks four vectors of indices from each three; quads is positive.")
	dst, src, n := integer("dst"), integer("src"), integer("quads")
	low := m.get(c32("low6", 0x3f3f3f3f))
	loop := label("loop")
	Label(loop)
	last := m.zero()
	for i := range 3 {
		v, t := m.vec(), m.vec()
		VMOVDQU64(Mem{Base: src, Disp: 64 * i}, v)
		VPANDD(low, v, t)
		VMOVDQU64(t, Mem{Base: dst, Disp: 64 * i})
		// Bits 6 and 7 become bits 2i and 2i+1.
		VPANDND(v, low, v)
		VPSRLW(Imm(uint64(6-2*i)), v, v)
		VPORD(v, last, last)
	}
	VMOVDQU64(last, Mem{Base: dst, Disp: 192})
	ADDQ(I32(192), src)
	ADDQ(I32(256), dst)
	DECQ(n)
	JNZ(LabelRef(loop))
	end()
}

// packLookup emits the table offsets of rows of codes.
func packLookup(m machine) {
	m.fn("packLookup", "(dst *uint16, ldd int, a *uint8, lda int, plane int, masks *uint64, blocks int, rows int)",
		"writes 64 times a[g] + 4·a[plane+g] + 16·a[2·plane+g] for blocks of 64 g; ldd is in bytes, masks says which codes of the three planes of each block there are; blocks and rows are positive.")
	dst, ldd, a, lda := integer("dst"), integer("ldd"), integer("a"), integer("lda")
	plane, masks, blocks, rows := integer("plane"), integer("masks"), integer("blocks"), integer("rows")
	row, block := label("row"), label("block")
	Label(row)
	src, at, mask, n := GP64(), GP64(), GP64(), GP64()
	MOVQ(a, src)
	MOVQ(dst, at)
	MOVQ(masks, mask)
	MOVQ(blocks, n)
	Label(block)
	var v [3]reg.VecVirtual
	for i := range v {
		k := K()
		KMOVQ(Mem{Base: mask, Disp: 8 * i}, k)
		v[i] = m.vec()
		s := Mem{Base: src}
		if i > 0 {
			s.Index, s.Scale = plane, uint8(i)
		}
		VMOVDQU8_Z(s, k, v[i])
	}
	VPSLLW(Imm(2), v[1], v[1])
	VPSLLW(Imm(4), v[2], v[2])
	VPTERNLOGD(Imm(0xfe), v[1], v[2], v[0])
	high, lo, hi := YMM(), m.vec(), m.vec()
	VEXTRACTI64X4(Imm(1), v[0], high)
	VPMOVZXBW(v[0].AsY(), lo)
	VPMOVZXBW(high, hi)
	VPSLLW(Imm(6), lo, lo)
	VPSLLW(Imm(6), hi, hi)
	VMOVDQU64(lo, Mem{Base: at})
	VMOVDQU64(hi, Mem{Base: at, Disp: 64})
	ADDQ(Imm(64), src)
	ADDQ(I32(128), at)
	ADDQ(Imm(24), mask)
	DECQ(n)
	JNZ(LabelRef(block))
	ADDQ(ldd, dst)
	ADDQ(lda, a)
	DECQ(rows)
	JNZ(LabelRef(row))
	end()
}

// lookupRows is the number of rows of a block of lookupTile.
const lookupRows = 8

// lookupTile emits the sums of looked-up products: bytes for nine groups, then 16 bits,
// apart for even and odd lanes. Row i of a block is at base[i/3] + (i%3)·ldo.
func lookupTile(m machine) {
	m.fn("lookupTile", "(offsets *uint16, ldo int, panel *uint8, groups int, table *uint8, bias int32, dst *int32, ldt int, rows int)",
		"looks up rows of table offsets by a panel of indices and subtracts bias; ldo and ldt are in bytes, groups and rows are positive.")
	// Arguments that no inner loop needs stay where they are.
	bases := []reg.GPPhysical{reg.R8, reg.R9, reg.R10}
	ldo, table, b, left, chunk, at, dst := reg.RAX, reg.RBX, reg.RCX, reg.RDX, reg.RSI, reg.RDI, reg.R11
	Load(Param("ldo"), ldo)
	Load(Param("table"), table)
	Load(Param("dst"), dst)
	bias := reg.R12L
	Load(Param("bias"), bias)
	s := func(i int) reg.VecPhysical { return m.v(i) }
	t := func(i int) reg.VecPhysical { return m.v(lookupRows + i) }
	o := func(i int) reg.VecPhysical { return m.v(2*lookupRows + i) }
	index := m.v(3 * lookupRows)
	temp := func(i int) reg.VecPhysical { return m.v(3*lookupRows + 1 + i%4) }
	next, done := label("next"), label("done")
	blocks := make([]string, lookupRows+1)
	for r := range blocks {
		blocks[r] = label("rows")
	}
	Label(next)
	MOVQ(param("offsets"), bases[0])
	for i := 1; i < 3; i++ {
		LEAQ(Mem{Base: ldo, Index: ldo, Scale: 2}, bases[i])
		ADDQ(bases[i-1], bases[i])
	}
	MOVQ(param("panel"), b)
	MOVQ(param("groups"), left)
	for r := 1; r < lookupRows; r++ {
		CMPQ(param("rows"), Imm(uint64(r)))
		JEQ(LabelRef(blocks[r]))
	}
	for r := lookupRows; r >= 1; r-- {
		Label(blocks[r])
		for i := range r {
			for _, v := range []reg.VecPhysical{t(i), o(i)} {
				VXORPS(v.AsX(), v.AsX(), v.AsX())
			}
		}
		// group looks one group of all rows up.
		group := func(first bool) {
			VMOVDQU64(Mem{Base: b}, index)
			ADDQ(Imm(64), b)
			for i := range r {
				MOVWLZX(rowAt(bases, ldo, i), at.As32())
				entry := Mem{Base: table, Index: at, Scale: 1}
				if first {
					VPERMB(entry, index, s(i))
					continue
				}
				VPERMB(entry, index, temp(i))
				VPADDB(temp(i), s(i), s(i))
			}
			for i := range (r + 2) / 3 {
				ADDQ(Imm(2), bases[i])
			}
		}
		nine, loop, widen := label("nine"), label("loop"), label("widen")
		Label(nine)
		MOVQ(U32(9), chunk)
		CMPQ(left, chunk)
		CMOVQLT(left, chunk)
		SUBQ(chunk, left)
		group(true)
		DECQ(chunk)
		JZ(LabelRef(widen))
		Label(loop)
		group(false)
		DECQ(chunk)
		JNZ(LabelRef(loop))
		Label(widen)
		for i := range r {
			VPADDW(s(i), t(i), t(i))
			VPSRLW(Imm(8), s(i), s(i))
			VPADDW(s(i), o(i), o(i))
		}
		TESTQ(left, left)
		JNZ(LabelRef(nine))
		for i := range r {
			// t holds the even lanes plus 256 times the odd ones.
			VPSLLW(Imm(8), o(i), s(i))
			VPSUBW(s(i), t(i), t(i))
			VPBROADCASTD(bias, index)
			for h, v := range []reg.VecPhysical{t(i), o(i)} {
				VPMOVZXWD(v.AsY(), temp(0))
				VEXTRACTI64X4(Imm(1), v, temp(1).AsY())
				VPMOVZXWD(temp(1).AsY(), temp(1))
				VPSUBD(index, temp(0), temp(0))
				VPSUBD(index, temp(1), temp(1))
				VMOVDQU32(temp(0), Mem{Base: dst, Disp: 128 * h})
				VMOVDQU32(temp(1), Mem{Base: dst, Disp: 128*h + 64})
			}
			ADDQ(param("ldt"), dst)
		}
		if r < lookupRows {
			JMP(LabelRef(done))
			continue
		}
		MOVQ(ldo, at)
		SHLQ(Imm(3), at)
		ADDQ(at, param("offsets"))
		SUBQ(Imm(lookupRows), param("rows"))
		JNZ(LabelRef(next))
		JMP(LabelRef(done))
	}
	Label(done)
	end()
}
