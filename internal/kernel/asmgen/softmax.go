package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// softmaxBlock is the number of rows that softmaxWide takes through one phase before
// the next, so that the ends of their sums do not wait for each other. Its scratch
// begins with two vectors: the rows' greatest logits, then the reciprocals of their
// sums.
const softmaxBlock = 8

// softmaxWide is softmaxQuantize for the wide machine: the same arithmetic in three
// phases of a few rows each.
func softmaxWide(m machine) {
	m.fn("softmaxCodes", "(p *byte)", "writes the codes of the softmax of rows of sums; p points to a rowArgs, whose scratch holds 32 floats and 8 rows of whole vectors.")
	q := quantRows{m, integer("p")}
	x, dst, row := q.integer(rowX), q.integer(rowDst), q.integer(rowRow)
	r := m.row(q.integer(rowN))
	next, block := label("block"), GP64()
	Label(next)
	few := label("few")
	MOVQ(U32(softmaxBlock), block)
	CMPQ(q.arg(rowRows), block)
	JGE(LabelRef(few))
	MOVQ(q.arg(rowRows), block)
	Label(few)
	// phase runs body for each row of the block: v is its scratch, i its number times 4.
	phase := func(body func(v, i reg.GPVirtual)) {
		v, i, end := q.integer(rowScratch), GP64(), GP64()
		LEAQ(Mem{Base: block, Index: block, Scale: 1}, end)
		ADDQ(end, end)
		ADDQ(Imm(128), v)
		XORQ(i, i)
		loop := label("phase")
		Label(loop)
		body(v, i)
		ADDQ(r.full, v)
		ADDQ(Imm(64), v)
		ADDQ(Imm(4), i)
		CMPQ(i, end)
		JLT(LabelRef(loop))
	}
	// ofRow is where row i's number of the scratch lies.
	ofRow := func(i reg.GPVirtual, at int) Mem {
		return Mem{Base: q.integer(rowScratch), Index: i, Scale: 1, Disp: at}
	}

	lg := rowLogits{factor: q.broadcast(rowFactor), scale: q.broadcast(rowScale)}
	phase(func(v, i reg.GPVirtual) {
		top := m.get(c32("negInf", 0xff800000))
		q.ofRow(&lg, row)
		scaled := label("scaled")
		q.logits(func(set []bool, by [5]reg.GPVirtual) {
			r.each(func(l lane) {
				t := lg.value(l, x, set, by)
				l.whole().store(t, v)
				l.greater(t, top)
			})
			JMP(LabelRef(scaled))
		})
		Label(scaled)
		m.spread(top, fmax)
		VMOVSS(top.AsX(), ofRow(i, 0))
		ADDQ(q.arg(rowLDX), x)
		for _, f := range [][2]int{{rowLDBias, rowBias}, {rowLDMask, rowMask}} {
			ADDQ(q.integer(f[0]), q.arg(f[1]))
		}
		ADDQ(Imm(4), row)
	})

	ex := newExponential(m)
	phase(func(v, i reg.GPVirtual) {
		top, sum := m.vec(), m.zero()
		VBROADCASTSS(ofRow(i, 0), top)
		r.each(func(l lane) {
			p := ex.of(m, l.whole().load(v), top)
			l.keep(p)
			VADDPS(p, sum, sum)
			l.whole().store(p, v)
		})
		m.spread(sum, fadd)
		k := XMM()
		VMOVSS(one(), k)
		VDIVSS(sum.AsX(), k, k)
		VMOVSS(k, ofRow(i, 64))
	})

	ended := label("ended")
	codes := func(put func(l lane, e reg.VecVirtual, d reg.GPVirtual)) {
		phase(func(v, i reg.GPVirtual) {
			k, d := m.vec(), GP64()
			VBROADCASTSS(ofRow(i, 64), k)
			MOVQ(dst, d)
			r.each(func(l lane) {
				e := l.whole().load(v)
				VMULPS(k, e, e)
				put(l, e, d)
			})
			ADDQ(q.arg(rowLDD), dst)
		})
		JMP(LabelRef(ended))
	}
	divide := label("divide")
	CMPL(q.arg(rowInv), Imm(0))
	JEQ(LabelRef(divide))
	z := q.inverse()
	codes(func(l lane, e reg.VecVirtual, d reg.GPVirtual) {
		z.codes(m, e)
		l.putBytes(e, d)
	})
	Label(divide)
	grid, add := q.quantizer()
	codes(func(l lane, e reg.VecVirtual, d reg.GPVirtual) { l.put8(e, grid, add, d) })
	Label(ended)
	SUBQ(block, q.arg(rowRows))
	JNZ(LabelRef(next))
	end()
}

// rowLogits is what the logits of a row are made with, see kernel's Logits.
type rowLogits struct{ first, factor, scale, times, plus reg.VecVirtual }

