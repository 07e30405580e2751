package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// nearPart emits the kernels that compute codes approximately and say where a value lay
// so near to a step of its quantiser that the exact arithmetic has to decide; they need
// AVX512-VBMI. See kernel's near_amd64.go.
func nearPart(m machine) {
	nearSoftmax(m)
	normWide(m, true)
	nearHeads(m)
	nearGelu(m)
}

// Byte offsets of the fields of kernel's nearSoftmaxArgs.
const (
	nearX        = 8 * iota // int32
	nearLDX                 // bytes
	nearRows                // positive; counted down
	nearN                   // positive
	nearDst                 // bytes
	nearLDD                 // bytes
	nearScratch             // nearValues bytes, then 12 rows of whole 64 float32
	nearOffset              // int32 by column
	nearTimes               // float32 by row
	nearPlus                // float32 by row
	nearColTimes            // float32 by column
	nearColPlus             // float32 by column
	nearFactor              // float32
	nearScale               // float32
	nearAlpha               // float32
	nearLong                // float32: bound of the distance of logits that matter from the logarithm of their sum
	nearFixed               // float32: part of the relative error
	nearSlope               // float32: relative error of each unit of the logits' magnitudes
	nearTop                 // float32: roundMagic and the greatest code
	nearFlags               // bytes by row
)

// Scratch of nearSoftmax: the least and the greatest factor of each row, a vector of sums of
// each row, values.
const (
	nearSide   = 6 // vectors of powers side by side
	nearBlock  = 12
	nearMost   = 64
	nearSums   = 128
	nearValues = nearSums + 16*64
)

// pow2 is the coefficients of 2^r for r from 0 to 1, relative error below 1.5e-7 with fused
// operations.
var pow2 = []float64{0.9999999403953552, 0.6931530833244324, 0.24015361070632935, 0.05582631751894951, 0.008989340625703335, 0.0018775766948238015}

// nearSoftmax emits softmaxQuantize with few operations: powers of 2 of the logits as they
// are, without the greatest subtracted, and two products with the reciprocal sum, one a
// little too small, one a little too great, which are to be rounded to the same code.
func nearSoftmax(m machine) {
	m.fn("nearSoftmax", "(p *byte)", "writes the codes of the softmax of rows of sums; p points to a nearSoftmaxArgs, whose flags are set where a row is to be done again.")
	q := quantRows{m, integer("p")}
	n, stride, full, last, bytes := q.integer(nearN), GP64(), GP64(), K(), K()
	MOVQ(n, stride)
	ADDQ(Imm(63), stride)
	ANDQ(I32(-64), stride)
	SHLQ(Imm(2), stride) // bytes of a row of values
	MOVQ(n, full)
	ANDQ(I32(-16), full)
	SHLQ(Imm(2), full) // bytes of the whole vectors of a row of sums
	ones, few := GP64(), GP64()
	MOVQ(I32(-1), ones)
	MOVQ(n, few)
	ANDQ(Imm(63), few)
	BZHIQ(few, ones, few)
	KMOVQ(few, bytes) // of the codes behind whole 64
	ANDQ(Imm(15), n)
	BZHIQ(n, ones, n)
	KMOVW(n.As32(), last) // of the sums behind whole vectors

	// What lies behind a row of values is never written again.
	block, pad := GP64(), q.integer(nearScratch)
	none := m.zero()
	LEAQ(Mem{Base: pad, Index: stride, Scale: 1, Disp: nearValues - 256}, pad)
	MOVQ(U32(nearBlock), block)
	clear := label("clear")
	Label(clear)
	for j := range 4 {
		VMOVUPS(none, Mem{Base: pad, Disp: 64 * j})
	}
	ADDQ(stride, pad)
	DECQ(block)
	JNZ(LabelRef(clear))

	greatest := m.zero()
	{
		at, plus, loop, tail := GP64(), q.integer(nearColPlus), label("greatest"), label("greatestTail")
		XORQ(at, at)
		Label(loop)
		CMPQ(at, full)
		JGE(LabelRef(tail))
		v := m.vec()
		VMOVUPS(Mem{Base: plus, Index: at, Scale: 1}, v)
		VRANGEPS(Imm(0xb), v, greatest, greatest) // the greater magnitude
		ADDQ(Imm(64), at)
		JMP(LabelRef(loop))
		Label(tail)
		w := m.vec()
		VMOVUPS_Z(Mem{Base: plus, Index: at, Scale: 1}, last, w)
		VRANGEPS(Imm(0xb), w, greatest, greatest)
		m.spread(greatest, fmax)
	}

	next := label("block")
	Label(next)
	whole := label("whole")
	MOVQ(U32(nearBlock), block)
	CMPQ(q.arg(nearRows), block)
	JGE(LabelRef(whole))
	MOVQ(q.arg(nearRows), block)
	Label(whole)
	phase := func(body func(v, i reg.GPVirtual)) {
		v, i, loop := q.integer(nearScratch), GP64(), label("phase")
		ADDQ(I32(nearValues), v)
		XORQ(i, i)
		Label(loop)
		body(v, i)
		ADDQ(stride, v)
		INCQ(i)
		CMPQ(i, block)
		JLT(LabelRef(loop))
	}
	q.nearPowers(phase, full, last)
	bad := q.nearFactors(block, greatest)
	q.nearCodes(phase, bytes, bad)
	for _, f := range []int{nearTimes, nearPlus} {
		t := GP64()
		LEAQ(Mem{Base: block, Index: block, Scale: 1}, t)
		ADDQ(t, t)
		ADDQ(t, q.arg(f))
	}
	ADDQ(block, q.arg(nearFlags))
	SUBQ(block, q.arg(nearRows))
	JNZ(LabelRef(next))
	end()
}

