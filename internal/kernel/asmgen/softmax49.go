package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// windowBlock is the number of rows that softmaxWindow takes through one phase.
const windowBlock = 64

// Its scratch: numbers by row, and of each row a vector to be combined.
const (
	windowTop   = 4 * windowBlock * iota // greatest logits
	windowInv                            // reciprocals of sums
	windowSum                            // of the last column: the sums of the product,
	windowBias                           // bias,
	windowMask                           // mask,
	windowPower                          // powers
	windowCode                           // and codes
	windowBy                             // vectors
)

// lastColumn is where the last column of a row of a window of 7 × 7 tokens lies.
const lastColumn = 4 * 48

// softmaxWindow is softmaxNarrow for rows of 49 elements and no row of zero points: the
// last element of 16 rows is one vector.
func softmaxWindow(m machine) {
	m.fn("softmaxCodes49", "(p *byte)", "writes the codes of the softmax of rows of 49 sums; p points to a rowArgs with offsets by column and an inverse, whose least code and zero point are 0, and a scratch of 5,888 bytes; its row is not read and its sums are overwritten.")
	q := quantRows{m, integer("p")}
	x, dst, scratch, block := q.integer(rowX), q.integer(rowDst), q.integer(rowScratch), GP64()
	done := GP64() // rows that are finished, times 4
	XORQ(done, done)
	w := window{quantRows: q, x: x, scratch: scratch, block: block, done: done}
	w.factor, w.scale = q.broadcast(rowFactor), q.broadcast(rowScale)
	z := inverse{alpha: q.broadcast(rowAlpha), inv: q.broadcast(rowInv), hi: q.broadcast(rowHi)}
	order := m.vec()
	VMOVUPS(byteOrder(), order)
	next, few := label("block"), label("few")
	Label(next)
	MOVQ(U32(windowBlock), block)
	CMPQ(q.arg(rowRows), block)
	JGE(LabelRef(few))
	MOVQ(q.arg(rowRows), block)
	Label(few)
	from := GP64()
	MOVQ(x, from)
	w.lastOf(from, rowLDX, windowSum)
	w.lastOf(q.integer(rowBias), rowLDBias, windowBias)
	w.lastOf(q.integer(rowMask), rowLDMask, windowMask)
	w.logits()

	ex := newExponential(m)
	w.combine(fmax, func(top reg.VecVirtual, at, rows reg.GPVirtual) {
		t := w.last(at, rows)
		VMAXPS(t, top, top)
		VMOVUPS(top, Mem{Base: at, Disp: windowTop})
		VMOVUPS(ex.of(m, t, top), Mem{Base: at, Disp: windowPower})
	})
	number := func(i reg.GPVirtual, disp int) Mem { return Mem{Base: scratch, Index: i, Scale: 4, Disp: disp} }
	w.phase(func(v, by, i reg.GPVirtual) {
		top, sum, last := m.vec(), m.vec(), XMM()
		VBROADCASTSS(number(i, windowTop), top)
		var t [3]reg.VecVirtual
		for j := range t {
			t[j] = m.vec()
			VMOVUPS(Mem{Base: v, Disp: 64 * j}, t[j])
		}
		for j, p := range ex.ofEach(m, t[:], top) {
			VMOVUPS(p, Mem{Base: v, Disp: 64 * j})
			if j == 0 {
				sum = p
			} else {
				VADDPS(p, sum, sum)
			}
		}
		VMOVSS(number(i, windowPower), last)
		VADDPS(last.AsZ(), sum, sum)
		VMOVUPS(sum, Mem{Base: by})
	})
	w.combine(fadd, func(sum reg.VecVirtual, at, _ reg.GPVirtual) {
		k, e := m.get(one()), m.vec()
		VDIVPS(sum, k, k)
		VMOVUPS(k, Mem{Base: at, Disp: windowInv})
		VMULPS(Mem{Base: at, Disp: windowPower}, k, e)
		z.codes(m, e)
		VMOVUPS(e, Mem{Base: at, Disp: windowCode})
	})
	w.phase(func(v, by, i reg.GPVirtual) {
		k, code := m.vec(), GP32()
		VBROADCASTSS(number(i, windowInv), k)
		var t [3]reg.VecVirtual
		for j := range t {
			t[j] = m.vec()
			VMULPS(Mem{Base: v, Disp: 64 * j}, k, t[j])
		}
		z.codesEach(m, t[:])
		VPACKUSDW(t[1], t[0], t[0])
		VPACKUSDW(t[2], t[2], t[2])
		VPACKUSWB(t[2], t[0], t[0])
		VPERMD(t[0], order, t[0])
		VMOVDQU(t[0].AsY(), Mem{Base: dst})
		VEXTRACTI32X4(Imm(2), t[0], Mem{Base: dst, Disp: 32})
		MOVL(number(i, windowCode), code)
		MOVB(code.As8(), Mem{Base: dst, Disp: 48})
		ADDQ(q.arg(rowLDD), dst)
	})
	LEAQ(Mem{Base: done, Index: block, Scale: 4}, done)
	MOVQ(block, from)
	IMULQ(q.arg(rowLDX), from)
	ADDQ(from, x)
	SUBQ(block, q.arg(rowRows))
	JNZ(LabelRef(next))
	end()
}

