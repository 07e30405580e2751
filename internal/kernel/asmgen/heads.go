package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Byte offsets of the fields of kernel's headArgs.
const (
	headTile   = 8 * iota // overwritten
	headLDT               // bytes
	headRows              // 1 .. 64
	headOffset            // int32 by column
	headFactor            // float32 by column
	headBias              // float32 by column
	headTo                // int32 by row: row of dst
	headDst
	headLDD    // bytes
	headGamma  // float32 by column; of heads of 32 columns: or nil, beta is not read then
	headBeta   // float32 by column
	headStats  // 72 vectors: four of the rows' means, four of 1/deviation, four of the deviations, then scratch
	headEps    // float32
	headAlpha  // float32
	headInv    // float32
	headLo     // float32
	headHi     // float32
	headZero   // integer
	headMean   // of heads of 32 columns: float32 by row of dst, or nil
	headSpread // the same
	headFixed  // three float32, see fixed
)

// headSums is where the sums of rows lie in the scratch.
const headSums = 8 * 64

// headsPart emits the epilogue of the heads of attention: values, a normalisation
// of each row where it is wanted, codes.
func headsPart(m machine) {
	h := newHead(m, "headCodes64", "writes the codes of up to 64 rows of a head of 64 columns; p points to a headArgs.", 4)
	h.down(func(at, row reg.GPVirtual) { h.write(h.values(at), row) })
	end()
	h = newHead(m, "headNormCodes64", "normalises up to 64 rows of a head of 64 columns and writes their codes; p points to a headArgs.", 4)
	h.normalised(false)
	end()
}

// nearHeads emits both with a fixed point.
func nearHeads(m machine) {
	h := newHead(m, "nearHead64", "is headCodes64 with a fixed point.", 4)
	h.fixedCodes()
	end()
	h = newHead(m, "nearHeadNorm64", "is headNormCodes64 with a fixed point.", 4)
	h.normalised(true)
	end()
}

// head is one head of nv vectors of a tile.
type head struct {
	quantRows
	nv                   int
	offset, factor, bias []reg.VecVirtual
	z                    inverse
	order                reg.VecVirtual
}

func newHead(m machine, name, doc string, nv int) *head {
	m.fn(name, "(p *byte)", doc)
	h := &head{quantRows: quantRows{m, integer("p")}, nv: nv}
	h.offset, h.factor, h.bias = h.columns(headOffset), h.columns(headFactor), h.columns(headBias)
	h.grid()
	return h
}

// grid loads what makes codes of values.
func (h *head) grid() {
	h.z = inverse{h.broadcast(headAlpha), h.broadcast(headInv), h.broadcast(headLo), h.broadcast(headHi), h.vec()}
	VPBROADCASTD(h.arg(headZero), h.z.zero)
	h.order = h.vec()
	VMOVUPS(byteOrder(), h.order)
}

// fixedCodes writes the codes of the values with a fixed point.
func (h *head) fixedCodes() {
	f, bad := h.fixed(headInv, headFixed), GP64()
	offset, factor, summand := h.columns(headOffset), h.columns(headFactor), h.columns(headBias)
	for j := range factor {
		f.columns(factor[j], summand[j])
	}
	f.bounded(bad)
	h.down(func(at, row reg.GPVirtual) {
		exact, done := label("exact"), label("headDone")
		var v []reg.VecVirtual
		for j := range h.nv {
			v = append(v, h.vec())
			VMOVUPS(Mem{Base: at, Disp: 64 * j}, v[j])
		}
		for j := range v {
			VPSUBD(offset[j], v[j], v[j])
		}
		for j := range v {
			VCVTDQ2PS(v[j], v[j])
		}
		for j := range v {
			VFMADD213PS(summand[j], factor[j], v[j])
		}
		f.row(v, h.place(row), exact)
		TESTQ(bad, bad)
		JZ(LabelRef(done))
		Label(exact)
		h.grid()
		offsets, factors, biases := h.integer(headOffset), h.integer(headFactor), h.integer(headBias)
		for j := range v {
			v[j] = h.vec()
			VMOVUPS(Mem{Base: at, Disp: 64 * j}, v[j])
			VPSUBD(Mem{Base: offsets, Disp: 64 * j}, v[j], v[j])
			VCVTDQ2PS(v[j], v[j])
			VMULPS(Mem{Base: factors, Disp: 64 * j}, v[j], v[j])
			VADDPS(Mem{Base: biases, Disp: 64 * j}, v[j], v[j])
		}
		h.write(v, row)
		Label(done)
	})
}

