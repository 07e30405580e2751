package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pairs emits the product of two bits by two bits as a look-up in tables of 16 bytes,
// see kernel's formPairs.
func pairs(m machine) {
	unpackPairs(m)
	pairsTile(m)
}

// unpackPairs emits the unpacking of 4-bit indices: the low ones of 64 bytes, then the
// high ones.
func unpackPairs(m machine) {
	m.fn("unpackPairs", "(dst, src *uint8, pairs int)", "unpacks 64 low and 64 high halves of bytes from each 64; pairs is positive.")
	dst, src, n := integer("dst"), integer("src"), integer("pairs")
	low := m.get(c32("field4", 0x0f0f0f0f))
	loop := label("loop")
	Label(loop)
	for i := range 2 {
		v, t := m.vec(), m.vec()
		VMOVDQU(Mem{Base: src, Disp: 32 * i}, v)
		VPAND(low, v, t)
		VMOVDQU(t, Mem{Base: dst, Disp: 32 * i})
		VPSRLW(Imm(4), v, v)
		VPAND(low, v, v)
		VMOVDQU(v, Mem{Base: dst, Disp: 64 + 32*i})
	}
	ADDQ(I32(64), src)
	ADDQ(I32(128), dst)
	DECQ(n)
	JNZ(LabelRef(loop))
	end()
}

const (
	pairsRows  = 2  // rows of a block of pairsTile
	pairsChunk = 14 // sums of at most 18 that fit in a byte
)

// pairsTile emits the sums of looked-up products: bytes for a chunk of groups, then 16
// bits, apart for even and odd lanes.
func pairsTile(m machine) {
	m.fn("pairsTile", "(offsets *uint8, ldo int, panel *uint8, groups int, table *uint8, bias int32, dst *int32, ldt int, rows int)",
		"looks up rows of table offsets by a panel of indices and subtracts bias; ldo and ldt are in bytes, groups and rows are positive.")
	bases := []reg.GPPhysical{reg.R8, reg.R9}
	table, b, left, at, dst, count := reg.RBX, reg.RCX, reg.RDX, reg.RDI, reg.R11, reg.R12
	Load(Param("table"), table)
	Load(Param("dst"), dst)
	Load(Param("rows"), count)
	s := func(i, v int) reg.VecPhysical { return m.v(2*i + v) }
	t := func(i, v int) reg.VecPhysical { return m.v(4 + 2*i + v) }
	o := func(i, v int) reg.VecPhysical { return m.v(8 + 2*i + v) }
	index := func(v int) reg.VecPhysical { return m.v(12 + v) }
	entry, temp := m.v(14), m.v(15)
	next, single, done := label("next"), label("rows"), label("done")
	Label(next)
	MOVQ(param("offsets"), bases[0])
	MOVQ(param("ldo"), bases[1])
	ADDQ(bases[0], bases[1])
	MOVQ(param("panel"), b)
	MOVQ(param("groups"), left)
	CMPQ(count, Imm(1))
	JEQ(LabelRef(single))
	for r := pairsRows; r >= 1; r-- {
		if r == 1 {
			Label(single)
		}
		for i := range r {
			for v := range 2 {
				VXORPS(t(i, v).AsX(), t(i, v).AsX(), t(i, v).AsX())
				VXORPS(o(i, v).AsX(), o(i, v).AsX(), o(i, v).AsX())
			}
		}
		// group looks group g of all rows up.
		group := func(g int, first bool) {
			for v := range 2 {
				VMOVDQU(Mem{Base: b, Disp: 64*g + 32*v}, index(v))
			}
			for i := range r {
				MOVBLZX(Mem{Base: bases[i], Disp: g}, at.As32())
				VBROADCASTI128(Mem{Base: table, Index: at, Scale: 1}, entry)
				for v := range 2 {
					if first {
						VPSHUFB(index(v), entry, s(i, v))
						continue
					}
					VPSHUFB(index(v), entry, temp)
					VPADDB(temp, s(i, v), s(i, v))
				}
			}
		}
		advance := func(g int) {
			ADDQ(I32(int32(64*g)), b)
			for i := range r {
				ADDQ(Imm(uint64(g)), bases[i])
			}
		}
		widen := func() {
			for i := range r {
				for v := range 2 {
					VPADDW(s(i, v), t(i, v), t(i, v))
					VPSRLW(Imm(8), s(i, v), s(i, v))
					VPADDW(s(i, v), o(i, v), o(i, v))
				}
			}
		}
		chunk, tail, loop, last, sum := label("chunk"), label("tail"), label("loop"), label("last"), label("sum")
		Label(chunk)
		SUBQ(Imm(pairsChunk), left)
		JLT(LabelRef(tail))
		for g := range pairsChunk {
			group(g, g == 0)
		}
		advance(pairsChunk)
		widen()
		JMP(LabelRef(chunk))
		Label(tail)
		ADDQ(Imm(pairsChunk), left)
		JZ(LabelRef(sum))
		group(0, true)
		Label(loop)
		advance(1)
		DECQ(left)
		JZ(LabelRef(last))
		group(0, false)
		JMP(LabelRef(loop))
		Label(last)
		widen()
		Label(sum)
		MOVL(param("bias"), at.As32())
		VMOVD(at.As32(), entry.AsX())
		VPBROADCASTD(entry.AsX(), entry)
		for i := range r {
			for v := range 2 {
				// t holds the even lanes plus 256 times the odd ones.
				VPSLLW(Imm(8), o(i, v), temp)
				VPSUBW(temp, t(i, v), t(i, v))
				for h, w := range []reg.VecPhysical{t(i, v), o(i, v)} {
					VPMOVZXWD(w.AsX(), temp)
					VPSUBD(entry, temp, temp)
					VMOVDQU(temp, Mem{Base: dst, Disp: 128*v + 64*h})
					VEXTRACTI128(Imm(1), w, temp.AsX())
					VPMOVZXWD(temp.AsX(), temp)
					VPSUBD(entry, temp, temp)
					VMOVDQU(temp, Mem{Base: dst, Disp: 128*v + 64*h + 32})
				}
			}
			ADDQ(param("ldt"), dst)
		}
		if r < pairsRows {
			JMP(LabelRef(done))
			continue
		}
		MOVQ(param("ldo"), at)
		ADDQ(at, at)
		ADDQ(at, param("offsets"))
		SUBQ(Imm(pairsRows), count)
		JNZ(LabelRef(next))
		JMP(LabelRef(done))
	}
	Label(done)
	end()
}
