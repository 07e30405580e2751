package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The product of 16-bit integers by S. Winograd's inner product (1968):
//
//	x₁·y₁ + x₂·y₂ = (x₁+y₂)·(x₂+y₁) - x₁·x₂ - y₁·y₂
//
// Two steps of a row by two of a panel are one multiplication and two additions in
// place of two multiplications; what is taken off depends on the row alone or on the
// column alone, and is found once for each.

// wordSums emits the tile of such products. A block is five rows by four vectors: 20
// sums, eight vectors of the panel, two steps of a row and two scratch registers.
func wordSums(m machine) {
	m.fn("tileWordSums", "(a *uint8, lda, step int, panel *int32, steps int, dst *int32, terms *int32, rows, add int)",
		"multiplies rows of 16-bit integers by one panel, two steps of four bytes at a time, and adds what terms have for each row and for each column, or where add is not 0 what dst has; "+
			"lda is in bytes, a step of a row lies step bytes after that before, those of dst lie side by side; the terms of the columns lie before the panel; steps and rows are positive.")
	const rows, nv = 5, 4
	lda, a, panel, steps, b, dst, count := reg.RAX, reg.RSI, reg.RDI, reg.RDX, reg.R10, reg.R11, reg.R12
	k, two, terms := reg.RCX, reg.R15, reg.RBX
	first, second := []reg.GPPhysical{reg.R8, reg.R9}, []reg.GPPhysical{reg.R13, reg.R14}
	Load(Param("a"), a)
	Load(Param("lda"), lda)
	Load(Param("step"), two)
	Load(Param("panel"), panel)
	Load(Param("steps"), steps)
	Load(Param("dst"), dst)
	Load(Param("terms"), terms)
	Load(Param("rows"), count)
	ADDQ(two, two)
	acc := func(i, j int) reg.VecPhysical { return m.v(i*nv + j) }
	bp := func(j int) reg.VecPhysical { return m.v(rows*nv + j) }
	bq := func(j int) reg.VecPhysical { return m.v(rows*nv + nv + j) }
	x, y, s, t := m.v(28), m.v(29), m.v(30), m.v(31)
	next, done := label("next"), label("done")
	blocks := make([]string, rows+1)
	for r := range blocks {
		blocks[r] = label("rows")
	}
	Label(next)
	MOVQ(two, k)
	SHRQ(Imm(1), k)
	MOVQ(a, first[0])
	LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, first[1])
	ADDQ(a, first[1])
	LEAQ(Mem{Base: first[0], Index: k, Scale: 1}, second[0])
	LEAQ(Mem{Base: first[1], Index: k, Scale: 1}, second[1])
	MOVQ(panel, b)
	MOVQ(steps, k)
	for r := 1; r < rows; r++ {
		CMPQ(count, Imm(uint64(r)))
		JEQ(LabelRef(blocks[r]))
	}
	for r := rows; r >= 1; r-- {
		Label(blocks[r])
		more, ready := label("more"), label("ready")
		CMPQ(param("add"), Imm(0))
		JNE(LabelRef(more))
		for j := range nv {
			VMOVDQU32(Mem{Base: panel, Disp: (j - nv) * m.bytes()}, bp(j))
		}
		for i := range r {
			VPBROADCASTD(Mem{Base: terms, Disp: 4 * i}, x)
			for j := range nv {
				VPADDD(x, bp(j), acc(i, j))
			}
		}
		JMP(LabelRef(ready))
		Label(more)
		for i := range r {
			for j := range nv {
				VMOVDQU32(Mem{Base: dst, Disp: (i*nv + j) * m.bytes()}, acc(i, j))
			}
		}
		Label(ready)
		loop, odd, stored := label("loop"), label("odd"), label("sums")
		SUBQ(Imm(2), k)
		JL(LabelRef(odd))
		Label(loop)
		for j := range nv {
			VMOVDQU32(Mem{Base: b, Disp: j * m.bytes()}, bp(j))
			VMOVDQU32(Mem{Base: b, Disp: (nv + j) * m.bytes()}, bq(j))
		}
		ADDQ(I32(int32(2*nv*m.bytes())), b)
		for i := range r {
			VPBROADCASTD(rowAt(first, lda, i), x)
			VPBROADCASTD(rowAt(second, lda, i), y)
			for j := range nv {
				VPADDW(x, bq(j), s)
				VPADDW(y, bp(j), t)
				VPDPWSSD(s, t, acc(i, j))
			}
		}
		for h := range min(2, (r+2)/3) {
			ADDQ(two, first[h])
			ADDQ(two, second[h])
		}
		SUBQ(Imm(2), k)
		JGE(LabelRef(loop))
		Label(odd)
		CMPQ(k, I32(-2))
		JEQ(LabelRef(stored))
		for j := range nv {
			VMOVDQU32(Mem{Base: b, Disp: j * m.bytes()}, bp(j))
		}
		for i := range r {
			VPBROADCASTD(rowAt(first, lda, i), x)
			for j := range nv {
				VPDPWSSD(bp(j), x, acc(i, j))
			}
		}
		Label(stored)
		for i := range r {
			for j := range nv {
				VMOVDQU32(acc(i, j), Mem{Base: dst, Disp: (i*nv + j) * m.bytes()})
			}
		}
		if r < rows {
			JMP(LabelRef(done))
			continue
		}
		ADDQ(I32(rows*nv*int32(m.bytes())), dst)
		ADDQ(Imm(4*rows), terms)
		LEAQ(Mem{Base: lda, Index: lda, Scale: 4}, k)
		ADDQ(k, a)
		SUBQ(Imm(rows), count)
		JNZ(LabelRef(next))
		JMP(LabelRef(done))
	}
	Label(done)
	end()
}

