package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Byte offsets of the fields of kernel's epilogueArgs.
const (
	epiTile   = 8 * iota
	epiLDT    // bytes from a row of the tile to the next
	epiRows   // positive
	epiCols   // positive
	epiOffset // int32 by column
	epiFactor // float32 by column
	epiBias   // float32 by column
	epiRow    // int32 by row
	epiDst
	epiLDD    // bytes
	epiRes    // float32
	epiLDR    // bytes
	epiAlpha  // float32
	epiAlphas // float32 by column, or nil
	epiZp     // float32
	epiQn     // float32
	epiQp     // float32
	epiAdd    // float32
	epiBins   // geluBins
	epiNear   // set to 1 where a value lay inside a step
)

// Byte offsets of the fields of kernel's geluBins.
const (
	binsLow    = 0
	binsHigh   = 128
	binsCodes  = 256
	binsSlope  = 384
	binsStart  = 392
	binsWidest = 400
	binsFixed  = 404
	binsPairs  = 412
)

func epiloguePart(m machine) {
	epilogue(m, "dequant", "writes the values of the columns", nil, func(e *strip, v reg.VecVirtual) {
		e.storeFloats(v, e.dst)
	})
	epilogue(m, "dequantAdd", "writes the sums of res and the values", nil, func(e *strip, v reg.VecVirtual) {
		r := e.loadFloats(e.res)
		VADDPS(v, r, r)
		e.storeFloats(r, e.dst)
	})
	var z quantizer
	var offset reg.VecVirtual
	epilogue(m, "dequantQuantize", "writes the codes of the values", func(e *strip) {
		alpha, one, done := m.vec(), label("oneAlpha"), label("haveAlpha")
		p := GP64()
		MOVQ(e.arg(epiAlphas), p)
		TESTQ(p, p)
		JZ(LabelRef(one))
		VMOVAPS(e.column(p), alpha)
		JMP(LabelRef(done))
		Label(one)
		VBROADCASTSS(e.arg(epiAlpha), alpha)
		Label(done)
		field := func(at int) func() reg.VecVirtual {
			v := m.vec()
			VBROADCASTSS(e.arg(at), v)
			return func() reg.VecVirtual { return v }
		}
		z = quantizer{func() reg.VecVirtual { return alpha }, field(epiZp), field(epiQn), field(epiQp)}
		offset = field(epiAdd)()
	}, func(e *strip, v reg.VecVirtual) {
		VDIVPS(z.alpha(), v, v)
		q := lane{machine: m}.code(v, z)
		VADDPS(offset, q, q)
		VCVTPS2DQ(q, q)
		e.storeBytes(q, e.dst)
	})
	geluTable(m)
	if m.wide() {
		wideEpilogues(m)
	}
}

