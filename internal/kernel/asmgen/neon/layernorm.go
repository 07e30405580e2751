package main

// moments emits the sums of x - less, and of its squares, in float64.
func (e *emitter) moments() {
	e.function("moments", "adds x - less, four at a time, to the first two elements of sums, and the squares to the last two.",
		[]arg{{"sums", "*float64"}, {"x", "*float32"}, {"fours", "int"}, {"less", "float32"}})
	const less, sum, square, more, moreSquares = 16, 17, 18, 19, 20
	e.ins("FMOVS less+24(FP), F%d", less)
	e.ins("VDUP V%d.S[0], V%[1]d.S4", less)
	e.ins("FLDPQ (R0), (F%d, F%d)", sum, square)
	for _, v := range []int{more, moreSquares} {
		e.ins("VEOR V%d.B16, V%[1]d.B16, V%[1]d.B16", v)
	}
	e.loopOnly(2, func() {
		e.ins("FMOVQ.P 16(R1), F0")
		e.three(fsub, 0, 0, less)
		e.two(fcvtl, 1, 0)
		e.two(fcvtl2, 2, 0)
		e.three(faddD, sum, sum, 1)
		e.three(faddD, more, more, 2)
		e.ins("VFMLA V1.D2, V1.D2, V%d.D2", square)
		e.ins("VFMLA V2.D2, V2.D2, V%d.D2", moreSquares)
	})
	e.three(faddD, sum, sum, more)
	e.three(faddD, square, square, moreSquares)
	e.ins("FSTPQ (F%d, F%d), (R0)", sum, square)
	e.ins("RET")
}

// normalise emits (x - mean)·rstd·gamma + beta.
func (e *emitter) normalise() {
	e.function("normalise", "sets dst to (x - by[0])·by[1]·gamma + beta, four at a time; gamma and beta move on by their steps, in bytes.",
		[]arg{{"dst", "*float32"}, {"x", "*float32"}, {"by", "*float32"}, {"gamma", "*float32"}, {"gammaStep", "int"}, {"beta", "*float32"}, {"betaStep", "int"}, {"fours", "int"}})
	e.ins("VLD1R.P 4(R2), [V16.S4]")
	e.ins("VLD1R (R2), [V17.S4]")
	e.loop(7, func() {
		e.ins("FMOVQ.P 16(R1), F0")
		e.ins("FMOVQ (R3), F1")
		e.ins("ADD R4, R3")
		e.ins("FMOVQ (R5), F2")
		e.ins("ADD R6, R5")
		e.three(fsub, 0, 0, 16)
		e.three(fmulV, 0, 0, 17)
		e.three(fmulV, 0, 0, 1)
		e.three(fadd, 0, 0, 2)
		e.ins("FMOVQ.P F0, 16(R0)")
	})
}