// window is a block of rows on its way through softmaxWindow.
type window struct {
	quantRows
	x, scratch, block, done reg.GPVirtual
	factor, scale           reg.VecVirtual
}

// phase runs body for each row of the block: v is its sums, and then its values; by its vector
// to be combined.
func (w *window) phase(body func(v, by, i reg.GPVirtual)) {
	v, by, i, loop := GP64(), GP64(), GP64(), label("phase")
	MOVQ(w.x, v)
	LEAQ(Mem{Base: w.scratch, Disp: windowBy}, by)
	XORQ(i, i)
	Label(loop)
	body(v, by, i)
	ADDQ(w.arg(rowLDX), v)
	ADDQ(Imm(64), by)
	INCQ(i)
	CMPQ(i, w.block)
	JLT(LabelRef(loop))
}

// combine makes one number of each row's vector and gives them to body, 16 at a time; at is
// where numbers by row begin, rows how many are left.
func (w *window) combine(do func(b, a, d Op), body func(v reg.VecVirtual, at, rows reg.GPVirtual)) {
	by, at, left, loop := GP64(), GP64(), GP64(), label("combine")
	LEAQ(Mem{Base: w.scratch, Disp: windowBy}, by)
	MOVQ(w.scratch, at)
	MOVQ(w.block, left)
	Label(loop)
	body(w.total16(by, do), at, left)
	ADDQ(I32(16*64), by)
	ADDQ(Imm(64), at)
	SUBQ(Imm(16), left)
	JG(LabelRef(loop))
}

// lastOf copies the last column of an array, which may be nil; from is overwritten.
func (w *window) lastOf(from reg.GPVirtual, ld, disp int) {
	to, left, loop, done := GP64(), GP64(), label("last"), label("lastDone")
	TESTQ(from, from)
	JZ(LabelRef(done))
	LEAQ(Mem{Base: w.scratch, Disp: disp}, to)
	MOVQ(w.block, left)
	Label(loop)
	t := GP32()
	MOVL(Mem{Base: from, Disp: lastColumn}, t)
	MOVL(t, Mem{Base: to})
	ADDQ(w.arg(ld), from)
	ADDQ(Imm(4), to)
	DECQ(left)
	JNZ(LabelRef(loop))
	Label(done)
}

// has jumps to no where an array is nil.
func (w *window) has(field int, no string) {
	CMPQ(w.arg(field), Imm(0))
	JEQ(LabelRef(no))
}

