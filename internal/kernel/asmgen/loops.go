package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// integer loads an int argument.
func integer(name string) reg.GPVirtual {
	r := GP64()
	Load(Param(name), r)
	return r
}

// rowLoop is what all rows of n elements share: the bytes in whole vectors, the
// elements left over and their mask.
type rowLoop struct {
	machine
	full, rest reg.GPVirtual
	mask       reg.Register
}

func (m machine) row(n reg.GPVirtual) rowLoop {
	r := rowLoop{machine: m, full: GP64(), rest: GP64()}
	MOVQ(n, r.rest)
	ANDQ(Imm(uint64(m.lanes-1)), r.rest)
	MOVQ(n, r.full)
	SUBQ(r.rest, r.full)
	SHLQ(Imm(2), r.full)
	r.mask = m.tailMask(r.rest)
	return r
}

// each runs body over one row.
func (r rowLoop) each(body func(lane)) {
	idx := GP64()
	XORQ(idx, idx)
	loop, tail, done := label("cols"), label("colsTail"), label("colsDone")
	Label(loop)
	CMPQ(idx, r.full)
	JGE(LabelRef(tail))
	body(lane{machine: r.machine, idx: idx})
	ADDQ(Imm(uint64(r.bytes())), idx)
	JMP(LabelRef(loop))
	Label(tail)
	if r.wide() {
		KORTESTW(r.mask, r.mask)
	} else {
		TESTQ(r.rest, r.rest)
	}
	JZ(LabelRef(done))
	body(lane{machine: r.machine, tail: true, idx: idx, mask: r.mask})
	Label(done)
}

// each2 runs body over two rows; those of the second lie delta bytes after those of
// the first. Sums of two rows do not wait for each other.
func (r rowLoop) each2(delta reg.GPVirtual, body func(l [2]lane)) {
	r.each(func(l lane) {
		second := l
		idx := GP64()
		LEAQ(Mem{Base: l.idx, Index: delta, Scale: 1}, idx)
		second.idx = idx
		body([2]lane{l, second})
	})
}

// rows2 runs body once for each two rows, which lie stride bytes apart: delta is
// stride, or 0 where the last row is left without another and is done twice.
func rows2(count, stride reg.GPVirtual, body func(delta reg.GPVirtual)) {
	loop, two := label("rows"), label("two")
	Label(loop)
	delta := GP64()
	MOVQ(stride, delta)
	CMPQ(count, Imm(2))
	JGE(LabelRef(two))
	XORQ(delta, delta)
	Label(two)
	body(delta)
	SUBQ(Imm(2), count)
	JG(LabelRef(loop))
}

// next is the address of the second row's number after that at p; p itself where
// delta is 0.
func next(p, delta reg.GPVirtual) reg.GPVirtual {
	q := GP64()
	LEAQ(Mem{Base: p, Disp: 4}, q)
	TESTQ(delta, delta)
	CMOVQEQ(p, q)
	return q
}

// rows runs body once per row (rows > 0), then moves the row pointers on by
// stride bytes.
func rows(count, stride reg.GPVirtual, pointers []reg.GPVirtual, body func()) {
	loop := label("rows")
	Label(loop)
	body()
	for _, p := range pointers {
		ADDQ(stride, p)
	}
	DECQ(count)
	JNZ(LabelRef(loop))
}

// zero returns a vector of zeros.
func (m machine) zero() reg.VecVirtual {
	v := m.vec()
	VXORPS(v.AsX(), v.AsX(), v.AsX())
	return v
}

// keep clears the lanes of v beyond the tail.
func (l lane) keep(v reg.VecVirtual) {
	switch {
	case !l.tail:
	case l.wide():
		VMOVAPS_Z(v, l.mask, v)
	default:
		VANDPS(Mem{Base: l.mask}, v, v)
	}
}

// spread combines all lanes of v with do and leaves the result in every lane.
func (m machine) spread(v reg.VecVirtual, do func(b, a, d Op)) {
	t := m.vec()
	if m.wide() {
		VSHUFF32X4(Imm(0x4e), v, v, t)
		do(t, v, v)
		VSHUFF32X4(Imm(0xb1), v, v, t)
		do(t, v, v)
	} else {
		VPERM2F128(Imm(1), v, v, t)
		do(t, v, v)
	}
	for _, s := range []uint64{0x4e, 0xb1} {
		VPERMILPS(Imm(s), v, t)
		do(t, v, v)
	}
}

func fadd(b, a, d Op) { VADDPS(b, a, d) }
func fmax(b, a, d Op) { VMAXPS(b, a, d) }