// geluTable emits GELU and a quantiser as a table, see kernel's GeluTable. The wide
// machine keeps the table in registers, the other in memory.
func geluTable(m machine) {
	var low, high, codes, slope, start [2]reg.VecVirtual
	bins := GP64()
	epilogue(m, "dequantGelu", "writes the codes of GELU of the values", func(e *strip) {
		MOVQ(e.arg(epiBins), bins)
		for i := range 2 {
			slope[i], start[i] = m.vec(), m.vec()
			VBROADCASTSS(Mem{Base: bins, Disp: binsSlope + 4*i}, slope[i])
			VBROADCASTSS(Mem{Base: bins, Disp: binsStart + 4*i}, start[i])
			for _, t := range []struct {
				v  *reg.VecVirtual
				at int
			}{{&low[i], binsLow}, {&high[i], binsHigh}, {&codes[i], binsCodes}} {
				if m.wide() {
					*t.v = m.vec()
					VMOVUPS(Mem{Base: bins, Disp: t.at + i*m.bytes()}, *t.v)
				}
			}
		}
	}, func(e *strip, v reg.VecVirtual) {
		a, b := m.vec(), m.vec()
		VMOVAPS(v, a)
		VFMADD213PS(start[0], slope[0], a)
		VMOVAPS(v, b)
		VFMADD213PS(start[1], slope[1], b)
		VMAXPS(b, a, a)
		VMAXPS(f32("zero", 0), a, a)
		VMINPS(f32("lastBin", 31), a, a)
		VCVTTPS2DQ(a, a)
		if !m.wide() {
			e.lookedUp(v, a, bins)
			return
		}
		lo, hi, c := m.vec(), m.vec(), a
		VMOVAPS(a, lo)
		VMOVAPS(a, hi)
		VPERMI2PS(low[1], low[0], lo)
		VPERMI2PS(high[1], high[0], hi)
		VPERMI2D(codes[1], codes[0], c)
		above, near := K(), K()
		VCMPPS(Imm(cmpLE), v, lo, above)
		VCMPPS(Imm(cmpLT), hi, v, above, near)
		VPSRLD(Imm(8), c, above, c)
		e.storeBytes(c, e.dst)
		// Columns beyond the tile hold 0, which may lie inside a step: no harm.
		KORW(near, e.near, e.near)
	})
}

// lookedUp finishes geluTable from the bins of v on the 8-lane machine: bits 3 and 4
// of a bin choose among four vectors of the table.
func (e *strip) lookedUp(v, bin reg.VecVirtual, bins reg.GPVirtual) {
	bit3, bit4 := e.vec(), e.vec()
	VPSLLD(Imm(28), bin, bit3)
	VPSLLD(Imm(27), bin, bit4)
	entry := func(at int) reg.VecVirtual {
		var d [2]reg.VecVirtual
		for i := range d {
			t := e.vec()
			d[i] = e.vec()
			VPERMPS(Mem{Base: bins, Disp: at + 64*i}, bin, d[i])
			VPERMPS(Mem{Base: bins, Disp: at + 64*i + 32}, bin, t)
			VBLENDVPS(bit3, t, d[i], d[i])
		}
		VBLENDVPS(bit4, d[1], d[0], d[0])
		return d[0]
	}
	above := entry(binsLow)
	VCMPPS(Imm(cmpLE), v, above, above)
	near := entry(binsHigh)
	VCMPPS(Imm(cmpLT), near, v, near)
	VANDPS(above, near, near)
	VORPS(near, e.near, e.near)
	codes := entry(binsCodes)
	VPAND(c32("eight", 8), above, above)
	VPSRLVD(above, codes, codes)
	e.storeBytes(codes, e.dst)
}

// strip is one vector of columns of an epilogue, on its way down the rows.
type strip struct {
	machine
	p        reg.GPVirtual // epilogueArgs
	col      reg.GPVirtual // first column
	mask     reg.Register
	dst, res reg.GPVirtual
	near     reg.Register // lanes that lay inside a step
}

func (e *strip) arg(field int) Mem { return Mem{Base: e.p, Disp: field} }

// column loads this strip's elements of an array by column; p is its address.
func (e *strip) column(p reg.GPVirtual) reg.VecVirtual {
	v := e.vec()
	s := Mem{Base: p, Index: e.col, Scale: 4}
	if e.wide() {
		VMOVUPS_Z(s, e.mask, v)
	} else {
		VMOVUPS(s, v)
	}
	return v
}

func (e *strip) loadFloats(at reg.GPVirtual) reg.VecVirtual {
	v := e.vec()
	if e.wide() {
		VMOVUPS_Z(Mem{Base: at}, e.mask, v)
	} else {
		VMOVUPS(Mem{Base: at}, v)
	}
	return v
}

func (e *strip) storeFloats(v reg.VecVirtual, at reg.GPVirtual) {
	if e.wide() {
		VMOVUPS(v, e.mask, Mem{Base: at})
	} else {
		VMOVUPS(v, Mem{Base: at})
	}
}

