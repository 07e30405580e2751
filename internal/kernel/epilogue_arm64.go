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
