package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sums emits the product by sums of codes, see kernel's formSums.
func sums(m machine) {
	for bits := 2; bits <= 4; bits++ {
		unpackSums(m, bits)
	}
	packSums(m)
	tileSums(m, "tileSums", 5, 4)
	tileSums(m, "tileSumsHalf", 8, 2)
	vendor(m)
}

// vendor emits the first word of the name of the processor's maker.
func vendor(m machine) {
	m.fn("vendor", "() uint32", "is the first four letters of the name that CPUID gives.")
	XORL(reg.EAX, reg.EAX)
	CPUID()
	Store(reg.EBX, ReturnIndex(0))
	RET()
}

// unpackSums emits the unpacking of pairs of groups of 256 codes.
func unpackSums(m machine, bits int) {
	m.fn([]string{"unpackSums2", "unpackSums3", "unpackSums4"}[bits-2], "(dst, src *uint8, pairs int)",
		"unpacks pairs of groups of 256 codes, those of the second group raised, and after them writes the terms of the outputs; pairs is positive.")
	dst, src, pairs := integer("dst"), integer("src"), integer("pairs")
	u := newUnpacker(m, bits)
	var terms [4]reg.VecVirtual
	for i := range terms {
		terms[i] = m.zero()
	}
	loop := label("loop")
	Label(loop)
	var low [4]reg.VecVirtual
	for i := range low {
		low[i] = u.vector(src, 0, i)
		VPSUBB(u.half, low[i], low[i])
		VMOVUPS(low[i], Mem{Base: dst, Disp: i * m.bytes()})
	}
	for i := range low {
		raised := u.vector(src, 32*bits, i)
		VMOVUPS(raised, Mem{Base: dst, Disp: 256 + i*m.bytes()})
		VPDPBUSD(low[i], raised, terms[i])
	}
	ADDQ(I32(int32(64*bits)), src)
	ADDQ(I32(512), dst)
	DECQ(pairs)
	JNZ(LabelRef(loop))
	zero := m.zero()
	for i := range terms {
		VPSUBD(terms[i], zero, terms[i])
		VMOVUPS(terms[i], Mem{Base: dst, Disp: i * m.bytes()})
	}
	end()
}

// packSums emits the copying of rows and their terms.
func packSums(m machine) {
	m.fn("packSums", "(dst *uint8, ldd int, a *uint8, lda int, k int, kp int, half uint8, rows int)",
		"copies rows of k codes, fills them with zeros to kp codes and writes the term of the row behind them; kp is a multiple of 8, dst has whole vectors for k codes; k and rows are positive.")
	dst, ldd, a, lda := integer("dst"), integer("ldd"), integer("a"), integer("lda")
	k, kp, rows := integer("k"), integer("kp"), integer("rows")
	half, zero := m.bytesOf("half"), m.zero()
	// The last vector has the codes that tail masks.
	n, tail, all := GP64(), K(), GP64()
	LEAQ(Mem{Base: k, Disp: -1}, n)
	ANDQ(I8(63), n)
	INCQ(n)
	MOVQ(I32(-1), all)
	short := label("short")
	CMPQ(n, Imm(64))
	JEQ(LabelRef(short))
	BZHIQ(n, all, all)
	Label(short)
	KMOVQ(all, tail)
	// The first of each two words.
	first, word := K(), GP32()
	MOVL(U32(0x5555), word)
	KMOVW(word, first)
	row, loop, last := label("row"), label("loop"), label("last")
	Label(row)
	src, at, left := GP64(), GP64(), GP64()
	MOVQ(a, src)
	MOVQ(dst, at)
	MOVQ(k, left)
	term := m.zero()
	v, swapped := m.vec(), m.vec()
	multiply := func() {
		VMOVDQU64(v, Mem{Base: at})
		VPSHUFD(Imm(0xb1), v, swapped)
		VPADDB(half, v, v)
		VPDPBUSD(swapped, v, first, term)
	}
	Label(loop)
	CMPQ(left, Imm(64))
	JLE(LabelRef(last))
	VMOVDQU64(Mem{Base: src}, v)
	multiply()
	ADDQ(Imm(64), src)
	ADDQ(Imm(64), at)
	SUBQ(Imm(64), left)
	JMP(LabelRef(loop))
	Label(last)
	VMOVDQU8_Z(Mem{Base: src}, tail, v)
	multiply()
	// The sum of the lanes.
	VPSUBD(term, zero, term)
	t := m.vec()
	VEXTRACTI64X4(Imm(1), term, t.AsY())
	VPADDD(t.AsY(), term.AsY(), term.AsY())
	VEXTRACTI128(Imm(1), term.AsY(), t.AsX())
	VPADDD(t.AsX(), term.AsX(), term.AsX())
	for _, imm := range []uint64{0x4e, 0xb1} {
		VPSHUFD(Imm(imm), term.AsX(), t.AsX())
		VPADDD(t.AsX(), term.AsX(), term.AsX())
	}
	VMOVD(term.AsX(), Mem{Base: dst, Index: kp, Scale: 1})
	ADDQ(lda, a)
	ADDQ(ldd, dst)
	DECQ(rows)
	JNZ(LabelRef(row))
	end()
}

