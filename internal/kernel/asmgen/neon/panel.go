package main

import "fmt"

// product is the arithmetic of a panel kernel: one step takes one element of each row
// and 16 columns of the panel.
type product struct {
	name, doc string
	element   int // bytes of an element of a row
	columns   int // bytes of 16 columns of one step
	args      []arg
	step      func(e *emitter, acc func(j int) int, b, row, i, half int)
}

// four does op on the four sums of a row: half says which two of them the vectors b and
// b+1 belong to.
func four(op uint32) func(e *emitter, acc func(j int) int, b, row, i, half int) {
	return func(e *emitter, acc func(j int) int, b, row, i, half int) {
		for j := range 2 {
			e.byElement(op, acc(2*half+j), b+j, row, i)
		}
	}
}

func panelArgs(left, sum string, more ...arg) []arg {
	return append([]arg{{"a", left}, {"lda", "int"}, {"b", left}, {"k", "int"}, {"c", sum}, {"ldc", "int"}, {"m", "int"}}, more...)
}

var products = []product{
	{
		"sgemmPanel", "sets m rows of 16 columns of C to alpha times m rows of A by a panel of k rows of 16 columns, plus the old C where add is not 0. lda and ldc are in bytes.",
		4, 64, panelArgs("*float32", "*float32", arg{"alpha", "float32"}, arg{"add", "int"}), four(fmla),
	},
	{
		"dotPanel", "sets m rows of 16 columns of C to the 16 sums at from plus m rows of A by a panel, both of k groups of four signed bytes. lda and ldc are in bytes.",
		4, 64, panelArgs("*uint8", "*int32", arg{"from", "*int32"}), four(sdot),
	},
	{
		"wordPanel", "sets m rows of 16 columns of C to m rows of A by a panel of k rows of 16 columns, both of 16 bits. lda and ldc are in bytes.",
		2, 32, panelArgs("*int16", "*int32"),
		func(e *emitter, acc func(j int) int, b, row, i, _ int) {
			for j := range 2 {
				e.byElement(smlal, acc(2*j), b+j, row, i)
				e.byElement(smlal2, acc(2*j+1), b+j, row, i)
			}
		},
	},
}

// Vectors: 0 to 5 hold 16 bytes of each row, 6 to 29 the sums of 6 rows by 16 columns, 30
// and 31 columns of the panel. R0 to R8 are the arguments.
const (
	maxRows = 6
	sums    = maxRows
	columns = 30

	rowPtr  = 9 // R9 to R14: the rows of the block
	panelAt = 15
	count   = 16
)

// panel emits the product of m rows by one panel. Rows go in blocks of six, the last ones
// in one smaller block, whose sums stay in registers over the whole of k. A row is read 16
// bytes at a time, and never beyond its last element.
func (e *emitter) panel(p product) {
	e.function(p.name, p.doc, p.args)
	done, blocks := e.label("done"), make([]string, maxRows+1)
	for r := 1; r <= maxRows; r++ {
		blocks[r] = e.label("rows")
	}
	for r := maxRows; r >= 1; r-- {
		e.place(blocks[r])
		if r == maxRows {
			e.ins("CMP $%d, R6", r)
			e.ins("BLT %s", blocks[r-1])
		} else {
			e.ins("CMP $%d, R6", r)
			next := done
			if r > 1 {
				next = blocks[r-1]
			}
			e.ins("BNE %s", next)
		}
		e.block(p, r)
		if r == maxRows {
			e.ins("SUB $%d, R6", r)
			e.ins("B %s", blocks[r])
		} else {
			e.ins("RET")
		}
	}
	e.place(done)
	e.ins("RET")
}

func (e *emitter) block(p product, r int) {
	acc := func(i, j int) int { return sums + 4*i + j }
	e.ins("MOVD R0, R%d", rowPtr)
	for i := 1; i < r; i++ {
		e.ins("ADD R1, R%d, R%d", rowPtr+i-1, rowPtr+i)
	}
	e.ins("ADD R1, R%d, R0", rowPtr+r-1)
	e.ins("MOVD R2, R%d", panelAt)
	last := p.args[len(p.args)-1].name
	for i := range r {
		for j := range 4 {
			switch {
			case last == "from" && i > 0:
				e.ins("VMOV V%d.B16, V%d.B16", acc(0, j), acc(i, j))
			case last != "from":
				e.ins("VEOR V%d.B16, V%[1]d.B16, V%[1]d.B16", acc(i, j))
			case j%2 == 0:
				e.ins("FLDPQ %d(R7), (F%d, F%d)", 16*j, acc(0, j), acc(0, j+1))
			}
		}
	}
	step := func(i int) {
		for half := range p.columns / 32 {
			e.ins("FLDPQ.P 32(R%d), (F%d, F%d)", panelAt, columns, columns+1)
			for row := range r {
				p.step(e, func(j int) int { return acc(row, j) }, columns, row, i, half)
			}
		}
	}
	per := 16 / p.element
	vectors, rest, one, store := e.label("vectors"), e.label("rest"), e.label("one"), e.label("store")
	e.ins("LSR $%d, R3, R%d", map[int]int{4: 2, 8: 3}[per], count)
	e.ins("CBZ R%d, %s", count, rest)
	e.place(vectors)
	for i := range r {
		e.ins("FMOVQ.P 16(R%d), F%d", rowPtr+i, i)
	}
	for i := range per {
		step(i)
	}
	e.ins("SUBS $1, R%d", count)
	e.ins("BNE %s", vectors)
	e.place(rest)
	e.ins("ANDS $%d, R3, R%d", per-1, count)
	e.ins("BEQ %s", store)
	e.place(one)
	for i := range r {
		if p.element == 4 {
			e.ins("FMOVS.P 4(R%d), F%d", rowPtr+i, i)
		} else {
			e.ins("VLD1.P 2(R%d), V%d.H[0]", rowPtr+i, i)
		}
	}
	step(0)
	e.ins("SUBS $1, R%d", count)
	e.ins("BNE %s", one)
	e.place(store)
	if last == "add" {
		e.ins("FMOVS alpha+56(FP), F0")
		for i := range r {
			for j := range 4 {
				e.byElement(fmul, acc(i, j), acc(i, j), 0, 0)
			}
		}
		plain := e.label("plain")
		e.ins("CBZ R8, %s", plain)
		for i := range r {
			at := "(R4)"
			if i > 0 {
				e.ins("ADD R5, R%d, R%d", []int{4, rowPtr}[min(1, i-1)], rowPtr)
				at = fmt.Sprintf("(R%d)", rowPtr)
			}
			for half := range 2 {
				e.ins("FLDPQ %d%s, (F%d, F%d)", 32*half, at, columns, columns+1)
				e.three(fadd, acc(i, 2*half), acc(i, 2*half), columns)
				e.three(fadd, acc(i, 2*half+1), acc(i, 2*half+1), columns+1)
			}
		}
		e.place(plain)
	}
	for i := range r {
		for half := range 2 {
			e.ins("FSTPQ (F%d, F%d), %d(R4)", acc(i, 2*half), acc(i, 2*half+1), 32*half)
		}
		e.ins("ADD R5, R4")
	}
}
