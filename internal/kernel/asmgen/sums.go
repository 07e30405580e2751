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
	termSums(m)
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

// termSums emits the terms of rows, four rows and then one at a time.
func termSums(m machine) {
	m.fn("termSums", "(dst *int32, a *uint8, lda int, k int, half uint8, rows int)",
		"writes the terms of rows of k codes, a multiple of 8; k and rows are positive.")
	dst, a, lda, k, rows := integer("dst"), integer("a"), integer("lda"), integer("k"), integer("rows")
	half, zero := m.bytesOf("half"), m.zero()
	// The last vector has the codes that tail masks.
	n, tail, all := GP64(), K(), GP64()
	LEAQ(Mem{Base: k, Disp: -1}, n)
	ANDQ(I8(63), n)
	INCQ(n)
	MOVQ(I32(-1), all)
	whole := label("whole")
	CMPQ(n, Imm(64))
	JEQ(LabelRef(whole))
	BZHIQ(n, all, all)
	Label(whole)
	KMOVQ(all, tail)
	// The first of each two words.
	first, word := K(), GP32()
	MOVL(U32(0x5555), word)
	KMOVW(word, first)
	one, done := label("one"), label("done")
	for _, r := range []int{4, 1} {
		next := label("rows")
		Label(next)
		CMPQ(rows, Imm(uint64(r)))
		if r > 1 {
			JLT(LabelRef(one))
		} else {
			JLT(LabelRef(done))
		}
		src, left := []reg.GPVirtual{GP64(), GP64(), GP64(), GP64()}, GP64()
		terms := make([]reg.VecVirtual, 4)
		for i := range r {
			if i == 0 {
				MOVQ(a, src[0])
			} else {
				LEAQ(Mem{Base: src[i-1], Index: lda, Scale: 1}, src[i])
			}
		}
		for i := range terms {
			terms[i] = m.zero()
		}
		multiply := func(load func(s Mem, v reg.VecVirtual)) {
			for i := range r {
				v, swapped := m.vec(), m.vec()
				load(Mem{Base: src[i]}, v)
				VPSHUFD(Imm(0xb1), v, swapped)
				VPADDB(half, v, v)
				VPDPBUSD(swapped, v, first, terms[i])
			}
		}
		loop, last := label("loop"), label("last")
		MOVQ(k, left)
		Label(loop)
		CMPQ(left, Imm(64))
		JLE(LabelRef(last))
		multiply(func(s Mem, v reg.VecVirtual) { VMOVDQU64(s, v) })
		for i := range r {
			ADDQ(Imm(64), src[i])
		}
		SUBQ(Imm(64), left)
		JMP(LabelRef(loop))
		Label(last)
		multiply(func(s Mem, v reg.VecVirtual) { VMOVDQU8_Z(s, tail, v) })
		// The sums of the lanes of each become one word each.
		sum := func(low, high func(...Op), x, y reg.VecVirtual) reg.VecVirtual {
			u, v := m.vec(), m.vec()
			low(y, x, u)
			high(y, x, v)
			VPADDD(u, v, v)
			return v
		}
		x := sum(VPUNPCKLDQ, VPUNPCKHDQ, terms[0], terms[1])
		y := sum(VPUNPCKLDQ, VPUNPCKHDQ, terms[2], terms[3])
		x = sum(VPUNPCKLQDQ, VPUNPCKHQDQ, x, y)
		t := m.vec()
		VEXTRACTI64X4(Imm(1), x, t.AsY())
		VPADDD(t.AsY(), x.AsY(), x.AsY())
		VEXTRACTI128(Imm(1), x.AsY(), t.AsX())
		VPADDD(t.AsX(), x.AsX(), x.AsX())
		VPSUBD(x.AsX(), zero.AsX(), x.AsX())
		if r > 1 {
			VMOVDQU(x.AsX(), Mem{Base: dst})
		} else {
			VMOVD(x.AsX(), Mem{Base: dst})
		}
		for range r {
			ADDQ(lda, a)
		}
		ADDQ(Imm(uint64(4*r)), dst)
		SUBQ(Imm(uint64(r)), rows)
		JMP(LabelRef(next))
		if r > 1 {
			Label(one)
		}
	}
	Label(done)
	end()
}