// ofRow loads the numbers of one row; row is the address of its rowRow.
func (q quantRows) ofRow(l *rowLogits, row reg.GPVirtual) {
	l.first = q.vec()
	VPBROADCASTD(Mem{Base: row}, l.first)
	index := q.integer(rowRow)
	SUBQ(row, index)
	NEGQ(index)
	byRow := func(field int) reg.VecVirtual {
		d := q.vec()
		VBROADCASTSS(Mem{Base: q.integer(field), Index: index, Scale: 1}, d)
		return d
	}
	l.times, l.plus = byRow(rowTimes), byRow(rowPlus)
}

// logits emits body once for each set of arrays that may be there: by column,
// offset and the two of the rescaling (by[3:]); by element, bias and mask.
func (q quantRows) logits(body func(set []bool, by [5]reg.GPVirtual)) {
	var pick func(set []bool)
	pick = func(set []bool) {
		if len(set) < 4 {
			no := label("variant")
			CMPQ(q.arg([]int{rowOffset, rowBias, rowMask, rowColTimes}[len(set)]), Imm(0))
			JEQ(LabelRef(no))
			pick(append(set[:len(set):len(set)], true))
			Label(no)
			pick(append(set[:len(set):len(set)], false))
			return
		}
		var by [5]reg.GPVirtual
		for k, field := range []int{rowOffset, rowBias, rowMask, rowColTimes, rowColPlus} {
			if set[min(k, 3)] {
				by[k] = q.integer(field)
			}
		}
		body(set, by)
	}
	pick(nil)
}

// value computes the logits of a step.
func (g *rowLogits) value(l lane, x reg.GPVirtual, set []bool, by [5]reg.GPVirtual) reg.VecVirtual {
	t := l.load(x)
	VPSUBD(g.first, t, t)
	if set[0] {
		VPSUBD(l.load(by[0]), t, t)
	}
	VCVTDQ2PS(t, t)
	VMULPS(g.factor, t, t)
	if set[3] {
		VMULPS(g.times, t, t)
		VMULPS(l.load(by[3]), t, t)
		u := l.load(by[4])
		VMULPS(g.plus, u, u)
		VADDPS(u, t, t)
	}
	VMULPS(g.scale, t, t)
	for k := 1; k <= 2; k++ {
		if set[k] {
			VADDPS(l.load(by[k]), t, t)
		}
	}
	return t
}

// exponential is exp0 with its constants in registers.
type exponential struct {
	low, log2e, ln2Hi, ln2Lo reg.VecVirtual
	coefs                    []reg.VecVirtual
}

func newExponential(m machine) (e exponential) {
	e.low, e.log2e = m.get(f32("expMin", -104)), m.get(f32("log2e", 1.4426950408889634))
	e.ln2Hi, e.ln2Lo = m.get(f32("ln2Hi", 0.693359375)), m.get(f32("ln2Lo", -2.12194440e-4))
	for i, c := range expCoefs() {
		if i == 1 { // the first two are 1
			e.coefs = append(e.coefs, e.coefs[0])
			continue
		}
		e.coefs = append(e.coefs, m.get(c))
	}
	return e
}

// of returns e^(x-top), where x-top is below 0 or as little above it as a rounding;
// x is overwritten.
func (e *exponential) of(m machine, x, top reg.VecVirtual) reg.VecVirtual {
	n, p := m.vec(), m.vec()
	VSUBPS(top, x, x)
	VMAXPS(x, e.low, x)
	VMULPS(e.log2e, x, n)
	m.round(n, n)
	VFNMADD231PS(e.ln2Hi, n, x)
	VFNMADD231PS(e.ln2Lo, n, x)
	VMOVAPS(e.coefs[len(e.coefs)-1], p)
	for k := len(e.coefs) - 2; k >= 0; k-- {
		VFMADD213PS(e.coefs[k], x, p)
	}
	VSCALEFPS(n, p, p)
	return p
}

// narrowBlock is the number of rows that softmaxNarrow takes through one phase. Its
// scratch is the rows' greatest logits (two vectors), the reciprocals of their sums,
// a vector of each row to be combined, and four vectors of values.
const (
	narrowBlock  = 32
	narrowBy     = 256
	narrowValues = narrowBy + 64*narrowBlock
)