// tileSums emits the product of packed rows by vectors of one unpacked panel, which is
// always four wide. Row i of a block is at base[i/3] + (i%3)·ldl, and all bases move by
// the eight bytes of a step.
func tileSums(m machine, name string, rows, vectors int) {
	m.fn(name, "(left *uint8, ldl int, panel *uint8, steps int, dst *int32, ldt int, rows int, behind int, ahead *uint8, lines int)",
		"multiplies packed rows by a panel; ldl and ldt are in bytes, a step is eight codes of a row, steps and rows are positive. Terms are behind bytes after left, those of the panel 64·behind bytes after it; where behind is 0, the sums are added to dst. Meanwhile at least lines cache lines from ahead on are fetched, where rows and steps allow.")
	bases := []reg.GPPhysical{reg.R8, reg.R9, reg.R14}
	ldl, ldt, left, panel, steps, b, dst, count := reg.RAX, reg.RBX, reg.RSI, reg.RDI, reg.RDX, reg.R10, reg.R11, reg.R12
	k, fetch, move := reg.RCX, reg.R13, reg.R15
	Load(Param("left"), left)
	Load(Param("ldl"), ldl)
	Load(Param("panel"), panel)
	Load(Param("steps"), steps)
	Load(Param("dst"), dst)
	Load(Param("ldt"), ldt)
	Load(Param("rows"), count)
	Load(Param("ahead"), fetch)
	lines, err := Param("lines").Resolve()
	if err != nil {
		panic(err)
	}
	acc := func(i, j int) reg.VecPhysical { return m.v(i*vectors + j) }
	low := func(j int) reg.VecPhysical { return m.v(rows*vectors + j) }
	raised := func(j int) reg.VecPhysical { return m.v((rows+1)*vectors + j) }
	free := (rows + 2) * vectors
	codes := func(i int) reg.VecPhysical { return m.v(free + i) }
	temps, turn := 32-free-2, 0
	temp := func() reg.VecPhysical { turn++; return m.v(free + 2 + turn%temps) }
	at := func(i, disp int) Mem {
		s := Mem{Base: bases[i/3], Disp: disp}
		if i%3 > 0 {
			s.Index, s.Scale = ldl, uint8(i%3)
		}
		return s
	}
	next, done, enough := label("next"), label("done"), label("enough")
	blocks := make([]string, rows+1)
	for r := range blocks {
		blocks[r] = label("rows")
	}
	behind, err := Param("behind").Resolve()
	if err != nil {
		panic(err)
	}
	Label(next)
	MOVQ(left, bases[0])
	for i := 1; i < (rows+2)/3; i++ {
		LEAQ(Mem{Base: ldl, Index: ldl, Scale: 2}, bases[i])
		ADDQ(bases[i-1], bases[i])
	}
	// One line a step while there are any left.
	XORQ(move, move)
	CMPQ(lines.Addr, Imm(0))
	JLE(LabelRef(enough))
	MOVQ(U32(64), move)
	SUBQ(steps, lines.Addr)
	Label(enough)
	MOVQ(panel, b)
	for r := 1; r < rows; r++ {
		CMPQ(count, Imm(uint64(r)))
		JEQ(LabelRef(blocks[r]))
	}
	for r := rows; r >= 1; r-- {
		Label(blocks[r])
		// The sums begin with both terms, or go on.
		more, loop := label("more"), label("loop")
		MOVQ(behind.Addr, k)
		TESTQ(k, k)
		JZ(LabelRef(more))
		for i := range (r + 2) / 3 {
			ADDQ(k, bases[i])
		}
		SHLQ(Imm(6), k)
		for j := range vectors {
			VMOVUPS(Mem{Base: b, Index: k, Scale: 1, Disp: j * m.bytes()}, low(j))
		}
		for i := range r {
			VPBROADCASTD(at(i, 0), codes(0))
			for j := range vectors {
				VPADDD(codes(0), low(j), acc(i, j))
			}
		}
		MOVQ(behind.Addr, k)
		for i := range (r + 2) / 3 {
			SUBQ(k, bases[i])
		}
		MOVQ(steps, k)
		JMP(LabelRef(loop))
		Label(more)
		MOVQ(dst, k)
		for i := range r {
			for j := range vectors {
				VMOVUPS(Mem{Base: k, Disp: j * m.bytes()}, acc(i, j))
			}
			ADDQ(ldt, k)
		}
		MOVQ(steps, k)
		Label(loop)
		for j := range vectors {
			VMOVUPS(Mem{Base: b, Disp: j * m.bytes()}, low(j))
			VMOVUPS(Mem{Base: b, Disp: 256 + j*m.bytes()}, raised(j))
		}
		ADDQ(I32(512), b)
		PREFETCHT1(Mem{Base: fetch})
		ADDQ(move, fetch)
		for i := range r {
			VPBROADCASTD(at(i, 0), codes(0))
			VPBROADCASTD(at(i, 4), codes(1))
			for j := range vectors {
				x, y := temp(), temp()
				VPADDB(codes(0), raised(j), x)
				VPADDB(codes(1), low(j), y)
				VPDPBUSD(y, x, acc(i, j))
			}
		}
		for i := range (r + 2) / 3 {
			ADDQ(Imm(8), bases[i])
		}
		DECQ(k)
		JNZ(LabelRef(loop))
		for i := range r {
			for j := range vectors {
				VMOVUPS(acc(i, j), Mem{Base: dst, Disp: j * m.bytes()})
			}
			ADDQ(ldt, dst)
		}
		if r < rows {
			JMP(LabelRef(done))
			continue
		}
		for i := rows; i > 0; {
			n := min(i, 8)
			for n&(n-1) != 0 {
				n--
			}
			LEAQ(Mem{Base: left, Index: ldl, Scale: uint8(n)}, left)
			i -= n
		}
		SUBQ(Imm(uint64(rows)), count)
		JNZ(LabelRef(next))
		JMP(LabelRef(done))
	}
	Label(done)
	end()
}