// nearPowers writes the powers of the rows of a block, and their sums by lane.
func (q quantRows) nearPowers(phase func(func(v, i reg.GPVirtual)), full reg.GPVirtual, last reg.Register) {
	m := q.machine
	x, offset, colTimes, colPlus := q.integer(nearX), q.integer(nearOffset), q.integer(nearColTimes), q.integer(nearColPlus)
	var coefs []reg.VecVirtual
	for i, c := range pow2 {
		coefs = append(coefs, m.get(f32("pow2"+string(rune('0'+i)), c)))
	}
	phase(func(v, i reg.GPVirtual) {
		row := func(field, factor int) reg.VecVirtual {
			p, r := q.integer(field), m.vec()
			VBROADCASTSS(Mem{Base: p, Index: i, Scale: 4}, r)
			VMULPS_BCST(q.arg(factor), r, r)
			return r
		}
		times, plus := row(nearTimes, nearFactor), row(nearPlus, nearScale)
		var sum [2]reg.VecVirtual
		for j := range sum {
			sum[j] = m.get(f32("zero", 0))
		}
		at := GP64()
		XORQ(at, at)
		steps := func(n int, tail bool) {
			var l []lane
			for j := range n {
				l = append(l, lane{machine: m, tail: tail, idx: at, disp: 64 * j, mask: last})
			}
			t, u := make([]reg.VecVirtual, n), make([]reg.VecVirtual, n)
			side := func(f func(j int)) {
				for j := range n {
					f(j)
				}
			}
			side(func(j int) {
				t[j] = l[j].load(x)
				if tail {
					VPSUBD(l[j].load(offset), t[j], t[j])
				} else {
					VPSUBD(l[j].at(offset), t[j], t[j])
				}
			})
			side(func(j int) { VCVTDQ2PS(t[j], t[j]) })
			side(func(j int) {
				if tail {
					u[j] = l[j].load(colPlus)
					VMULPS(plus, u[j], u[j])
					VMULPS(l[j].load(colTimes), t[j], t[j])
					return
				}
				u[j] = m.vec()
				VMULPS(l[j].at(colPlus), plus, u[j])
				VMULPS(l[j].at(colTimes), t[j], t[j])
			})
			side(func(j int) { VFMADD213PS(u[j], times, t[j]) })
			side(func(j int) { VREDUCEPS(Imm(9), t[j], u[j]) }) // less its floor
			p := make([]reg.VecVirtual, n)
			side(func(j int) {
				p[j] = m.vec()
				VMOVAPS(coefs[len(coefs)-1], p[j])
			})
			for k := len(coefs) - 2; k >= 0; k-- {
				side(func(j int) { VFMADD213PS(coefs[k], u[j], p[j]) })
			}
			side(func(j int) { VSCALEFPS(t[j], p[j], p[j]) })
			side(func(j int) {
				l[j].keep(p[j])
				VADDPS(p[j], sum[j%2], sum[j%2])
				l[j].whole().store(p[j], v)
			})
		}
		many, one, tail, done := label("many"), label("one"), label("tail"), label("summed")
		Label(many)
		ADDQ(I32(64*nearSide), at)
		CMPQ(at, full)
		JGT(LabelRef(one))
		SUBQ(I32(64*nearSide), at)
		steps(nearSide, false)
		ADDQ(I32(64*nearSide), at)
		JMP(LabelRef(many))
		Label(one)
		SUBQ(I32(64*nearSide), at)
		single := label("single")
		Label(single)
		CMPQ(at, full)
		JGE(LabelRef(tail))
		steps(1, false)
		ADDQ(Imm(64), at)
		JMP(LabelRef(single))
		Label(tail)
		KORTESTW(last, last)
		JZ(LabelRef(done))
		steps(1, true)
		Label(done)
		VADDPS(sum[1], sum[0], sum[0])
		to := GP64()
		MOVQ(i, to)
		SHLQ(Imm(6), to)
		ADDQ(q.arg(nearScratch), to)
		VMOVUPS(sum[0], Mem{Base: to, Disp: nearSums})
		ADDQ(q.arg(nearLDX), x)
	})
	MOVQ(x, q.arg(nearX))
}