// tileSums emits the product of rows by vectors of one unpacked panel, which is always
// four wide. Row i of a block is at base[i/3] + (i%3)·lda, and all bases move by the eight
// bytes of a step.
func tileSums(m machine, name string, rows, vectors int) {
	m.fn(name, "(a *uint8, lda int, terms *int32, panel *uint8, columns *int32, steps int, dst *int32, ldt int, rows int, ahead *uint8, lines int)",
		"multiplies rows of codes by a panel; lda and ldt are in bytes, a step is eight codes of a row, steps and rows are positive. Sums begin with the terms of rows and of columns or, where columns is nil, with dst. Meanwhile at least lines cache lines from ahead on are fetched, where rows and steps allow.")
	bases := []reg.GPPhysical{reg.R8, reg.R9, reg.R14}
	lda, ldt, a, panel, steps, b, dst, count := reg.RAX, reg.RBX, reg.RSI, reg.RDI, reg.RDX, reg.R10, reg.R11, reg.R12
	k, fetch, move := reg.RCX, reg.R13, reg.R15
	Load(Param("a"), a)
	Load(Param("lda"), lda)
	Load(Param("panel"), panel)
	Load(Param("steps"), steps)
	Load(Param("dst"), dst)
	Load(Param("ldt"), ldt)
	Load(Param("rows"), count)
	Load(Param("ahead"), fetch)
	terms, columns, lines := param("terms"), param("columns"), param("lines")
	acc := func(i, j int) reg.VecPhysical { return m.v(i*vectors + j) }
	low := func(j int) reg.VecPhysical { return m.v(rows*vectors + j) }
	raised := func(j int) reg.VecPhysical { return m.v((rows+1)*vectors + j) }
	free := (rows + 2) * vectors
	codes := func(i int) reg.VecPhysical { return m.v(free + i) }
	temps, turn := 32-free-2, 0
	temp := func() reg.VecPhysical { turn++; return m.v(free + 2 + turn%temps) }
	next, done, enough := label("next"), label("done"), label("enough")
	blocks := make([]string, rows+1)
	for r := range blocks {
		blocks[r] = label("rows")
	}
	Label(next)
	MOVQ(a, bases[0])
	for i := 1; i < (rows+2)/3; i++ {
		LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, bases[i])
		ADDQ(bases[i-1], bases[i])
	}
	// One line a step while there are any left.
	XORQ(move, move)
	CMPQ(lines, Imm(0))
	JLE(LabelRef(enough))
	MOVQ(U32(64), move)
	SUBQ(steps, lines)
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
		MOVQ(columns, k)
		TESTQ(k, k)
		JZ(LabelRef(more))
		for j := range vectors {
			VMOVUPS(Mem{Base: k, Disp: j * m.bytes()}, low(j))
		}
		MOVQ(terms, k)
		for i := range r {
			VPBROADCASTD(Mem{Base: k, Disp: 4 * i}, codes(0))
			for j := range vectors {
				VPADDD(codes(0), low(j), acc(i, j))
			}
		}
		ADDQ(Imm(uint64(4*r)), terms)
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
			VPBROADCASTD(rowAt(bases, lda, i), codes(0))
			VPBROADCASTD(rowAt(bases, lda, i).Offset(4), codes(1))
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
			LEAQ(Mem{Base: a, Index: lda, Scale: uint8(n)}, a)
			i -= n
		}
		SUBQ(Imm(uint64(rows)), count)
		JNZ(LabelRef(next))
		JMP(LabelRef(done))
	}
	Label(done)
	end()
}
