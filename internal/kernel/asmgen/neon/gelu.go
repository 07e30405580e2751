package main

// gelu emits the look-up of geluBins. The floats at which the codes of bins change are
// gathered bytewise: bytes 4k to 4k+3 of two tables of 64 bytes.
func (e *emitter) gelu() {
	e.function("gelu", "writes the codes of GELU of x, sixteen at a time, from the steps high and the pairs of codes of geluBins; lines is both slopes, both starts, the greatest width of a step and 31. near is not 0 where a value may lie within a step.",
		[]arg{{"dst", "*uint8"}, {"x", "*float32"}, {"sixteens", "int"}, {"high", "*float32"}, {"pairs", "*uint8"}, {"lines", "*float32"}, {"near", "*uint64"}})
	const high, pairs, lines, widest, spread, bytes, last, beyond, one, near, index, zero = 16, 24, 28, 29, 30, 31, 15, 14, 13, 12, 8, 7
	for v := high; v < high+8; v += 2 {
		e.ins("FLDPQ.P 32(R3), (F%d, F%d)", v, v+1)
	}
	for v := pairs; v < pairs+4; v += 2 {
		e.ins("FLDPQ.P 32(R4), (F%d, F%d)", v, v+1)
	}
	e.ins("FMOVQ.P 16(R5), F%d", lines)
	e.ins("VLD1R.P 4(R5), [V%d.S4]", widest)
	e.ins("VLD1R.P 4(R5), [V%d.S4]", last)
	for _, c := range []struct{ v, bits int }{{spread, 0x04040404}, {bytes, 0x03020100}, {one, 1}} {
		e.ins("MOVD $0x%x, R8", c.bits)
		e.ins("VDUP R8, V%d.S4", c.v)
	}
	e.ins("VMOVI $64, V%d.B16", beyond)
	e.ins("VEOR V%d.B16, V%[1]d.B16, V%[1]d.B16", near)
	e.ins("VEOR V%d.B16, V%[1]d.B16, V%[1]d.B16", zero)
	const x, t, u, d = 0, 1, 2, 3
	e.loopOnly(2, func() {
		for v := range 4 {
			k := index + v
			e.ins("FMOVQ.P 16(R1), F%d", x)
			e.ins("VDUP V%d.S[2], V%d.S4", lines, t)
			e.ins("VDUP V%d.S[3], V%d.S4", lines, u)
			e.byElement(fmla, t, x, lines, 0)
			e.byElement(fmla, u, x, lines, 1)
			e.three(fmax, t, t, u)
			e.three(fmax, t, t, zero)
			e.three(fmin, t, t, last)
			e.two(fcvtzs, k, t)
			e.ins("VMOV V%d.B16, V%d.B16", bytes, t)
			e.three(mla, t, k, spread)
			e.ins("VTBL V%d.B16, [V16.B16, V17.B16, V18.B16, V19.B16], V%d.B16", t, d)
			e.ins("VSUB V%d.B16, V%d.B16, V%[2]d.B16", beyond, t)
			e.ins("VTBX V%d.B16, [V20.B16, V21.B16, V22.B16, V23.B16], V%d.B16", t, d)
			e.three(fsub, d, d, x) // the way to the step
			e.two(fcmle0, t, d)
			e.three(fcmge, u, widest, d)
			e.ins("VEOR V%d.B16, V%d.B16, V%[2]d.B16", t, u) // above is within the widest
			e.ins("VORR V%d.B16, V%d.B16, V%[2]d.B16", u, near)
			// The code above is that of index 2k, the one below 2k+1.
			e.ins("VADD V%d.S4, V%[1]d.S4, V%[1]d.S4", k)
			e.ins("VADD V%d.S4, V%d.S4, V%[2]d.S4", one, k)
			e.ins("VADD V%d.S4, V%d.S4, V%[2]d.S4", t, k)
		}
		e.lowBytes(index)
		e.ins("VTBL V8.B16, [V24.B16, V25.B16, V26.B16, V27.B16], V8.B16")
		e.ins("FMOVQ.P F8, 16(R0)")
	})
	e.ins("FMOVQ F%d, (R6)", near)
	e.ins("RET")
}
