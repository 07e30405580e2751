package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Byte offsets of the fields of kernel's panelArgs.
const (
	argA     = 8 * iota // op(A) at the first row
	argRS               // bytes from a row of op(A) to the next
	argCS               // bytes from a column of op(A) to the next
	argB                // the panel of op(B) at k = 0
	argBS               // bytes from one k of the panel to the next
	argC                // C at the first row of the panel
	argLDC              // bytes from a row of C to the next
	argM                // rows
	argK                // length of the sums
	argMR               // rows of one block
	argBlock            // bytes from a block of op(A) to the next
	argCols             // columns of the panel
	argAlpha            // float32
	argAcc              // not 0: add to C
)

// product is the arithmetic of a panel kernel. One step takes 32 bits of a row of
// op(A) and one vector of the panel.
type product struct {
	name  string
	whole bool // int32 sums: alpha and acc do not apply
	step  func(b, a, acc, scratch reg.Register)
}

func gemmPart(m machine) {
	float := product{"sgemm", false, func(b, a, acc, _ reg.Register) { VFMADD231PS(a, b, acc) }}
	for nv := 1; nv <= 2; nv++ {
		panel(m, float, nv)
	}
	packPanel(m)
	for lanes := 4; lanes <= m.lanes; lanes *= 2 {
		packPanelT(machine{name: m.name, lanes: lanes})
	}
}

// panel emits the product of m rows of op(A) by one panel of nv vectors of
// op(B). Rows go in blocks of at most 14 (6 for AVX2), whose sums stay in
// registers over the whole of k. A is read in place, one broadcast per element:
// row i is at base[i/3] + (i%3)·rs, and all bases move by cs per k. The
// 16-lane machine masks the loads of B, so that B need not be packed.
func panel(m machine, op product, nv int) {
	maxRows := 14
	if !m.wide() {
		maxRows = 6
	}
	m.fn(op.name+[]string{"", "Panel1", "Panel2"}[nv], "(p *byte)", "multiplies rows of A by one panel of B; p points to a panelArgs.")
	p := reg.RDI
	Load(Param("p"), p)
	arg := func(off int) Mem { return Mem{Base: p, Disp: off} }
	bases := []reg.GPPhysical{reg.R8, reg.R9, reg.R10, reg.R11, reg.R12}
	rs, cs, b, bs, c, ldc, k := reg.RAX, reg.RBX, reg.RSI, reg.RDX, reg.R13, reg.R15, reg.RCX
	if m.wide() {
		// K1, K2: the columns of the panel.
		MOVQ(I32(-1), reg.RCX)
		MOVQ(arg(argCols), reg.RAX)
		BZHIQ(reg.RAX, reg.RCX, reg.RCX)
		KMOVW(reg.ECX, reg.K1)
		SHRQ(Imm(16), reg.RCX)
		KMOVW(reg.ECX, reg.K2)
	}
	kmask := []reg.Register{reg.K1, reg.K2}
	MOVQ(arg(argRS), rs)
	MOVQ(arg(argCS), cs)
	MOVQ(arg(argBS), bs)
	MOVQ(arg(argC), c)
	MOVQ(arg(argLDC), ldc)

	next, done := label("next"), label("done")
	blocks := make([]string, maxRows+1)
	for r := 1; r <= maxRows; r++ {
		blocks[r] = label("rows")
	}
	Label(next)
	// k holds the rows of this block until the choice is made.
	MOVQ(arg(argM), k)
	MOVQ(arg(argMR), b)
	CMPQ(k, b)
	CMOVQGT(b, k)
	TESTQ(k, k)
	JZ(LabelRef(done))
	SUBQ(k, arg(argM))
	// Pointers of the block; the next one is stored back at once.
	MOVQ(arg(argA), bases[0])
	MOVQ(arg(argBlock), b)
	ADDQ(bases[0], b)
	MOVQ(b, arg(argA))
	MOVQ(arg(argB), b)
	for r := maxRows; r > 1; r-- {
		CMPQ(k, Imm(uint64(r)))
		JEQ(LabelRef(blocks[r]))
	}
	for r := 1; r <= maxRows; r++ {
		Label(blocks[r])
		nb := (r + 2) / 3
		for i := 1; i < nb; i++ {
			LEAQ(Mem{Base: rs, Index: rs, Scale: 2}, bases[i])
			ADDQ(bases[i-1], bases[i])
		}
		acc := func(i, j int) reg.VecPhysical { return m.v(i*nv + j) }
		// The registers above the sums hold B, then two broadcasts, or one and
		// a scratch.
		bv := func(j int) reg.VecPhysical { return m.v(maxRows*nv + j) }
		av := func(i int) reg.VecPhysical { return m.v(maxRows*nv + nv + i%2) }
		if op.whole {
			av = func(int) reg.VecPhysical { return m.v(maxRows*nv + nv) }
		}
		for i := range r {
			for j := range nv {
				VXORPS(acc(i, j).AsX(), acc(i, j).AsX(), acc(i, j).AsX())
			}
		}
		MOVQ(arg(argK), k)
		loop := label("loop")
		Label(loop)
		for j := range nv {
			src := Mem{Base: b, Disp: j * m.bytes()}
			if m.wide() {
				VMOVUPS_Z(src, kmask[j], bv(j))
			} else {
				VMOVUPS(src, bv(j))
			}
		}
		ADDQ(bs, b)
		for i := range r {
			VBROADCASTSS(rowAt(bases, rs, i), av(i))
			for j := range nv {
				op.step(bv(j), av(i), acc(i, j), m.v(maxRows*nv+nv+1))
			}
		}
		for i := range nb {
			ADDQ(cs, bases[i])
		}
		DECQ(k)
		JNZ(LabelRef(loop))
		storeBlock(m, op.whole, r, nv, arg, c, ldc, kmask, acc, av(0), bv(0), bv(1%nv))
		JMP(LabelRef(next))
	}
	Label(done)
	end()
}