// logits computes the logits of the first 48 columns, and the greatest in each lane, one
// loop for each set of arrays that may be there.
func (w *window) logits() {
	all := label("logits")
	var pick func(set []bool)
	pick = func(set []bool) {
		if len(set) == 3 {
			w.logitsOf(set[0], set[1], set[2])
			JMP(LabelRef(all))
			return
		}
		no := label("variant")
		w.has([]int{rowColTimes, rowBias, rowMask}[len(set)], no)
		pick(append(set[:len(set):len(set)], true))
		Label(no)
		pick(append(set[:len(set):len(set)], false))
	}
	pick(nil)
	Label(all)
	for _, f := range [][2]int{{rowLDBias, rowBias}, {rowLDMask, rowMask}} {
		step, none := w.integer(f[0]), label("noArray")
		w.has(f[1], none)
		IMULQ(w.block, step)
		ADDQ(step, w.arg(f[1]))
		Label(none)
	}
}

func (w *window) logitsOf(rescale, bias, mask bool) {
	columns := func(field int) (v [3]reg.VecVirtual) {
		p := w.integer(field)
		for j := range v {
			v[j] = w.vec()
			VMOVUPS(Mem{Base: p, Disp: 64 * j}, v[j])
		}
		return v
	}
	offset := columns(rowOffset)
	var colTimes, colPlus [3]reg.VecVirtual
	var times, plus, addBias, addMask reg.GPVirtual
	if rescale {
		colTimes, colPlus = columns(rowColTimes), columns(rowColPlus)
		times, plus = w.integer(rowTimes), w.integer(rowPlus)
		ADDQ(w.done, times)
		ADDQ(w.done, plus)
	}
	if bias {
		addBias = w.integer(rowBias)
	}
	if mask {
		addMask = w.integer(rowMask)
	}
	w.phase(func(v, by, i reg.GPVirtual) {
		var byTimes, byPlus, top reg.VecVirtual
		if rescale {
			byTimes, byPlus = w.vec(), w.vec()
			VBROADCASTSS(Mem{Base: times, Index: i, Scale: 4}, byTimes)
			VBROADCASTSS(Mem{Base: plus, Index: i, Scale: 4}, byPlus)
		}
		var t, u [3]reg.VecVirtual
		each := func(do func(j int)) {
			for j := range t {
				do(j)
			}
		}
		each(func(j int) {
			t[j] = w.vec()
			VMOVUPS(Mem{Base: v, Disp: 64 * j}, t[j])
			VPSUBD(offset[j], t[j], t[j])
		})
		each(func(j int) { VCVTDQ2PS(t[j], t[j]) })
		each(func(j int) { VMULPS(w.factor, t[j], t[j]) })
		if rescale {
			each(func(j int) { VMULPS(byTimes, t[j], t[j]) })
			each(func(j int) {
				u[j] = w.vec()
				VMULPS(colPlus[j], byPlus, u[j])
			})
			each(func(j int) { VMULPS(colTimes[j], t[j], t[j]) })
			each(func(j int) { VADDPS(u[j], t[j], t[j]) })
		}
		each(func(j int) { VMULPS(w.scale, t[j], t[j]) })
		if bias {
			each(func(j int) { VADDPS(Mem{Base: addBias, Disp: 64 * j}, t[j], t[j]) })
		}
		if mask {
			each(func(j int) { VADDPS(Mem{Base: addMask, Disp: 64 * j}, t[j], t[j]) })
		}
		each(func(j int) { VMOVUPS(t[j], Mem{Base: v, Disp: 64 * j}) })
		top = t[0]
		VMAXPS(t[1], top, top)
		VMAXPS(t[2], top, top)
		VMOVUPS(top, Mem{Base: by})
		if bias {
			ADDQ(w.arg(rowLDBias), addBias)
		}
		if mask {
			ADDQ(w.arg(rowLDMask), addMask)
		}
	})
}