// place is where the codes of a row go.
func (h *head) place(row reg.GPVirtual) reg.GPVirtual {
	d, to := GP64(), h.integer(headTo)
	MOVLQSX(Mem{Base: to, Index: row, Scale: 4}, d)
	IMULQ(h.arg(headLDD), d)
	ADDQ(h.arg(headDst), d)
	return d
}

// columns loads an array by column.
func (h *head) columns(field int) (v []reg.VecVirtual) {
	p := h.integer(field)
	for j := range h.nv {
		v = append(v, h.vec())
		VMOVUPS(Mem{Base: p, Disp: 64 * j}, v[j])
	}
	return v
}

// down runs body for each row: at is the row of the tile, row its number.
func (h *head) down(body func(at, row reg.GPVirtual)) {
	at, row := h.integer(headTile), GP64()
	XORQ(row, row)
	loop := label("down")
	Label(loop)
	body(at, row)
	ADDQ(h.arg(headLDT), at)
	INCQ(row)
	CMPQ(row, h.arg(headRows))
	JLT(LabelRef(loop))
}

// values computes the values of a row.
func (h *head) values(at reg.GPVirtual) (v []reg.VecVirtual) {
	for j := range h.nv {
		x := h.vec()
		VMOVUPS(Mem{Base: at, Disp: 64 * j}, x)
		VPSUBD(h.offset[j], x, x)
		VCVTDQ2PS(x, x)
		VMULPS(h.factor[j], x, x)
		VADDPS(h.bias[j], x, x)
		v = append(v, x)
	}
	return v
}

// write writes the codes of a row, which lie in 0 .. 255.
func (h *head) write(v []reg.VecVirtual, row reg.GPVirtual) {
	d := h.place(row)
	for j := range v {
		h.z.codes(h.machine, v[j])
	}
	packBytes(v, h.order)
	VMOVUPS(v[0], Mem{Base: d})
}

// packBytes puts the codes of four vectors, 0 .. 255, into the bytes of the first.
func packBytes(v []reg.VecVirtual, order reg.VecVirtual) {
	VPACKUSDW(v[1], v[0], v[0])
	VPACKUSDW(v[3], v[2], v[2])
	VPACKUSWB(v[2], v[0], v[0])
	VPERMD(v[0], order, v[0])
}

// byteOrder puts words in the order of the vectors that VPACKUSDW and VPACKUSWB made
// one of.
func byteOrder() Mem {
	const name = "byteOrder"
	if k, ok := constants[name]; ok {
		return k
	}
	k := GLOBL(name, NOPTR|RODATA)
	for i := range 16 {
		DATA(4*i, U32(uint32(i%4*4+i/4)))
	}
	constants[name] = k
	return k
}

