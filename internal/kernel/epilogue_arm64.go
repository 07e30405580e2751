//go:build arm64 && !noasm

package kernel

import "math"

// noBiases are those of an Affine without: adding -0 changes no number, nor the sign of a zero.
var noBiases = func() (b [PanelWidth]float32) {
	for i := range b {
		b[i] = float32(math.Copysign(0, -1))
	}
	return b
}()

// valuesNEON computes row i, four columns at a time, and adds them to res where that is not nil.
func (t *tileArgs) valuesNEON(dst []float32, i int, res []float32) {
	n := len(dst) &^ 3
	if n > 0 {
		offset, bias, row := &noSums[0], &noBiases[0], 0
		if t.offset != nil {
			offset = &t.offset[0]
		}
		if t.bias != nil {
			bias = &t.bias[0]
		}
		if t.row != nil {
			row = int(t.row[i])
		}
		if res != nil {
			affineAddNEON(&dst[0], &t.tile[i*t.ldt], offset, &t.factor[0], bias, row, n/4, &res[0])
		} else {
			affineNEON(&dst[0], &t.tile[i*t.ldt], offset, &t.factor[0], bias, row, n/4)
		}
	}
	if n == len(dst) {
		return
	}
	rest := *t
	rest.tile, rest.factor = t.tile[n:], t.factor[n:]
	if t.offset != nil {
		rest.offset = t.offset[n:]
	}
	if t.bias != nil {
		rest.bias = t.bias[n:]
	}
	var v [4]float32
	rest.values(v[:len(dst)-n], i)
	if res != nil {
		addGo(v[:len(dst)-n], res[n:], v[:])
	}
	copy(dst[n:], v[:])
}

func dequantNEON(t tileArgs, dst []float32, ldd int) {
	for i := range t.m {
		t.valuesNEON(dst[i*ldd:][:t.cols], i, nil)
	}
}

func dequantAddNEON(t tileArgs, dst []float32, ldd int, res []float32, ldr int) {
	for i := range t.m {
		t.valuesNEON(dst[i*ldd:][:t.cols], i, res[i*ldr:][:t.cols])
	}
}

func dequantQuantizeNEON(t tileArgs, dst []uint8, ldd int, g Grid, col int) {
	var v [PanelWidth]float32
	for i := range t.m {
		t.valuesNEON(v[:t.cols], i, nil)
		d := dst[i*ldd:][:t.cols]
		if g.Alphas == nil {
			quantizeSixteens(d, v[:], g.Alpha, g.Zp, g.Qn, g.Qp, g.Offset)
			continue
		}
		n := len(d) / 16
		if n > 0 {
			grid := [4]float32{g.Zp, g.Qn, g.Qp, g.Offset}
			quantizeNEON(&d[0], &v[0], &g.Alphas[col], 16, &grid[0], n)
		}
		for j := 16 * n; j < len(d); j++ {
			quantizeGo(d[j:j+1], v[j:], g.Alphas[col+j], g.Zp, g.Qn, g.Qp, g.Offset)
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