// nearFactors writes what the powers of each row are multiplied by; the bits of bad are set
// for rows whose sum or error is out of range.
func (q quantRows) nearFactors(block reg.GPVirtual, greatest reg.VecVirtual) (bad reg.GPVirtual) {
	m := q.machine
	scratch, sums := q.integer(nearScratch), GP64()
	LEAQ(Mem{Base: scratch, Disp: nearSums}, sums)
	s := m.total16(sums, fadd)
	here, rows := GP64(), K()
	MOVQ(I32(-1), here)
	BZHIQ(block, here, here)
	KMOVW(here.As32(), rows)
	// The bound of the logits is the greater of log s and long - log s.
	up, down, one := m.vec(), q.broadcast(nearLong), m.get(one())
	VGETEXPPS(s, up)
	VSUBPS(up, down, down)
	VADDPS(one, up, up)
	VMAXPS(up, down, up)
	plus := m.vec()
	VMOVUPS_Z(Mem{Base: q.integer(nearPlus)}, rows, plus)
	VMULPS_BCST(q.arg(nearScale), plus, plus)
	VRANGEPS(Imm(0xb), plus, plus, plus)
	VFMADD231PS(greatest, plus, up)
	eps := q.broadcast(nearFixed)
	VFMADD231PS_BCST(q.arg(nearSlope), up, eps)
	k := m.vec()
	VMULPS_BCST(q.arg(nearAlpha), s, k)
	VDIVPS(k, one, k)
	least, most := m.vec(), m.vec()
	VMOVAPS(k, least)
	VFNMADD231PS(eps, k, least)
	VMOVAPS(k, most)
	VFMADD231PS(eps, k, most)
	VMOVUPS(least, Mem{Base: scratch})
	VMOVUPS(most, Mem{Base: scratch, Disp: nearMost})
	good := m.compare(cmpLE, s, f32("sumMost", 1<<60))
	for _, c := range []func(d reg.Register){
		func(d reg.Register) { VCMPPS(Imm(cmpLE), s, m.get(f32("sumLeast", 1.0/(1<<60))), good, d) },
		func(d reg.Register) { VCMPPS_BCST(Imm(cmpLE), f32("nearLimit", 1.0/512), eps, good, d) },
	} {
		d := K()
		c(d)
		good = d
	}
	bad = GP64()
	KMOVW(good, bad.As32())
	NOTQ(bad)
	return bad
}