// storeBlock writes alpha·sums, plus the old C where asked, and moves c to the
// next block.
func storeBlock(m machine, whole bool, r, nv int, arg func(int) Mem, c, ldc reg.GPPhysical, kmask []reg.Register, acc func(i, j int) reg.VecPhysical, alpha, t0, t1 reg.VecPhysical) {
	add, out := label("add"), label("stored")
	if !whole {
		VBROADCASTSS(arg(argAlpha), alpha)
		for i := range r {
			for j := range nv {
				VMULPS(alpha, acc(i, j), acc(i, j))
			}
		}
	}
	// plain jumps away where sums are added to C.
	plain := func(add string) {
		if !whole {
			CMPQ(arg(argAcc), Imm(0))
			JNE(LabelRef(add))
		}
	}
	if m.wide() {
		plain(add)
		for i := range r {
			for j := range nv {
				VMOVUPS(acc(i, j), kmask[j], Mem{Base: c, Disp: j * m.bytes()})
			}
			ADDQ(ldc, c)
		}
		if whole {
			return
		}
		JMP(LabelRef(out))
		Label(add)
		for i := range r {
			for j := range nv {
				d := Mem{Base: c, Disp: j * m.bytes()}
				VMOVUPS_Z(d, kmask[j], t0)
				VADDPS(t0, acc(i, j), acc(i, j))
				VMOVUPS(acc(i, j), kmask[j], d)
			}
			ADDQ(ldc, c)
		}
		Label(out)
		return
	}
	// Whole vectors first; the last one may be partial.
	partial, addPartial := label("partial"), label("addPartial")
	k := reg.RCX
	each := func(add, part bool) {
		for i := range r {
			for j := range nv {
				d := Mem{Base: c, Disp: j * m.bytes()}
				if part && j == nv-1 {
					if add {
						VMASKMOVPS(d, t1, t0)
						VADDPS(t0, acc(i, j), acc(i, j))
					}
					VMASKMOVPS(acc(i, j), t1, d)
					continue
				}
				if add {
					VADDPS(d, acc(i, j), acc(i, j))
				}
				VMOVUPS(acc(i, j), d)
			}
			ADDQ(ldc, c)
		}
		JMP(LabelRef(out))
	}
	MOVQ(arg(argCols), k)
	CMPQ(k, Imm(uint64(nv*m.lanes)))
	JNE(LabelRef(partial))
	plain(add)
	each(false, false)
	if !whole {
		Label(add)
		each(true, false)
	}
	Label(partial)
	// t1 becomes the mask of the last vector; t0 and alpha are free.
	n := GP64()
	if nv == 1 {
		t1 = alpha
	}
	MOVQ(k, n)
	if nv > 1 {
		SUBQ(Imm(uint64((nv-1)*m.lanes)), n)
	}
	mask8(n, t1)
	plain(addPartial)
	each(false, true)
	if !whole {
		Label(addPartial)
		each(true, true)
	}
	Label(out)
}

