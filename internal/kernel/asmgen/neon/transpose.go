package main

// transpose emits the transpose of four rows, four columns at a time.
func (e *emitter) transpose() {
	e.function("transpose", "sets element r of rows of dst, stride bytes apart, to those of row r of four rows of src, ld bytes apart: four columns at a time.",
		[]arg{{"dst", "*float32"}, {"stride", "int"}, {"src", "*float32"}, {"ld", "int"}, {"fours", "int"}})
	for i := range 3 {
		e.ins("ADD R3, R%d, R%d", []int{2, 8, 9}[i], 8+i)
	}
	e.loop(4, func() {
		for i, row := range []int{2, 8, 9, 10} {
			e.ins("FMOVQ.P 16(R%d), F%d", row, i)
		}
		// Pairs of rows, then both pairs.
		for i := range 2 {
			e.ins("VZIP1 V%d.S4, V%d.S4, V%d.S4", 2*i+1, 2*i, 4+2*i)
			e.ins("VZIP2 V%d.S4, V%d.S4, V%d.S4", 2*i+1, 2*i, 5+2*i)
		}
		for i := range 2 {
			e.ins("VZIP1 V%d.D2, V%d.D2, V%d.D2", 6+i, 4+i, 2*i)
			e.ins("VZIP2 V%d.D2, V%d.D2, V%d.D2", 6+i, 4+i, 2*i+1)
		}
		for i := range 4 {
			e.ins("FMOVQ F%d, (R0)", i)
			e.ins("ADD R1, R0")
		}
	})
}
