package main

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tilePart emits the low-bit product: the tile, and what writes its panels.
func tilePart(m machine) {
	if m.wide() {
		tile(m, "tile", dotProduct{rows: 6, vectors: 4, ahead: true,
			step: func(b, a, acc, _ reg.Register) { VPDPBUSD(b, a, acc) }})
		tile(m, "tileHalf", dotProduct{rows: 6, vectors: 2, wide: 4,
			step: func(b, a, acc, _ reg.Register) { VPDPBUSD(b, a, acc) }})
	} else {
		tile(m, "tile", dotProduct{rows: 6, vectors: 2, words: true,
			step: func(b, a, acc, t reg.Register) {
				VPMADDUBSW(b, a, t)
				VPADDW(t, acc, acc)
			}})
		tile(m, "tileWords", dotProduct{rows: 6, vectors: 2, strided: true,
			step: func(b, a, acc, t reg.Register) {
				VPMADDWD(b, a, t)
				VPADDD(t, acc, acc)
			}})
	}
	unpack(m)
	if m.wide() {
		lookup(m)
		sums(m)
		peak(m)
	} else {
		pairs(m)
	}
}

// dotProduct is the arithmetic of a tile: a step multiplies four bytes of a row, as
// codes of 8 or of 16 bits, by those of one vector of outputs.
type dotProduct struct {
	rows, vectors int  // of a block, whose sums stay in registers
	ahead         bool // memory that is needed next is fetched meanwhile
	words         bool // sums are of 16 bits, to be widened at the end
	wide          int  // vectors of a step of the panel, where not all are used
	strided       bool // the steps of a row lie any number of bytes apart
	step          func(b, a, acc, scratch reg.Register)
}

// tile emits the product of rows of codes by one panel. Row i of a block is at
// base[i/3] + (i%3)·lda, and all bases move by the four bytes of a step.
func tile(m machine, name string, p dotProduct) {
	signature := "(a *uint8, lda int, panel *uint8, steps int, dst *int32, ldt int, rows int)"
	doc := "multiplies rows of codes by one panel; lda and ldt are in bytes, a step is four bytes of a row, steps and rows are positive."
	if p.ahead {
		signature = signature[:len(signature)-1] + ", ahead *uint8, lines int)"
		doc += " Meanwhile at least lines cache lines from ahead on are fetched, where rows and steps allow."
	}
	if !m.wide() {
		signature = "(a *uint8, lda int, panel *uint8, steps int, dst *int32, ldt int, rows int, add int)"
		doc += " Where add is not 0, the sums are added to dst."
	}
	if p.strided {
		signature = strings.Replace(signature, "lda int", "lda, step int", 1)
		doc = strings.Replace(doc, "a step is four bytes of a row,", "a step is four bytes of a row, step bytes after those before,", 1)
	}
	m.fn(name, signature, doc)
	bases := []reg.GPPhysical{reg.R8, reg.R9}
	lda, ldt, a, panel, steps, b, dst, count := reg.RAX, reg.RBX, reg.RSI, reg.RDI, reg.RDX, reg.R10, reg.R11, reg.R12
	k, add := reg.RCX, reg.R13
	Load(Param("a"), a)
	Load(Param("lda"), lda)
	Load(Param("panel"), panel)
	Load(Param("steps"), steps)
	Load(Param("dst"), dst)
	Load(Param("ldt"), ldt)
	Load(Param("rows"), count)
	if !m.wide() {
		Load(Param("add"), add)
	}
	fetch, move := reg.R13, reg.R15
	var stride Op = Imm(4)
	if p.strided {
		Load(Param("step"), reg.R15)
		stride = reg.R15
	}
	if p.ahead {
		Load(Param("ahead"), fetch)
	}
	next, done := label("next"), label("done")
	blocks := make([]string, p.rows+1)
	for r := range blocks {
		blocks[r] = label("rows")
	}
	nv := p.vectors
	acc := func(i, j int) reg.VecPhysical { return m.v(i*nv + j) }
	bv := func(j int) reg.VecPhysical { return m.v(p.rows*nv + j) }
	// The registers above the sums and the panel hold the codes of the rows, or one
	// row's and a scratch.
	free := p.rows*nv + nv
	av := func(i int) reg.VecPhysical { return m.v(free + i%(32-free)) }
	if !m.wide() {
		av = func(int) reg.VecPhysical { return m.v(free) }
	}
	scratch := func() reg.VecPhysical { return m.v(free + 1) }
	Label(next)
	MOVQ(a, bases[0])
	LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, bases[1])
	ADDQ(a, bases[1])
	MOVQ(panel, b)
	MOVQ(steps, k)
	if p.ahead {
		// One line a step while there are any left.
		lines := param("lines")
		enough := label("enough")
		XORQ(move, move)
		CMPQ(lines, Imm(0))
		JLE(LabelRef(enough))
		MOVQ(U32(64), move)
		SUBQ(k, lines)
		Label(enough)
	}
	for r := 1; r < p.rows; r++ {
		CMPQ(count, Imm(uint64(r)))
		JEQ(LabelRef(blocks[r]))
	}
	for r := p.rows; r >= 1; r-- {
		Label(blocks[r])
		for i := range r {
			for j := range nv {
				VXORPS(acc(i, j).AsX(), acc(i, j).AsX(), acc(i, j).AsX())
			}
		}
		loop := label("loop")
		Label(loop)
		for j := range nv {
			VMOVUPS(Mem{Base: b, Disp: j * m.bytes()}, bv(j))
		}
		ADDQ(I32(int32(max(nv, p.wide)*m.bytes())), b)
		if p.ahead {
			PREFETCHT1(Mem{Base: fetch})
			ADDQ(move, fetch)
		}
		for i := range r {
			VPBROADCASTD(rowAt(bases, lda, i), av(i))
			for j := range nv {
				if m.wide() {
					p.step(bv(j), av(i), acc(i, j), nil)
				} else {
					p.step(bv(j), av(i), acc(i, j), scratch())
				}
			}
		}
		ADDQ(stride, bases[0])
		if r > 3 {
			ADDQ(stride, bases[1])
		}
		DECQ(k)
		JNZ(LabelRef(loop))
		storeSums(m, p, r, acc, bv(0), add, dst, ldt)
		if r < p.rows {
			JMP(LabelRef(done))
			continue
		}
		for i := p.rows; i > 0; i -= 2 {
			LEAQ(Mem{Base: a, Index: lda, Scale: uint8(min(i, 2))}, a)
		}
		SUBQ(Imm(uint64(p.rows)), count)
		JNZ(LabelRef(next))
		JMP(LabelRef(done))
	}
	Label(done)
	end()
}