// packPanel copies a k × cols strip of a row-major matrix to consecutive groups
// of one or two vectors, zero-padded.
func packPanel(m machine) {
	m.fn("packPanel", "(dst, src *float32, ld, k, cols int)", "copies cols columns of k rows (stride ld bytes) to rows of whole vectors; cols is at most two vectors.")
	dst, src, ld, k, cols := GP64(), GP64(), GP64(), GP64(), GP64()
	Load(Param("dst"), dst)
	Load(Param("src"), src)
	Load(Param("ld"), ld)
	Load(Param("k"), k)
	Load(Param("cols"), cols)
	var masks []reg.Register
	if m.wide() {
		t := GP64()
		MOVQ(I32(-1), t)
		BZHIQ(cols, t, t)
		for range 2 {
			q := K()
			KMOVW(t.As32(), q)
			SHRQ(Imm(16), t)
			masks = append(masks, q)
		}
	} else {
		first, second := split8(cols)
		for _, n := range []reg.GPVirtual{first, second} {
			y := YMM()
			mask8(n, y)
			masks = append(masks, y)
		}
	}
	load := func(j int, v reg.Register) {
		s := Mem{Base: src, Disp: j * m.bytes()}
		if m.wide() {
			VMOVUPS_Z(s, masks[j], v)
		} else {
			VMASKMOVPS(s, masks[j], v)
		}
	}
	one, two, done := label("one"), label("two"), label("done")
	rows := func(loop string, nv int) {
		Label(loop)
		for j := range nv {
			v := m.vec()
			load(j, v)
			VMOVUPS(v, Mem{Base: dst, Disp: j * m.bytes()})
		}
		ADDQ(ld, src)
		ADDQ(Imm(uint64(nv*m.bytes())), dst)
		DECQ(k)
		JNZ(LabelRef(loop))
	}
	CMPQ(cols, Imm(uint64(m.lanes)))
	JLE(LabelRef(one))
	rows(two, 2)
	JMP(LabelRef(done))
	rows(one, 1)
	Label(done)
	end()
}

// packPanelT transposes the rows of m.lanes columns of a panel: lane i of output row k is
// element k of input row i. Each step takes four k: the rows i, i+4, i+8, ... are
// loaded as the 128-bit quarters of one vector, and a 4 × 4 transpose inside the
// quarters puts all rows in order.
func packPanelT(m machine) {
	m.fn(fmt.Sprint("packPanelT", m.lanes), "(dst *float32, stride int, src *float32, offs *int, k int)", fmt.Sprintf("writes k output rows of %d elements (stride bytes apart); element i of row j is element j of the input row at src+offs[i] bytes.", m.lanes))
	dst, stride, src, offs, k := GP64(), GP64(), GP64(), GP64(), GP64()
	Load(Param("dst"), dst)
	Load(Param("stride"), stride)
	Load(Param("src"), src)
	Load(Param("offs"), offs)
	Load(Param("k"), k)
	four, tail, done := label("four"), label("tail"), label("done")
	quarters := m.lanes / 4
	t := GP64()
	gather := func(load func(Mem, reg.Register), part bool) (out [4]reg.VecVirtual) {
		for j := range 4 {
			v := m.vec()
			for q := range quarters {
				MOVQ(Mem{Base: offs, Disp: 8 * (j + 4*q)}, t)
				s := Mem{Base: src, Index: t, Scale: 1}
				var from Op = s
				if q == 0 || part {
					x := XMM()
					if q == 0 {
						x = v.AsX().(reg.VecVirtual)
					}
					load(s, x)
					from = x
				}
				switch {
				case q == 0:
				case m.lanes == 16:
					VINSERTF32X4(Imm(uint64(q)), from, v, v)
				default:
					VINSERTF128(Imm(uint64(q)), from, v, v)
				}
			}
			out[j] = v
		}
		return out
	}
	swap := func(v [4]reg.VecVirtual) (out [4]reg.VecVirtual) {
		var u [4]reg.VecVirtual
		for i := range 4 {
			u[i], out[i] = m.vec(), m.vec()
		}
		VUNPCKLPS(v[1], v[0], u[0])
		VUNPCKHPS(v[1], v[0], u[1])
		VUNPCKLPS(v[3], v[2], u[2])
		VUNPCKHPS(v[3], v[2], u[3])
		VUNPCKLPD(u[2], u[0], out[0])
		VUNPCKHPD(u[2], u[0], out[1])
		VUNPCKLPD(u[3], u[1], out[2])
		VUNPCKHPD(u[3], u[1], out[3])
		return out
	}
	Label(four)
	CMPQ(k, Imm(4))
	JLT(LabelRef(tail))
	out := swap(gather(func(s Mem, x reg.Register) { VMOVUPS(s, x) }, false))
	for i := range 4 {
		VMOVUPS(out[i], Mem{Base: dst})
		ADDQ(stride, dst)
	}
	ADDQ(Imm(16), src)
	SUBQ(Imm(4), k)
	JMP(LabelRef(four))
	Label(tail)
	TESTQ(k, k)
	JZ(LabelRef(done))
	var partial func(Mem, reg.Register)
	if m.wide() {
		ones, q := GP64(), K()
		MOVQ(I32(-1), ones)
		BZHIQ(k, ones, ones)
		KMOVW(ones.As32(), q)
		partial = func(s Mem, x reg.Register) { VMOVUPS_Z(s, q, x) }
	} else {
		y, n := YMM(), GP64()
		MOVQ(k, n)
		mask8(n, y)
		partial = func(s Mem, x reg.Register) { VMASKMOVPS(s, y.AsX(), x) }
	}
	out = swap(gather(partial, true))
	for i := range 3 {
		VMOVUPS(out[i], Mem{Base: dst})
		ADDQ(stride, dst)
		DECQ(k)
		JZ(LabelRef(done))
	}
	Label(done)
	end()
}