// normalised emits the rows of a head that are normalised: their values and sums, the
// means of all rows at once, the same for the deviations, then the codes.
func (h *head) normalised(near bool) {
	m := h.machine
	stats := h.integer(headStats)
	sums := func(row reg.GPVirtual) Mem {
		at := GP64()
		MOVQ(row, at)
		SHLQ(Imm(6), at)
		return Mem{Base: stats, Index: at, Scale: 1, Disp: headSums}
	}
	size := m.vec()
	n := GP64()
	MOVQ(U32(uint32(16*h.nv)), n)
	size = m.count(n)
	h.down(func(at, row reg.GPVirtual) {
		sum := m.get(f32("zero", 0))
		for j, v := range h.values(at) {
			VADDPS(v, sum, sum)
			VMOVUPS(v, Mem{Base: at, Disp: 64 * j})
		}
		VMOVUPS(sum, sums(row))
	})
	h.sixteens(func(at reg.GPVirtual, sum reg.VecVirtual) {
		VDIVPS(size, sum, sum)
		VMOVUPS(sum, Mem{Base: at})
	})
	each := func(at, row reg.GPVirtual) (v []reg.VecVirtual) {
		mean := m.vec()
		VBROADCASTSS(Mem{Base: stats, Index: row, Scale: 4}, mean)
		for j := range h.nv {
			x := m.vec()
			VMOVUPS(Mem{Base: at, Disp: 64 * j}, x)
			VSUBPS(mean, x, x)
			v = append(v, x)
		}
		return v
	}
	h.down(func(at, row reg.GPVirtual) {
		sq := m.get(f32("zero", 0))
		for _, v := range each(at, row) {
			VFMADD231PS(v, v, sq)
		}
		VMOVUPS(sq, sums(row))
	})
	eps := h.broadcast(headEps)
	h.sixteens(func(at reg.GPVirtual, sum reg.VecVirtual) {
		rstd := m.get(one())
		VDIVPS(size, sum, sum)
		VADDPS(eps, sum, sum)
		VSQRTPS(sum, sum)
		VDIVPS(sum, rstd, rstd)
		VMOVUPS(rstd, Mem{Base: at, Disp: headSums / 2})
		// The sums of the first 16 rows are no longer needed.
		VMOVUPS(one(), sum)
		VDIVPS(rstd, sum, sum)
		VMOVUPS(sum, Mem{Base: at, Disp: headSums})
	})
	scaled := func(at, row reg.GPVirtual, factor, summand []reg.VecVirtual) []reg.VecVirtual {
		v, k := each(at, row), m.vec()
		VBROADCASTSS(Mem{Base: stats, Index: row, Scale: 4, Disp: headSums / 2}, k)
		for j := range v {
			VMULPS(k, v[j], v[j])
		}
		for j := range factor {
			VFMADD213PS(summand[j], factor[j], v[j])
		}
		return v
	}
	if !near {
		gamma, beta := h.columns(headGamma), h.columns(headBeta)
		h.down(func(at, row reg.GPVirtual) { h.write(scaled(at, row, gamma, beta), row) })
		return
	}
	f, bad := h.fixed(headInv, headFixed), GP64()
	factor, summand := h.columns(headGamma), h.columns(headBeta)
	for j := range factor {
		f.columns(factor[j], summand[j])
	}
	f.bounded(bad)
	h.down(func(at, row reg.GPVirtual) {
		exact, done := label("exact"), label("headDone")
		f.row(scaled(at, row, factor, summand), h.place(row), exact)
		// A deviation that is no number is greater than all as an integer.
		CMPL(Mem{Base: stats, Index: row, Scale: 4, Disp: headSums / 2}, U32(0x71000000))
		JAE(LabelRef(exact))
		TESTQ(bad, bad)
		JZ(LabelRef(done))
		Label(exact)
		h.grid()
		// Registers are few here.
		gamma, beta := h.integer(headGamma), h.integer(headBeta)
		v := scaled(at, row, nil, nil)
		for j := range v {
			g := m.vec()
			VMOVUPS(Mem{Base: gamma, Disp: 64 * j}, g)
			VFMADD213PS(Mem{Base: beta, Disp: 64 * j}, g, v[j])
		}
		h.write(v, row)
		Label(done)
	})
}

// sixteens runs body for the sums of each 16 rows; at is their vector of stats.
func (h *head) sixteens(body func(at reg.GPVirtual, sum reg.VecVirtual)) {
	sums, at, left, loop := h.integer(headStats), h.integer(headStats), h.integer(headRows), label("sixteen")
	ADDQ(I32(headSums), sums)
	Label(loop)
	body(at, h.total16(sums, fadd))
	ADDQ(I32(16*64), sums)
	ADDQ(Imm(64), at)
	SUBQ(Imm(16), left)
	JG(LabelRef(loop))
}
