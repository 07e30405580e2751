package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// total16 combines the lanes of each of 16 vectors at p with do, in the order of
// spread: i and i+8, then i and i+4, i+2, i+1. Lane i of the result belongs to vector i.
func (m machine) total16(p reg.GPVirtual, do func(b, a, d Op)) reg.VecVirtual {
	fold := func(a, b Op, first, second func(b, a, d Op)) reg.VecVirtual {
		u, v := m.vec(), m.vec()
		first(b, a, u)
		second(b, a, v)
		do(v, u, u)
		return u
	}
	halves := func(imm uint64) func(b, a, d Op) { return func(b, a, d Op) { VSHUFF32X4(Imm(imm), b, a, d) } }
	pairs := func(imm uint64) func(b, a, d Op) { return func(b, a, d Op) { VSHUFPS(Imm(imm), b, a, d) } }
	row := func(i int) reg.VecVirtual {
		v := m.vec()
		VMOVUPS(Mem{Base: p, Disp: 64 * i}, v)
		return v
	}
	var quads []reg.VecVirtual // rows k, 4+k, 8+k, 12+k, four lanes of each
	for k := range 4 {
		a := fold(row(k), row(4+k), halves(0x44), halves(0xee))
		b := fold(row(8+k), row(12+k), halves(0x44), halves(0xee))
		quads = append(quads, fold(a, b, halves(0x88), halves(0xdd)))
	}
	low := func(b, a, d Op) { VUNPCKLPD(b, a, d) }
	high := func(b, a, d Op) { VUNPCKHPD(b, a, d) }
	a, b := fold(quads[0], quads[1], low, high), fold(quads[2], quads[3], low, high)
	return fold(a, b, pairs(0x88), pairs(0xdd))
}