// last computes the logits of the last column of up to 16 rows.
func (w *window) last(at, rows reg.GPVirtual) reg.VecVirtual {
	ones, here := GP64(), K()
	full := label("full")
	MOVQ(I32(-1), ones)
	CMPQ(rows, Imm(16))
	JGE(LabelRef(full))
	BZHIQ(rows, ones, ones)
	Label(full)
	KMOVW(ones.As32(), here)
	row := GP64() // number of the first row, times 4
	MOVQ(at, row)
	SUBQ(w.scratch, row)
	ADDQ(w.done, row)
	t, offset := w.vec(), w.integer(rowOffset)
	VMOVUPS(Mem{Base: at, Disp: windowSum}, t)
	VPSUBD_BCST(Mem{Base: offset, Disp: lastColumn}, t, t)
	VCVTDQ2PS(t, t)
	VMULPS(w.factor, t, t)
	none := label("noRescale")
	w.has(rowColTimes, none)
	byRow := func(field int) reg.VecVirtual {
		v, p := w.vec(), w.integer(field)
		VMOVUPS_Z(Mem{Base: p, Index: row, Scale: 1}, here, v)
		return v
	}
	VMULPS(byRow(rowTimes), t, t)
	col := w.integer(rowColTimes)
	VMULPS_BCST(Mem{Base: col, Disp: lastColumn}, t, t)
	u := byRow(rowPlus)
	MOVQ(w.arg(rowColPlus), col)
	VMULPS_BCST(Mem{Base: col, Disp: lastColumn}, u, u)
	VADDPS(u, t, t)
	Label(none)
	VMULPS(w.scale, t, t)
	for _, f := range [][2]int{{rowBias, windowBias}, {rowMask, windowMask}} {
		none := label("noArray")
		w.has(f[0], none)
		VADDPS(Mem{Base: at, Disp: f[1]}, t, t)
		Label(none)
	}
	return t
}

// ofEach is of for several vectors side by side.
func (e *exponential) ofEach(m machine, x []reg.VecVirtual, top reg.VecVirtual) (p []reg.VecVirtual) {
	each := func(do func(i int)) {
		for i := range x {
			do(i)
		}
	}
	var n []reg.VecVirtual
	each(func(i int) {
		n, p = append(n, m.vec()), append(p, m.vec())
		VSUBPS(top, x[i], x[i])
	})
	each(func(i int) { VMAXPS(x[i], e.low, x[i]) })
	each(func(i int) { VMULPS(e.log2e, x[i], n[i]) })
	each(func(i int) { m.round(n[i], n[i]) })
	each(func(i int) { VFNMADD231PS(e.ln2Hi, n[i], x[i]) })
	each(func(i int) { VFNMADD231PS(e.ln2Lo, n[i], x[i]) })
	each(func(i int) { VMOVAPS(e.coefs[len(e.coefs)-1], p[i]) })
	for k := len(e.coefs) - 2; k >= 0; k-- {
		each(func(i int) { VFMADD213PS(e.coefs[k], x[i], p[i]) })
	}
	each(func(i int) { VSCALEFPS(n[i], p[i], p[i]) })
	return p
}

// codesEach is codes for several vectors side by side, of a grid whose least code is 0.
func (z inverse) codesEach(m machine, v []reg.VecVirtual) {
	q := make([]reg.VecVirtual, len(v))
	for i := range v {
		VMINPS(z.hi, v[i], v[i])
	}
	for i := range v {
		q[i] = m.vec()
		VMULPS(z.inv, v[i], q[i])
	}
	for i := range v {
		VFNMADD231PS(z.alpha, q[i], v[i])
	}
	for i := range v {
		VFMADD213PS(q[i], z.inv, v[i])
	}
	for i := range v {
		VCVTPS2DQ(v[i], v[i])
	}
}

// windowsPart emits what attention in windows of 7 × 7 tokens with heads of 32 columns needs.
func windowsPart(m machine) {
	softmaxWindow(m)
	heads32(m)
	dequantAddTo(m, 4, "dequantAddTo64")
	dequantAddTo(m, 2, "dequantAddTo32")
}
