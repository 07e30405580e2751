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

	factor, scale := q.broadcast(rowFactor), q.broadcast(rowScale)
	phase(func(v, i reg.GPVirtual) {
		top := m.get(c32("negInf", 0xff800000))
		first := m.vec()
		VPBROADCASTD(Mem{Base: row}, first)
		index := q.integer(rowRow)
		SUBQ(row, index)
		NEGQ(index)
		byRow := func(field int) reg.VecVirtual {
			d := m.vec()
			VBROADCASTSS(Mem{Base: q.integer(field), Index: index, Scale: 1}, d)
			return d
		}
		times, plus := byRow(rowTimes), byRow(rowPlus)
		scaled := label("scaled")
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
			r.each(func(l lane) {
				t := l.load(x)
				VPSUBD(first, t, t)
				if set[0] {
					VPSUBD(l.load(by[0]), t, t)
				}
				VCVTDQ2PS(t, t)
				VMULPS(factor, t, t)
				if set[3] {
					VMULPS(times, t, t)
					VMULPS(l.load(by[3]), t, t)
					u := l.load(by[4])
					VMULPS(plus, u, u)
					VADDPS(u, t, t)
				}
				VMULPS(scale, t, t)
				if set[1] {
					VADDPS(l.load(by[1]), t, t)
				}
				if set[2] {
					VADDPS(l.load(by[2]), t, t)
				}
				l.whole().store(t, v)
				l.greater(t, top)
			})
			JMP(LabelRef(scaled))
		}
		pick(nil)
		Label(scaled)
		m.spread(top, fmax)
		VMOVSS(top.AsX(), ofRow(i, 0))
		ADDQ(q.arg(rowLDX), x)
		for _, f := range [][2]int{{rowLDBias, rowBias}, {rowLDMask, rowMask}} {
			ADDQ(q.integer(f[0]), q.arg(f[1]))
		}
		ADDQ(Imm(4), row)
	})

	low, log2e, ln2Hi, ln2Lo := m.get(f32("expMin", -104)), m.get(f32("log2e", 1.4426950408889634)), m.get(f32("ln2Hi", 0.693359375)), m.get(f32("ln2Lo", -2.12194440e-4))
	var coefs []reg.VecVirtual
	for _, c := range expCoefs() {
		coefs = append(coefs, m.get(c))
	}
	phase(func(v, i reg.GPVirtual) {
		top, sum := m.vec(), m.zero()
		VBROADCASTSS(ofRow(i, 0), top)
		r.each(func(l lane) {
			// exp0 on registers
			e, n, p := l.whole().load(v), m.vec(), m.vec()
			VSUBPS(top, e, e)
			VMAXPS(e, low, e)
			VMULPS(log2e, e, n)
			m.round(n, n)
			VFNMADD231PS(ln2Hi, n, e)
			VFNMADD231PS(ln2Lo, n, e)
			VMOVAPS(coefs[len(coefs)-1], p)
			for k := len(coefs) - 2; k >= 0; k-- {
				VFMADD213PS(coefs[k], e, p)
			}
			VSCALEFPS(n, p, p)
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