// nearCodes writes the codes of the rows of a block and their flags.
func (q quantRows) nearCodes(phase func(func(v, i reg.GPVirtual)), bytes reg.Register, bad reg.GPVirtual) {
	m := q.machine
	dst := q.integer(nearDst)
	magic, order, top := m.get(f32("roundMagic", 3<<22)), m.vec(), m.vec()
	VMOVUPS(lowBytes2(), order)
	VBROADCASTSS(q.arg(nearTop), top)
	phase(func(v, i reg.GPVirtual) {
		scratch := q.integer(nearScratch)
		least, most := m.vec(), m.vec()
		var near [4]reg.VecVirtual
		for j := range near {
			near[j] = m.get(f32("zero", 0))
		}
		VBROADCASTSS(Mem{Base: scratch, Index: i, Scale: 4}, least)
		VBROADCASTSS(Mem{Base: scratch, Index: i, Scale: 4, Disp: nearMost}, most)
		at, left := GP64(), q.integer(nearN)
		XORQ(at, at)
		// Columns at .. at+63, whose values lie four times as far on.
		codes := func(n int) reg.VecVirtual {
			a, b := make([]reg.VecVirtual, n), make([]reg.VecVirtual, n)
			for j := range a {
				e := m.vec()
				a[j], b[j] = m.vec(), m.vec()
				VMOVUPS(Mem{Base: v, Index: at, Scale: 4, Disp: 64 * j}, e)
				VMOVAPS(magic, a[j])
				VFMADD231PS(least, e, a[j])
				VMOVAPS(magic, b[j])
				VFMADD231PS(most, e, b[j])
			}
			for j := range a {
				VPMINSD(top, a[j], a[j])
				VPMINSD(top, b[j], b[j])
				VPTERNLOGD(Imm(0xf6), a[j], b[j], near[j]) // near | a^b
			}
			if n == 1 {
				VPERMB(a[0], order, a[0])
			} else {
				for _, j := range []int{0, 2} {
					VPERMT2B(a[j+1], order, a[j])
				}
				VINSERTI64X4(Imm(1), a[2].AsY(), a[0], a[0])
			}
			return a[0]
		}
		loop, tail, few, done := label("codes"), label("codesTail"), label("codesFew"), label("codesDone")
		Label(loop)
		SUBQ(Imm(64), left)
		JLT(LabelRef(tail))
		VMOVDQU8(codes(4), Mem{Base: dst, Index: at, Scale: 1})
		ADDQ(Imm(64), at)
		JMP(LabelRef(loop))
		Label(tail)
		ADDQ(Imm(64), left)
		JZ(LabelRef(done))
		CMPQ(left, Imm(16))
		JLE(LabelRef(few))
		VMOVDQU8(codes(4), bytes, Mem{Base: dst, Index: at, Scale: 1})
		JMP(LabelRef(done))
		Label(few)
		VMOVDQU8(codes(1), bytes, Mem{Base: dst, Index: at, Scale: 1})
		Label(done)
		VPORD(near[1], near[0], near[0])
		VPTERNLOGD(Imm(0xfe), near[2], near[3], near[0])
		differ, flag, flags := K(), GP64(), q.integer(nearFlags)
		VPTESTMD(near[0], near[0], differ)
		KMOVW(differ, flag.As32())
		// One bit of bad a row.
		one := GP64()
		MOVQ(bad, one)
		ANDQ(Imm(1), one)
		SHRQ(Imm(1), bad)
		ORQ(one, flag)
		SETNE(flag.As8())
		MOVB(flag.As8(), Mem{Base: flags, Index: i, Scale: 1})
		ADDQ(q.arg(nearLDD), dst)
	})
	MOVQ(dst, q.arg(nearDst))
}
