package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Byte offsets of the fields of kernel's rowArgs.
const (
	rowX        = 8 * iota
	rowLDX      // bytes
	rowRows     // positive
	rowN        // positive
	rowDst      // bytes
	rowLDD      // bytes
	rowScratch  // n float32
	rowGamma    // or nil
	rowBeta     // or nil
	rowOffset   // int32 by column, or nil
	rowRow      // int32 by row
	rowBias     // float32, or nil
	rowLDBias   // bytes
	rowMask     // float32, or nil
	rowLDMask   // bytes
	rowEps      // float32
	rowFactor   // float32
	rowScale    // float32
	rowAlpha    // float32
	rowZp       // float32
	rowQn       // float32
	rowQp       // float32
	rowAdd      // float32
	rowTimes    // float32 by row
	rowPlus     // float32 by row
	rowColTimes // float32 by column, or nil
	rowColPlus  // float32 by column
	rowMean     // float32 by row, or nil
	rowRstd     // float32 by row
	rowInv      // float32; 0: divide
	rowLo       // float32
	rowHi       // float32
	rowZero     // integer
	rowFixed    // three float32, see fixed
)

// rowQuantPart emits the row kernels that end in a quantiser.
func rowQuantPart(m machine) {
	layerNormQuantize(m)
	if m.wide() {
		softmaxWide(m)
		softmaxNarrow(m)
		normWide(m, false)
	} else {
		softmaxQuantize(m)
	}
}

// quantRows is a loop over the rows of a kernel whose arguments are at p.
type quantRows struct {
	machine
	p reg.GPVirtual
}

func (q quantRows) arg(field int) Mem { return Mem{Base: q.p, Disp: field} }

func (q quantRows) integer(field int) reg.GPVirtual {
	v := GP64()
	MOVQ(q.arg(field), v)
	return v
}

func (q quantRows) broadcast(field int) reg.VecVirtual {
	v := q.vec()
	VBROADCASTSS(q.arg(field), v)
	return v
}

// constant is a float32 for a loop: broadcast once where registers are plenty.
func (q quantRows) constant(field int) func() reg.VecVirtual {
	if !q.wide() {
		return func() reg.VecVirtual { return q.broadcast(field) }
	}
	v := q.broadcast(field)
	return func() reg.VecVirtual { return v }
}

// quantizer is the grid, and what is added to its codes.
func (q quantRows) quantizer() (z quantizer, add func() reg.VecVirtual) {
	return quantizer{q.constant(rowAlpha), q.constant(rowZp), q.constant(rowQn), q.constant(rowQp)}, q.constant(rowAdd)
}

// put8 writes the codes of v at d, which moves on but for the tail.
func (l lane) put8(v reg.VecVirtual, z quantizer, add func() reg.VecVirtual, d reg.GPVirtual) {
	VDIVPS(z.alpha(), v, v)
	q := l.code(v, z)
	VADDPS(add(), q, q)
	VCVTPS2DQ(q, q)
	switch {
	case l.wide() && l.tail:
		VPMOVDB(q, l.mask, Mem{Base: d})
		return
	case l.wide():
		VPMOVDB(q, Mem{Base: d})
	default:
		hi := XMM()
		VPSHUFB(lowBytes(), q, q)
		VEXTRACTI128(Imm(1), q, hi)
		VPUNPCKLDQ(hi, q.AsX(), hi)
		if l.tail {
			l.tailBytes(hi, d)
			return
		}
		VMOVQ(hi, Mem{Base: d})
	}
	ADDQ(Imm(uint64(l.lanes)), d)
}

// tailBytes writes the bytes of the tail one by one; the mask begins with as many
// lanes of ones.
func (l lane) tailBytes(x reg.VecVirtual, d reg.GPVirtual) {
	bytes, at, to := GP64(), GP64(), GP64()
	VMOVQ(x, bytes)
	MOVQ(l.mask, at)
	MOVQ(d, to)
	loop, done := label("bytes"), label("bytesDone")
	Label(loop)
	CMPL(Mem{Base: at}, Imm(0))
	JEQ(LabelRef(done))
	MOVB(bytes.As8(), Mem{Base: to})
	SHRQ(Imm(8), bytes)
	INCQ(to)
	ADDQ(Imm(4), at)
	JMP(LabelRef(loop))
	Label(done)
}

