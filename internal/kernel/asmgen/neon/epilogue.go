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
		// The low halves of each, then the low bytes.
		e.ins("VUZP1 V1.H8, V0.H8, V0.H8")
		e.ins("VUZP1 V3.H8, V2.H8, V2.H8")
		e.ins("VUZP1 V2.B16, V0.B16, V0.B16")
		e.ins("FMOVQ.P F0, 16(R0)")
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