// storeBytes writes the low byte of each lane; q is overwritten.
func (e *strip) storeBytes(q reg.VecVirtual, at reg.GPVirtual) {
	if e.wide() {
		VPMOVDB(q, e.mask, Mem{Base: at})
		return
	}
	hi := XMM()
	VPSHUFB(lowBytes(), q, q)
	VEXTRACTI128(Imm(1), q, hi)
	VPUNPCKLDQ(hi, q.AsX(), hi)
	VMOVQ(hi, Mem{Base: at})
}

// epilogue emits a loop over the columns of a tile, a vector at a time (AVX2: whole
// vectors only), and its rows: setup makes what all rows of a strip share, and
// finish gets the float32 values.
func epilogue(m machine, name, doc string, setup func(*strip), finish func(*strip, reg.VecVirtual)) {
	whole := "."
	if !m.wide() {
		whole = "; the number of columns is a multiple of 8."
	}
	m.fn(name+"Tile", "(p *byte)", doc+" of a tile; p points to an epilogueArgs"+whole)
	e := &strip{machine: m, p: integer("p"), col: GP64(), dst: GP64(), res: GP64()}
	XORQ(e.col, e.col)
	if name == "dequantGelu" {
		if m.wide() {
			e.near = K()
			KXORW(e.near, e.near, e.near)
		} else {
			e.near = m.zero()
		}
	}
	cols, rows, down, done := GP64(), label("strip"), label("down"), label("done")
	Label(rows)
	MOVQ(e.arg(epiCols), cols)
	SUBQ(e.col, cols)
	JLE(LabelRef(done))
	if m.wide() {
		ones, q := GP64(), K()
		MOVQ(I32(-1), ones)
		full := label("full")
		CMPQ(cols, Imm(16))
		JGE(LabelRef(full))
		BZHIQ(cols, ones, ones)
		Label(full)
		KMOVW(ones.As32(), q)
		e.mask = q
	}
	pointer := func(field, scale int) reg.GPVirtual {
		p := GP64()
		MOVQ(e.arg(field), p)
		if scale > 0 {
			LEAQ(Mem{Base: p, Index: e.col, Scale: uint8(scale)}, p)
		}
		return p
	}
	scale := 4
	if name == "dequantQuantize" || name == "dequantGelu" {
		scale = 1
	}
	e.dst = pointer(epiDst, scale)
	if name == "dequantAdd" {
		e.res = pointer(epiRes, 4)
	}
	offset, factor, bias := e.column(pointer(epiOffset, 0)), e.column(pointer(epiFactor, 0)), e.column(pointer(epiBias, 0))
	tile, row, n := pointer(epiTile, 4), pointer(epiRow, 0), GP64()
	MOVQ(e.arg(epiRows), n)
	if setup != nil {
		setup(e)
	}
	Label(down)
	v := e.loadFloats(tile)
	r := m.vec()
	VPBROADCASTD(Mem{Base: row}, r)
	VPSUBD(r, v, v)
	VPSUBD(offset, v, v)
	VCVTDQ2PS(v, v)
	VMULPS(factor, v, v)
	VADDPS(bias, v, v)
	finish(e, v)
	ADDQ(e.arg(epiLDT), tile)
	ADDQ(e.arg(epiLDD), e.dst)
	if name == "dequantAdd" {
		ADDQ(e.arg(epiLDR), e.res)
	}
	ADDQ(Imm(4), row)
	DECQ(n)
	JNZ(LabelRef(down))
	ADDQ(Imm(uint64(m.lanes)), e.col)
	JMP(LabelRef(rows))
	Label(done)
	if e.near != nil {
		near := GP64()
		if m.wide() {
			KMOVW(e.near, near.As32())
		} else {
			VMOVMSKPS(e.near, near.As32())
		}
		MOVQ(near, e.arg(epiNear))
	}
	end()
}