func layerNormQuantize(m machine) {
	m.fn("layerNormCodes", "(p *byte)", "normalises rows and writes their codes; p points to a rowArgs.")
	q := quantRows{m, integer("p")}
	x, dst, count, gamma, beta := q.integer(rowX), q.integer(rowDst), q.integer(rowRows), q.integer(rowGamma), q.integer(rowBeta)
	n := q.integer(rowN)
	eps := q.broadcast(rowEps)
	size := m.count(n)
	r := m.row(n)
	z, add := q.quantizer()
	variants([]reg.GPVirtual{gamma, beta}, func(set []bool) {
		rows2(count, q.integer(rowLDX), func(delta reg.GPVirtual) {
			avg, k := r.moments(x, delta, size, eps)
			q.moments(count, delta, avg, k)
			second, one := GP64(), label("one")
			MOVQ(dst, second)
			TESTQ(delta, delta)
			JZ(LabelRef(one))
			ADDQ(q.arg(rowLDD), second)
			Label(one)
			// The addresses are fetched where they are used: registers are few.
			fetch := func(field int) func() reg.GPVirtual { return func() reg.GPVirtual { return q.integer(field) } }
			r.each2(delta, func(l [2]lane) {
				for i, d := range []reg.GPVirtual{dst, second} {
					l[i].put8(l[i].normal(l[0], x, avg[i], k[i], fetch(rowGamma), fetch(rowBeta), set), z, add, d)
				}
			})
			SUBQ(q.arg(rowN), dst)
			ADDQ(r.rest, dst)
			for range 2 {
				ADDQ(q.arg(rowLDX), x)
				ADDQ(q.arg(rowLDD), dst)
			}
		})
	})
}

// moments writes the moments of two rows where they are wanted; count rows are left.
func (q quantRows) moments(count, delta reg.GPVirtual, avg, k [2]reg.VecVirtual) {
	none := label("noMoments")
	CMPQ(q.arg(rowMean), Imm(0))
	JEQ(LabelRef(none))
	for i, v := range [][2]reg.VecVirtual{avg, k} {
		at, done := q.integer([]int{rowMean, rowRstd}[i]), q.integer(rowRows)
		SUBQ(count, done)
		LEAQ(Mem{Base: at, Index: done, Scale: 4}, at)
		VMOVSS(v[1].AsX(), Mem{Base: next(at, delta)})
		VMOVSS(v[0].AsX(), Mem{Base: at})
	}
	Label(none)
}

func softmaxQuantize(m machine) {
	m.fn("softmaxCodes", "(p *byte)", "writes the codes of the softmax of rows of sums; p points to a rowArgs.")
	q := quantRows{m, integer("p")}
	x, dst, count, row, v := q.integer(rowX), q.integer(rowDst), q.integer(rowRows), q.integer(rowRow), q.integer(rowScratch)
	bias, mask := q.integer(rowBias), q.integer(rowMask)
	r := m.row(q.integer(rowN))
	z, add := q.quantizer()
	factor, scale := q.constant(rowFactor), q.constant(rowScale)
	next := label("rows")
	Label(next)
	top := m.get(c32("negInf", 0xff800000))
	first := m.vec()
	VPBROADCASTD(Mem{Base: row}, first)
	index := q.integer(rowRow)
	SUBQ(row, index)
	NEGQ(index)
	byRow := func(field int) func() reg.VecVirtual {
		load := func() reg.VecVirtual {
			v := m.vec()
			VBROADCASTSS(Mem{Base: q.integer(field), Index: index, Scale: 1}, v)
			return v
		}
		if !m.wide() {
			return load
		}
		v := load()
		return func() reg.VecVirtual { return v }
	}
	times, plus := byRow(rowTimes), byRow(rowPlus)
	scaled := label("scaled")
	// logits computes the input of the softmax of one row.
	logits := func(set []bool) {
		offset := q.integer(rowOffset)
		r.each(func(l lane) {
			t := l.load(x)
			VPSUBD(first, t, t)
			if set[0] {
				VPSUBD(l.load(offset), t, t)
			}
			VCVTDQ2PS(t, t)
			VMULPS(factor(), t, t)
			if set[3] {
				VMULPS(times(), t, t)
				VMULPS(l.load(q.integer(rowColTimes)), t, t)
				u := l.load(q.integer(rowColPlus))
				VMULPS(plus(), u, u)
				VADDPS(u, t, t)
			}
			VMULPS(scale(), t, t)
			if set[1] {
				VADDPS(l.load(bias), t, t)
			}
			if set[2] {
				VADDPS(l.load(mask), t, t)
			}
			l.store(t, v)
			l.greater(t, top)
		})
		JMP(LabelRef(scaled))
	}
	var pick func(set []bool)
	pick = func(set []bool) {
		if len(set) == 4 {
			logits(set)
			return
		}
		no := label("variant")
		CMPQ(q.arg([]int{rowOffset, rowBias, rowMask, rowColTimes}[len(set)]), Imm(0))
		JEQ(LabelRef(no))
		pick(append(set[:len(set):len(set)], true))
		Label(no)
		pick(append(set[:len(set):len(set)], false))
	}
	pick(nil)
	Label(scaled)
	k := r.exponentials(v, v, top)
	d := GP64()
	MOVQ(dst, d)
	r.each(func(l lane) {
		e := l.load(v)
		VMULPS(k, e, e)
		l.put8(e, z, add, d)
	})
	ADDQ(q.arg(rowLDX), x)
	ADDQ(q.arg(rowLDD), dst)
	ADDQ(q.arg(rowLDBias), bias)
	ADDQ(q.arg(rowLDMask), mask)
	ADDQ(Imm(4), row)
	DECQ(count)
	JNZ(LabelRef(next))
	end()
}
