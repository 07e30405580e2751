//go:build arm64 && !noasm

package kernel

import "math"

// expTable is the constants of expNEON in its order; the last one is the bias of exponents.
var expTable = [12]float32{
	log2e, ln2Hi, ln2Lo, expP4, expP3, expP2, expP1, expP0, expMax, expMin, 1, math.Float32frombits(127),
}

// expLess sets dst to e to the x - less and returns the sum. The last elements go through
// the same arithmetic, so that the bits of one do not depend on where it lies.
func expLess(dst, x []float32, less float32) float64 {
	var sum [2]float64
	n := len(dst) &^ 3
	if n > 0 {
		expNEON(&dst[0], &x[0], n/4, &expTable[0], &sum[0], less)
	}
	if n < len(dst) {
		var v [4]float32
		for i := copy(v[:], x[n:len(dst)]); i < 4; i++ {
			v[i] = float32(math.Inf(-1)) // its power is 0
		}
		expNEON(&v[0], &v[0], 1, &expTable[0], &sum[0], less)
		copy(dst[n:], v[:])
	}
	return sum[0] + sum[1]
}

func expRow(dst, x []float32) { expLess(dst, x, 0) }

func softmaxRowsNEON(dst, x []float32, rows, n int) {
	for r := range rows {
		x, dst := x[r*n:][:n], dst[r*n:][:n]
		whole := n &^ 3
		m := x[n-1]
		if whole > 0 {
			mostNEON(&m, &x[0], whole/4)
		}
		for _, v := range x[whole:] {
			m = max(m, v)
		}
		scaleRow(dst, dst, float32(1/expLess(dst, x, m)))
	}
}

func scaleRow(dst, x []float32, s float32) {
	n := len(dst) &^ 3
	if n > 0 {
		scaleNEON(&dst[0], &x[0], n/4, s)
	}
	for i, v := range x[n:len(dst)] {
		dst[n+i] = v * s
	}
}

// rescaleRow is a row of RescaleRows.
func rescaleRow(dst, x []float32, row, addRow, scale float32, col, addCol []float32) {
	n := len(dst) &^ 3
	if n > 0 {
		by := [3]float32{row, addRow, scale}
		rescaleNEON(&dst[0], &x[0], &col[0], &addCol[0], &by[0], n/4)
	}
	for j := n; j < len(dst); j++ {
		v := float32(float32(x[j]*row)*col[j]) + float32(addCol[j]*addRow)
		dst[j] = float32(v * scale)
	}
}

func rescaleRowsNEON(dst, x, row, col, addRow, addCol []float32, scale float32, rows, n int) {
	for i := range rows {
		rescaleRow(dst[i*n:][:n], x[i*n:][:n], row[i], addRow[i], scale, col, addCol)
	}
}

func softmaxQuantizeNEON(_ *set, w *Workspace, dst []uint8, ldd int, x []int32, ldx, rows, n int, l Logits, g Grid) {
	v := w.row(n)
	var factor [PanelWidth]float32
	for j := range factor {
		factor[j] = l.Factor
	}
	for i := range rows {
		l.valuesNEON(v, x[i*ldx:][:n], i, &factor)
		softmaxRowsNEON(v, v, 1, n)
		quantizeRowNEON(dst[i*ldd:][:n], v, g, 0)
	}
}

// valuesNEON is values; factor is l.Factor again and again.
func (l *Logits) valuesNEON(dst []float32, x []int32, i int, factor *[PanelWidth]float32) {
	for j := 0; j < len(dst); j += PanelWidth {
		d := dst[j:min(j+PanelWidth, len(dst))]
		t := tileArgs{tile: x[j:], factor: factor[:]}
		if l.Offset != nil {
			t.offset = l.Offset[j:]
		}
		if l.Row != nil {
			t.row = l.Row[i:]
		}
		t.valuesNEON(d, 0, nil)
	}
	switch r := &l.Rescale; {
	case r.Col != nil:
		scale := l.Scale
		if scale == 0 {
			scale = 1
		}
		rescaleRow(dst, dst, r.Row[i], r.AddRow[i], scale, r.Col, r.AddCol)
	case l.Scale != 0:
		scaleRow(dst, dst, l.Scale)
	}
	if l.Bias != nil {
		addGo(dst, dst, l.Bias[i*l.LDBias:])
	}
	if l.Mask != nil {
		addGo(dst, dst, l.Mask[i*l.LDMask:])
	}
}
