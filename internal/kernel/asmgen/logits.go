package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// logitsPart emits what lies between the scores of attention and their softmax.
func logitsPart(m machine) {
	rescaleRows(m)
	rescaleRowsBackward(m)
	if m.wide() {
		rescaleRows4Backward(m)
	}
}

// number broadcasts the float32 at p.
func (m machine) number(p reg.GPVirtual) reg.VecVirtual {
	v := m.vec()
	VBROADCASTSS(Mem{Base: p}, v)
	return v
}

func rescaleRows(m machine) {
	m.fn("rescaleRows", "(dst, x, row, col, addRow, addCol []float32, scale float32, rows, n int)",
		"writes (x·row·col + addCol·addRow)·scale, each operation rounded; rows and n are positive.")
	dst, x, row, col, addRow, addCol := base("dst"), base("x"), base("row"), base("col"), base("addRow"), base("addCol")
	count, n := integer("rows"), integer("n")
	scale := m.scalar("scale")
	r := m.row(n)
	rows(count, stride(n), []reg.GPVirtual{dst, x}, func() {
		times, plus := m.number(row), m.number(addRow)
		r.each(func(l lane) {
			v, u := l.load(x), l.load(addCol)
			VMULPS(times, v, v)
			VMULPS(l.load(col), v, v)
			VMULPS(plus, u, u)
			VADDPS(u, v, v)
			VMULPS(scale, v, v)
			l.store(v, dst)
		})
		ADDQ(Imm(4), row)
		ADDQ(Imm(4), addRow)
	})
	end()
}

func rescaleRowsBackward(m machine) {
	m.fn("rescaleRowsBackward", "(dx, dRow, dCol, dAddRow, dAddCol, dy, x, row, col, addRow, addCol []float32, scale float32, rows, n int)",
		"writes the gradient of x and adds those of the vectors of rescaleRows; rows and n are positive. dx may be dy.")
	count, n := integer("rows"), integer("n")
	dx, dy, x := base("dx"), base("dy"), base("x")
	col, addCol, dCol, dAddCol := base("col"), base("addCol"), base("dCol"), base("dAddCol")
	scale := m.constant("scale")
	r := m.row(n)
	i := GP64()
	XORQ(i, i)
	// What there is one of in a row is read from its argument each time: there are
	// more pointers than registers.
	byRow := func(name string) Mem { return Mem{Base: base(name), Index: i, Scale: 4} }
	rows(count, stride(n), []reg.GPVirtual{dx, dy, x}, func() {
		times, plus := m.vec(), m.vec()
		VBROADCASTSS(byRow("row"), times)
		VBROADCASTSS(byRow("addRow"), plus)
		sums := [2]reg.VecVirtual{m.zero(), m.zero()}
		r.each(func(l lane) {
			t := l.load(dy)
			VMULPS(scale(), t, t)
			c := l.load(col)
			g := l.vec()
			VMULPS(times, t, g)
			// of the columns, then of the row
			u := l.load(dAddCol)
			VFMADD231PS(plus, t, u)
			l.store(u, dAddCol)
			VFMADD231PS(l.load(addCol), t, sums[1])
			v := l.load(x)
			u = l.load(dCol)
			VFMADD231PS(g, v, u)
			l.store(u, dCol)
			VMULPS(c, g, g)
			VMULPS(c, t, t)
			VFMADD231PS(t, v, sums[0])
			l.store(g, dx)
		})
		for k, name := range []string{"dRow", "dAddRow"} {
			m.spread(sums[k], fadd)
			VADDSS(byRow(name), sums[k].AsX(), sums[k].AsX())
			VMOVSS(sums[k].AsX(), byRow(name))
		}
		INCQ(i)
	})
	end()
}

// rescaleRows4Backward is rescaleRowsBackward of four rows at a time, in the same order:
// what belongs to the columns is read and written a quarter as often.
func rescaleRows4Backward(m machine) {
	m.fn("rescaleRows4Backward", "(dx, dRow, dCol, dAddRow, dAddCol, dy, x, row, col, addRow, addCol []float32, scale float32, fours, n int)",
		"is rescaleRowsBackward of fours times four rows; fours and n are positive.")
	count, n := integer("fours"), integer("n")
	dx, dy, x := base("dx"), base("dy"), base("x")
	col, addCol, dCol, dAddCol := base("col"), base("addCol"), base("dCol"), base("dAddCol")
	scale := m.scalar("scale")
	r := m.row(n)
	down := stride(n)
	i := GP64()
	XORQ(i, i)
	byRow := func(name string, k int) Mem { return Mem{Base: base(name), Index: i, Scale: 4, Disp: 4 * k} }
	next := label("rows")
	Label(next)
	var times, plus, sums, adds [4]reg.VecVirtual
	for k := range 4 {
		times[k], plus[k], sums[k], adds[k] = m.vec(), m.vec(), m.zero(), m.zero()
		VBROADCASTSS(byRow("row", k), times[k])
		VBROADCASTSS(byRow("addRow", k), plus[k])
	}
	r.each(func(l lane) {
		a, c, da, dc := l.load(addCol), l.load(col), l.load(dAddCol), l.load(dCol)
		at := l
		for k := range 4 {
			if k > 0 {
				idx := GP64()
				LEAQ(Mem{Base: at.idx, Index: down, Scale: 1}, idx)
				at.idx = idx
			}
			t, v, g := at.load(dy), at.load(x), m.vec()
			VMULPS(scale, t, t)
			VMULPS(times[k], t, g)
			VFMADD231PS(plus[k], t, da)
			VFMADD231PS(a, t, adds[k])
			VFMADD231PS(g, v, dc)
			VMULPS(c, g, g)
			VMULPS(c, t, t)
			VFMADD231PS(t, v, sums[k])
			at.store(g, dx)
		}
		l.store(da, dAddCol)
		l.store(dc, dCol)
	})
	for k := range 4 {
		for _, o := range []struct {
			name string
			sum  reg.VecVirtual
		}{{"dRow", sums[k]}, {"dAddRow", adds[k]}} {
			m.spread(o.sum, fadd)
			VADDSS(byRow(o.name, k), o.sum.AsX(), o.sum.AsX())
			VMOVSS(o.sum.AsX(), byRow(o.name, k))
		}
	}
	for _, p := range []reg.GPVirtual{dx, dy, x} {
		LEAQ(Mem{Base: p, Index: down, Scale: 4}, p)
	}
	ADDQ(Imm(4), i)
	DECQ(count)
	JNZ(LabelRef(next))
	end()
}
