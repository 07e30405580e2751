//go:build arm64 && !noasm

package kernel

// quantizeRowNEON writes the codes of v; the columns of g.Alphas begin at col.
func quantizeRowNEON(dst []uint8, v []float32, g Grid, col int) {
	n := len(dst) / 16
	switch {
	case g.inv != 0:
		lo, hi := g.bounds()
		by := [5]float32{lo, hi, g.inv, g.Alpha, g.Zp + g.Offset}
		if n > 0 {
			quantizeByNEON(&dst[0], &v[0], &by[0], n)
		}
		if rest := dst[16*n:]; len(rest) > 0 {
			var x [16]float32
			var codes [16]uint8
			copy(x[:], v[16*n:len(dst)])
			quantizeByNEON(&codes[0], &x[0], &by[0], 1)
			copy(rest, codes[:])
		}
	case g.Alphas == nil:
		quantizeSixteens(dst, v, g.Alpha, g.Zp, g.Qn, g.Qp, g.Offset)
	default:
		if n > 0 {
			grid := [4]float32{g.Zp, g.Qn, g.Qp, g.Offset}
			quantizeNEON(&dst[0], &v[0], &g.Alphas[col], 16, &grid[0], n)
		}
		for j := 16 * n; j < len(dst); j++ {
			quantizeGo(dst[j:j+1], v[j:], g.Alphas[col+j], g.Zp, g.Qn, g.Qp, g.Offset)
		}
	}
}

// quantizeSixteens is quantizeGo, sixteen at a time.
func quantizeSixteens(dst []uint8, x []float32, alpha, zp, qn, qp, offset float32) {
	n := len(dst) / 16
	if n > 0 {
		grid := [8]float32{zp, qn, qp, offset, alpha, alpha, alpha, alpha}
		quantizeNEON(&dst[0], &x[0], &grid[4], 0, &grid[0], n)
	}
	quantizeGo(dst[16*n:], x[16*n:], alpha, zp, qn, qp, offset)
}

func dequantQuantizeNEON(t tileArgs, dst []uint8, ldd int, g Grid, col int) {
	var v [PanelWidth]float32
	for i := range t.m {
		t.valuesNEON(v[:t.cols], i, nil)
		quantizeRowNEON(dst[i*ldd:][:t.cols], v[:], g, col)
	}
}
