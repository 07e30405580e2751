package main

// affine emits the values of sums: (acc - row - offset)·factor + bias, and with add those
// added to res.
func (e *emitter) affine(name string, add bool) {
	args := []arg{{"dst", "*float32"}, {"acc", "*int32"}, {"offset", "*int32"}, {"factor", "*float32"}, {"bias", "*float32"}, {"row", "int"}, {"fours", "int"}}
	doc := "computes the values of a row of sums, four columns at a time: see Affine."
	if add {
		args = append(args, arg{"res", "*float32"})
		doc = "is affineNEON added to res."
	}
	e.function(name, doc, args)
	const row = 16
	e.ins("VDUP R5, V%d.S4", row)
	e.loop(6, func() {
		e.ins("FMOVQ.P 16(R1), F0")
		e.ins("FMOVQ.P 16(R2), F1")
		e.ins("FMOVQ.P 16(R3), F2")
		e.ins("FMOVQ.P 16(R4), F3")
		e.ins("VSUB V%d.S4, V0.S4, V0.S4", row)
		e.ins("VSUB V1.S4, V0.S4, V0.S4")
		e.two(scvtf, 0, 0)
		e.three(fmulV, 0, 0, 2)
		e.three(fadd, 0, 0, 3)
		if add {
			e.ins("FMOVQ.P 16(R7), F4")
			e.three(fadd, 0, 4, 0)
		}
		e.ins("FMOVQ.P F0, 16(R0)")
	})
}

// quantize emits clip(round(x/alpha)+zp, qn, qp) + offset as bytes.
func (e *emitter) quantize() {
	e.function("quantize", "writes the codes of x, sixteen at a time; grid is zp, qn, qp and offset, and four of alpha belong to four of x, from where they are step bytes further on.",
		[]arg{{"dst", "*uint8"}, {"x", "*float32"}, {"alpha", "*float32"}, {"step", "int"}, {"grid", "*float32"}, {"sixteens", "int"}})
	const zp, qn, qp, offset = 16, 17, 18, 19
	for i := range 4 {
		e.ins("VLD1R.P 4(R4), [V%d.S4]", zp+i)
	}
	each := func(op uint32, m int) {
		for v := range 4 {
			e.three(op, v, v, m)
		}
	}
	e.loop(5, func() {
		for v := range 4 {
			e.ins("FMOVQ.P 16(R1), F%d", v)
			e.ins("FMOVQ (R2), F%d", 4+v)
			e.ins("ADD R3, R2")
			e.three(fdiv, v, v, 4+v)
		}
		for v := range 4 {
			e.two(frintn, v, v)
		}
		each(fadd, zp)
		each(fmax, qn)
		each(fmin, qp)
		each(fadd, offset)
		for v := range 4 {
			e.two(fcvtns, v, v)
		}
		e.storeBytes(0)
	})
}

// storeBytes writes the low bytes of the integers of v to v+3 to where R0 points.
func (e *emitter) storeBytes(v int) {
	e.lowBytes(v)
	e.ins("FMOVQ.P F%d, 16(R0)", v)
}

// lowBytes gathers them in v.
func (e *emitter) lowBytes(v int) {
	for _, w := range []int{v, v + 2} {
		e.ins("VUZP1 V%d.H8, V%d.H8, V%[2]d.H8", w+1, w)
	}
	e.ins("VUZP1 V%d.B16, V%d.B16, V%[2]d.B16", v+2, v)
}

// quantizeBy emits quantize without division: see inverse.go of the kernel package.
func (e *emitter) quantizeBy() {
	e.function("quantizeBy", "writes the codes of x, sixteen at a time, for a grid with an inverse; grid is the values of the least and the greatest code, the inverse, alpha, and zp + offset.",
		[]arg{{"dst", "*uint8"}, {"x", "*float32"}, {"grid", "*float32"}, {"sixteens", "int"}})
	const low, high, inverse, alpha, shift = 16, 17, 18, 19, 20
	for v := low; v <= shift; v++ {
		e.ins("VLD1R.P 4(R2), [V%d.S4]", v)
	}
	e.loop(3, func() {
		for q := range 4 {
			x := 4 + q
			e.ins("FMOVQ.P 16(R1), F%d", x)
			e.three(fmaxnm, x, x, low)
			e.three(fminnm, x, x, high)
			e.three(fmulV, q, x, inverse)
			e.ins("VFMLS V%d.S4, V%d.S4, V%d.S4", alpha, q, x)
			e.ins("VFMLA V%d.S4, V%d.S4, V%d.S4", inverse, x, q)
			e.two(frintn, q, q)
			e.three(fadd, q, q, shift)
			e.two(fcvtns, q, q)
		}
		e.storeBytes(0)
	})
}

// loopOnly runs body R-count times.
func (e *emitter) loopOnly(count int, body func()) {
	loop, done := e.label("loop"), e.label("done")
	e.ins("CBZ R%d, %s", count, done)
	e.place(loop)
	body()
	e.ins("SUBS $1, R%d", count)
	e.ins("BNE %s", loop)
	e.place(done)
}

// loop is loopOnly at the end of a function.
func (e *emitter) loop(count int, body func()) {
	e.loopOnly(count, body)
	e.ins("RET")
}