// softmaxNarrow is softmaxWide for rows of 49 to 64 elements and a grid that has an
// inverse and no zero point. Greatest logits and sums are found for 16 rows at once.
func softmaxNarrow(m machine) {
	m.fn("softmaxCodes64", "(p *byte)", "writes the codes of the softmax of rows of 49 to 64 sums; p points to a rowArgs with an inverse, whose least code and zero point are 0, and a scratch of 10,496 bytes.")
	q := quantRows{m, integer("p")}
	x, dst, row := q.integer(rowX), q.integer(rowDst), q.integer(rowRow)
	ones, n := GP64(), q.integer(rowN)
	bytes := K()
	MOVQ(I32(-1), ones)
	full := label("full")
	CMPQ(n, Imm(64))
	JGE(LabelRef(full))
	BZHIQ(n, ones, ones)
	Label(full)
	KMOVQ(ones, bytes)
	last := K()
	KSHIFTRQ(Imm(48), bytes, last)
	lanes := func(base int) (l [4]lane) {
		for j := range l {
			l[j] = lane{machine: m, disp: 64*j + base, tail: j == 3, mask: last}
		}
		return l
	}
	lg := rowLogits{factor: q.broadcast(rowFactor), scale: q.broadcast(rowScale)}
	ex := newExponential(m)
	z := inverse{alpha: q.broadcast(rowAlpha), inv: q.broadcast(rowInv), hi: q.broadcast(rowHi)}
	order := m.vec()
	VMOVUPS(byteOrder(), order)
	next, block, scratch := label("block"), GP64(), q.integer(rowScratch)
	Label(next)
	few := label("few")
	MOVQ(U32(narrowBlock), block)
	CMPQ(q.arg(rowRows), block)
	JGE(LabelRef(few))
	MOVQ(q.arg(rowRows), block)
	Label(few)
	// phase runs body for each row: v is its values, by its vector to be combined.
	phase := func(body func(v, by, i reg.GPVirtual)) {
		v, by, i, loop := GP64(), GP64(), GP64(), label("phase")
		LEAQ(Mem{Base: scratch, Disp: narrowValues}, v)
		LEAQ(Mem{Base: scratch, Disp: narrowBy}, by)
		XORQ(i, i)
		Label(loop)
		body(v, by, i)
		ADDQ(I32(256), v)
		ADDQ(Imm(64), by)
		INCQ(i)
		CMPQ(i, block)
		JLT(LabelRef(loop))
	}
	// combine makes one number of each row's vector and stores what body makes of them.
	combine := func(do func(b, a, d Op), disp int, body func(v reg.VecVirtual)) {
		by, at, left, loop := GP64(), GP64(), GP64(), label("combine")
		LEAQ(Mem{Base: scratch, Disp: narrowBy}, by)
		MOVQ(scratch, at)
		MOVQ(block, left)
		Label(loop)
		v := m.total16(by, do)
		body(v)
		VMOVUPS(v, Mem{Base: at, Disp: disp})
		ADDQ(I32(16*64), by)
		ADDQ(Imm(64), at)
		SUBQ(Imm(16), left)
		JG(LabelRef(loop))
	}
	phase(func(v, by, i reg.GPVirtual) {
		scaled := label("scaled")
		q.ofRow(&lg, row)
		q.logits(func(set []bool, arrays [5]reg.GPVirtual) {
			top := m.vec()
			for j, l := range lanes(0) {
				t := lg.value(l, x, set, arrays)
				l.whole().store(t, v)
				if j == 0 {
					top = t
				} else {
					l.greater(t, top)
				}
			}
			VMOVUPS(top, Mem{Base: by})
			JMP(LabelRef(scaled))
		})
		Label(scaled)
		ADDQ(q.arg(rowLDX), x)
		for _, f := range [][2]int{{rowLDBias, rowBias}, {rowLDMask, rowMask}} {
			ADDQ(q.integer(f[0]), q.arg(f[1]))
		}
		ADDQ(Imm(4), row)
	})
	combine(fmax, 0, func(reg.VecVirtual) {})
	phase(func(v, by, i reg.GPVirtual) {
		top, sum := m.vec(), m.vec()
		VBROADCASTSS(Mem{Base: scratch, Index: i, Scale: 4}, top)
		for j, l := range lanes(0) {
			t := ex.of(m, l.whole().load(v), top)
			l.keep(t)
			l.whole().store(t, v)
			if j == 0 {
				sum = t
			} else {
				VADDPS(t, sum, sum)
			}
		}
		VMOVUPS(sum, Mem{Base: by})
	})
	combine(fadd, 128, func(sum reg.VecVirtual) {
		k := m.get(one())
		VDIVPS(sum, k, sum)
	})
	phase(func(v, by, i reg.GPVirtual) {
		k := m.vec()
		VBROADCASTSS(Mem{Base: scratch, Index: i, Scale: 4, Disp: 128}, k)
		var t []reg.VecVirtual
		for _, l := range lanes(0) {
			e := l.whole().load(v)
			VMULPS(k, e, e)
			z.codes(m, e)
			t = append(t, e)
		}
		packBytes(t, order)
		VMOVDQU8(t[0], bytes, Mem{Base: dst})
		ADDQ(q.arg(rowLDD), dst)
	})
	SUBQ(block, q.arg(rowRows))
	JNZ(LabelRef(next))
	end()
}

// whole is the step on memory that whole vectors may be read from and written to.
func (l lane) whole() lane {
	l.tail = false
	return l
}

// inverse is the grid for codes without division.
func (q quantRows) inverse() inverse {
	z := inverse{q.broadcast(rowAlpha), q.broadcast(rowInv), q.broadcast(rowLo), q.broadcast(rowHi), q.vec()}
	VPBROADCASTD(q.arg(rowZero), z.zero)
	return z
}

// putBytes writes the low bytes at d, which moves on but for the tail.
func (l lane) putBytes(codes reg.VecVirtual, d reg.GPVirtual) {
	if l.tail {
		VPMOVDB(codes, l.mask, Mem{Base: d})
		return
	}
	VPMOVDB(codes, Mem{Base: d})
	ADDQ(Imm(uint64(l.lanes)), d)
}
