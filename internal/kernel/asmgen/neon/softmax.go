package main

// exp emits the exponential of x - less, and adds the powers to two float64 sums. The
// constants are those of expTable of the kernel package, in its order.
func (e *emitter) exp() {
	e.function("exp", "sets dst to e to the x - less, four at a time, and adds the first and the last two of four to the elements of sum.",
		[]arg{{"dst", "*float32"}, {"x", "*float32"}, {"fours", "int"}, {"table", "*float32"}, {"sum", "*float64"}, {"less", "float32"}})
	const log2e, hi, lo, p4, p3, p2, p1, p0, top, bottom, one, bias, less, sum = 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29
	for v := log2e; v <= bias; v++ {
		e.ins("VLD1R.P 4(R3), [V%d.S4]", v)
	}
	e.ins("FMOVS less+40(FP), F%d", less)
	e.ins("VDUP V%d.S[0], V%[1]d.S4", less)
	e.ins("FMOVQ (R4), F%d", sum)
	const x, n, r, p, t, k, h = 0, 1, 2, 3, 4, 5, 6
	e.loopOnly(2, func() {
		e.ins("FMOVQ.P 16(R1), F%d", x)
		e.three(fsub, x, x, less)
		e.three(fmin, x, x, top)
		e.three(fmax, x, x, bottom)
		e.three(fmulV, n, x, log2e)
		e.two(frintn, n, n)
		e.ins("VMOV V%d.B16, V%d.B16", x, r)
		e.ins("VFMLS V%d.S4, V%d.S4, V%d.S4", hi, n, r)
		e.ins("VFMLS V%d.S4, V%d.S4, V%d.S4", lo, n, r)
		from := p4
		for c := p3; c <= p0; c++ {
			to := p + (c-p3)%2
			e.ins("VMOV V%d.B16, V%d.B16", c, to)
			e.ins("VFMLA V%d.S4, V%d.S4, V%d.S4", from, r, to)
			from = to
		}
		// from is t; r·r·t + r + 1
		e.three(fmulV, p, r, r)
		e.ins("VFMLA V%d.S4, V%d.S4, V%d.S4", from, p, r)
		e.three(fadd, r, r, one)
		// Two factors, so that neither leaves the normal range.
		e.two(fcvtns, k, n)
		e.two(sshr1, h, k)
		e.ins("VSUB V%d.S4, V%d.S4, V%[2]d.S4", h, k)
		for _, v := range []int{h, k} {
			e.ins("VADD V%d.S4, V%d.S4, V%[2]d.S4", bias, v)
			e.ins("VSHL $23, V%d.S4, V%[1]d.S4", v)
			e.three(fmulV, r, r, v)
		}
		e.two(fcvtl, p, r)
		e.two(fcvtl2, t, r)
		e.three(faddD, p, p, t)
		e.three(faddD, sum, sum, p)
		e.ins("FMOVQ.P F%d, 16(R0)", r)
	})
	e.ins("FMOVQ F%d, (R4)", sum)
	e.ins("RET")
}

// most emits the greatest element.
func (e *emitter) most() {
	e.function("most", "writes the greatest of four at a time to dst.", []arg{{"dst", "*float32"}, {"x", "*float32"}, {"fours", "int"}})
	e.ins("FMOVQ (R1), F0")
	e.loopOnly(2, func() {
		e.ins("FMOVQ.P 16(R1), F1")
		e.three(fmax, 0, 0, 1)
	})
	e.two(fmaxv, 0, 0)
	e.ins("FMOVS F0, (R0)")
	e.ins("RET")
}

// scale emits a product by a number.
func (e *emitter) scale() {
	e.function("scale", "sets dst to x times s, four at a time.", []arg{{"dst", "*float32"}, {"x", "*float32"}, {"fours", "int"}, {"s", "float32"}})
	e.ins("FMOVS s+24(FP), F1")
	e.loop(2, func() {
		e.ins("FMOVQ.P 16(R1), F0")
		e.byElement(fmul, 0, 0, 1, 0)
		e.ins("FMOVQ.P F0, 16(R0)")
	})
}

// rescale emits the step of Rescale and the scale.
func (e *emitter) rescale() {
	e.function("rescale", "sets dst to (x·row·col + addCol·addRow)·scale, four at a time; row points to row, addRow and scale.",
		[]arg{{"dst", "*float32"}, {"x", "*float32"}, {"col", "*float32"}, {"addCol", "*float32"}, {"row", "*float32"}, {"fours", "int"}})
	e.ins("FMOVD (R4), F3")
	e.ins("FMOVS 8(R4), F4")
	e.loop(5, func() {
		e.ins("FMOVQ.P 16(R1), F0")
		e.ins("FMOVQ.P 16(R2), F1")
		e.ins("FMOVQ.P 16(R3), F2")
		e.byElement(fmul, 0, 0, 3, 0)
		e.three(fmulV, 0, 0, 1)
		e.byElement(fmul, 2, 2, 3, 1)
		e.three(fadd, 0, 0, 2)
		e.byElement(fmul, 0, 0, 4, 0)
		e.ins("FMOVQ.P F0, 16(R0)")
	})
}