// rowTerms emits what the sums of a row take off.
func rowTerms(m machine) {
	m.fn("rowTerms", "(dst *int32, a *int16, lda, pairs, rows int)",
		"writes -Σ a₀·a₂+a₁·a₃ over the pairs of steps, four integers each, of every row; lda is in bytes, pairs and rows are positive.")
	dst, a, lda, pairs, count := integer("dst"), integer("a"), integer("lda"), integer("pairs"), integer("rows")
	SHLQ(Imm(1), pairs) // in words of 32 bits
	r := m.row(pairs)
	next := label("rows")
	Label(next)
	sum, none := m.zero(), m.zero()
	p := GP64()
	MOVQ(a, p)
	r.each(func(l lane) {
		v, w := l.load(p), m.vec()
		VPSRLQ(Imm(32), v, w)
		VPDPWSSD(w, v, sum)
	})
	m.spread(sum, func(b, a, d Op) { VPADDD(b, a, d) })
	VPSUBD(sum, none, sum)
	VMOVD(sum.AsX(), Mem{Base: dst})
	ADDQ(Imm(4), dst)
	ADDQ(lda, a)
	DECQ(count)
	JNZ(LabelRef(next))
	end()
}

// colTerms emits what the sums of columns take off.
func colTerms(m machine) {
	m.fn("colTerms", "(dst, words *int32, stride, pairs, cols int)",
		"writes -Σ p·q over the pairs p, q of rows of words, two integers each, for every column; rows are stride bytes apart; pairs and cols are positive.")
	dst, words, stride, pairs, n := integer("dst"), integer("words"), integer("stride"), integer("pairs"), integer("cols")
	m.columns(n, func(ls []lane) {
		var sums []reg.VecVirtual
		for range ls {
			sums = append(sums, m.zero())
		}
		p, c := GP64(), GP64()
		MOVQ(words, p)
		MOVQ(pairs, c)
		loop := label("down")
		Label(loop)
		q := GP64()
		LEAQ(Mem{Base: p, Index: stride, Scale: 1}, q)
		for i, l := range ls {
			VPDPWSSD(l.load(q), l.load(p), sums[i])
		}
		LEAQ(Mem{Base: p, Index: stride, Scale: 2}, p)
		DECQ(c)
		JNZ(LabelRef(loop))
		for i, l := range ls {
			v := m.zero()
			VPSUBD(sums[i], v, v)
			l.store(v, dst)
		}
	})
	end()
}