// count broadcasts an integer as a float32.
func (m machine) count(n reg.GPVirtual) reg.VecVirtual {
	v := m.vec()
	x := XMM()
	VXORPS(x, x, x)
	VCVTSI2SSQ(n, x, x)
	VBROADCASTSS(x, v)
	return v
}

// columns runs body over the columns of a matrix in strips of four vectors, then
// one, then the tail; n (elements) is overwritten. body loops over the rows.
func (m machine) columns(n reg.GPVirtual, body func([]lane)) {
	idx := GP64()
	XORQ(idx, idx)
	four, one, tail, done := label("strip4"), label("strip1"), label("stripTail"), label("stripDone")
	strip := func(loop, next string, count int) {
		Label(loop)
		CMPQ(n, Imm(uint64(count*m.lanes)))
		JLT(LabelRef(next))
		var l []lane
		for i := range count {
			l = append(l, lane{machine: m, idx: idx, disp: i * m.bytes()})
		}
		body(l)
		ADDQ(I32(int32(count*m.bytes())), idx)
		SUBQ(Imm(uint64(count*m.lanes)), n)
		JMP(LabelRef(loop))
	}
	strip(four, one, 4)
	strip(one, tail, 1)
	Label(tail)
	TESTQ(n, n)
	JZ(LabelRef(done))
	body([]lane{{machine: m, tail: true, idx: idx, mask: m.tailMask(n)}})
	Label(done)
}

// step16 is sixteen elements: one or two vectors.
type step16 []lane

// each16 runs body over n elements sixteen at a time, then once over what is
// left; n is overwritten.
func (m machine) each16(n reg.GPVirtual, body func(step16)) {
	idx := GP64()
	XORQ(idx, idx)
	loop, tail, done := label("loop"), label("tail"), label("done")
	var s, t step16
	for i := range 16 / m.lanes {
		s = append(s, lane{machine: m, idx: idx, disp: i * m.bytes()})
	}
	SUBQ(Imm(16), n)
	JLT(LabelRef(tail))
	Label(loop)
	body(s)
	ADDQ(Imm(64), idx)
	SUBQ(Imm(16), n)
	JGE(LabelRef(loop))
	Label(tail)
	ADDQ(Imm(16), n)
	JZ(LabelRef(done))
	if m.wide() {
		t = step16{{machine: m, tail: true, idx: idx, mask: m.tailMask(n)}}
	} else {
		first, second := split8(n)
		t = step16{
			{machine: m, tail: true, idx: idx, mask: maskAddress(first)},
			{machine: m, tail: true, idx: idx, mask: maskAddress(second), disp: 32},
		}
	}
	body(t)
	Label(done)
}

// split8 is min(n, 8) and what is left of n.
func split8(n reg.GPVirtual) (first, second reg.GPVirtual) {
	first, second = GP64(), GP64()
	eight := GP64()
	MOVQ(U32(8), eight)
	MOVQ(n, first)
	CMPQ(first, eight)
	CMOVQGT(eight, first)
	MOVQ(n, second)
	SUBQ(first, second)
	return first, second
}

// doubles is sixteen float64 partial sums: two or four vectors.
func (m machine) doubles() (v []reg.VecVirtual) {
	for range 32 / m.lanes {
		v = append(v, m.zero())
	}
	return v
}

// widen converts the float32 lanes of v to two vectors of float64.
func (m machine) widen(v reg.VecVirtual) [2]reg.VecVirtual {
	lo, hi := m.vec(), m.vec()
	if m.wide() {
		t := YMM()
		VEXTRACTF64X4(Imm(1), v, t)
		VCVTPS2PD(v.AsY(), lo)
		VCVTPS2PD(t, hi)
	} else {
		t := XMM()
		VEXTRACTF128(Imm(1), v, t)
		VCVTPS2PD(v.AsX(), lo)
		VCVTPS2PD(t, hi)
	}
	return [2]reg.VecVirtual{lo, hi}
}

// total adds sixteen partial sums: i and i+8, then i and i+4, i+2, i+1.
func (m machine) total(v []reg.VecVirtual) reg.VecVirtual {
	var y reg.VecVirtual
	if m.wide() {
		VADDPD(v[1], v[0], v[0])
		y = YMM()
		VEXTRACTF64X4(Imm(1), v[0], y)
		VADDPD(y, v[0].AsY(), y)
	} else {
		VADDPD(v[2], v[0], v[0])
		VADDPD(v[3], v[1], v[1])
		VADDPD(v[1], v[0], v[0])
		y = v[0]
	}
	x, s := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, x)
	VADDPD(x, y.AsX(), x)
	VPERMILPD(Imm(1), x, s)
	VADDSD(s, x, x)
	return x
}