// storeSums writes the sums of a block of r rows, or adds them to dst, and moves
// dst on.
func storeSums(m machine, p dotProduct, r int, acc func(i, j int) reg.VecPhysical, one reg.VecPhysical, add, dst, ldt reg.GPPhysical) {
	each := func(more bool) {
		for i := range r {
			for j := range p.vectors {
				d := Mem{Base: dst, Disp: j * m.bytes()}
				if more {
					VPADDD(d, acc(i, j), acc(i, j))
				}
				VMOVUPS(acc(i, j), d)
			}
			ADDQ(ldt, dst)
		}
	}
	if p.words {
		VMOVUPS(c32("onesW", 0x00010001), one)
		for i := range r {
			for j := range p.vectors {
				VPMADDWD(one, acc(i, j), acc(i, j))
			}
		}
	}
	if m.wide() {
		each(false)
		return
	}
	more, out := label("add"), label("stored")
	TESTQ(add, add)
	JNZ(LabelRef(more))
	each(false)
	JMP(LabelRef(out))
	Label(more)
	each(true)
	Label(out)
}

// unpacker emits the unpacking of stored codes, see kernel's pack256.
type unpacker struct {
	m                      machine
	bits, field            int // field: bits of a code that lie together
	mask, half, four, low3 reg.VecVirtual
}

func newUnpacker(m machine, bits int) *unpacker {
	u := &unpacker{m: m, bits: bits, field: bits &^ 1}
	u.mask = m.get(c32("field"+string(rune('0'+u.field)), 0x01010101*(1<<u.field-1)))
	u.half = m.get(c32("half"+string(rune('0'+bits)), 0x01010101<<(bits-1)))
	if bits == 3 {
		u.four = m.vec()
		VMOVUPS(c32("third", 0x04040404), u.four)
	}
	return u
}

// vector is vector i of the group at src+disp: raised codes. The vectors of a group are
// taken in order.
func (u *unpacker) vector(src reg.Register, disp, i int) reg.VecVirtual {
	m := u.m
	v, per, plane := m.bytes(), 8/u.field, disp+256/8*u.field
	if u.bits == 3 && !m.wide() && i == 0 {
		u.low3 = m.vec()
		VMOVDQU(Mem{Base: src, Disp: plane}, u.low3)
	}
	s, d := Mem{Base: src, Disp: disp + i/per*v}, m.vec()
	and := func(a, b, c Op) {
		if m.wide() {
			VPANDD(a, b, c)
		} else {
			VPAND(a, b, c)
		}
	}
	if shift := i % per * u.field; shift == 0 {
		and(s, u.mask, d)
	} else {
		VMOVUPS(s, d)
		VPSRLW(Imm(uint64(shift)), d, d)
		and(u.mask, d, d)
	}
	switch {
	case u.bits == 3 && m.wide():
		q := K()
		KMOVQ(Mem{Base: src, Disp: plane + 8*i}, q)
		VPADDB(u.four, d, q, d)
	case u.bits == 3:
		t := m.vec()
		if i <= 2 {
			VPSLLW(Imm(uint64(2-i)), u.low3, t)
		} else {
			VPSRLW(Imm(uint64(i-2)), u.low3, t)
		}
		VPAND(u.four, t, t)
		VPOR(t, d, d)
	}
	return d
}

// unpack emits the unpacking of groups of 256 codes.
func unpack(m machine) {
	for bits := 2; bits <= 4; bits++ {
		m.fn([]string{"unpack2", "unpack3", "unpack4"}[bits-2], "(dst, src *uint8, groups int)", "unpacks groups of 256 codes; groups is positive.")
		dst, src, groups := integer("dst"), integer("src"), integer("groups")
		u := newUnpacker(m, bits)
		loop := label("loop")
		Label(loop)
		for i := range 256 / m.bytes() {
			d := u.vector(src, 0, i)
			VPSUBB(u.half, d, d)
			VMOVUPS(d, Mem{Base: dst, Disp: i * m.bytes()})
		}
		ADDQ(I32(int32(32*bits)), src)
		ADDQ(I32(256), dst)
		DECQ(groups)
		JNZ(LabelRef(loop))
		end()
	}
}

// peak emits the ceiling that benchmarks compare with: products of registers only.
func peak(m machine) {
	m.fn("peak", "(steps int)", "does 24 byte dot products per step on registers; for benchmarks.")
	n := integer("steps")
	loop := label("loop")
	for i := range 32 {
		VXORPS(m.v(i).AsX(), m.v(i).AsX(), m.v(i).AsX())
	}
	Label(loop)
	for i := range 24 {
		VPDPBUSD(m.v(24+i%4), m.v(28+i%4), m.v(i))
	}
	DECQ(n)
	JNZ(LabelRef(loop))
	end()
}
