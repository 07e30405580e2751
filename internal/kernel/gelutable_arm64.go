//go:build arm64 && !noasm

package kernel

// dequantGeluNEON looks rows up; one with a value near a step goes value by value.
func dequantGeluNEON(w *Workspace, t tileArgs, dst []uint8, ldd int, table *GeluTable) {
	if !table.fits {
		dequantGeluArithmetic(w, t, dst, ldd, table)
		return
	}
	b, v, n := &table.bins, w.row(t.cols), t.cols/16
	lines := [6]float32{b.slope[0], b.slope[1], b.start[0], b.start[1], b.widest, 31}
	for i := range t.m {
		t.valuesNEON(v, i, nil)
		d, from := dst[i*ldd:][:t.cols], 0
		if n > 0 {
			var near [2]uint64
			geluNEON(&d[0], &v[0], n, &b.high[0], &b.pairs[0], &lines[0], &near[0])
			if near == [2]uint64{} {
				from = 16 * n
			}
		}
		table.look(d[from:], v[from:])
	}
}
