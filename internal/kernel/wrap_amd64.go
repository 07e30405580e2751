//go:build amd64 && !noasm

package kernel

// These wrap assembly that works on whole vectors only.

func transposeAVX512(dst, src []float32, rows, cols int) { transposePanels(dst, src, rows, cols, 16) }
func transposeAVX2(dst, src []float32, rows, cols int)   { transposePanels(dst, src, rows, cols, 8) }

// transposePanels packs v rows at a time, as a panel of a product would be.
func transposePanels(dst, src []float32, rows, cols, v int) {
	r := 0
	for ; r+v <= rows; r += v {
		packColumns(&dst[r], 4*rows, &src[r*cols], 4*cols, v, cols, v == 16)
	}
	transposeFrom(dst, src, r, rows, cols)
}

func quantizeAVX512(dst []uint8, x []float32, alpha, zp, qn, qp, offset float32) {
	quantizeU8AVX512(dst, x, alpha, zp, qn, qp, offset)
}

func quantizeAVX2(dst []uint8, x []float32, alpha, zp, qn, qp, offset float32) {
	quantizeU8AVX2(dst, x, alpha, zp, qn, qp, offset)
	n := len(dst) &^ 7
	quantizeGo(dst[n:], x[n:], alpha, zp, qn, qp, offset)
}

func dequantizeAVX512(dst []float32, codes []uint8, alpha, zp float32) {
	dequantizeU8AVX512(dst, codes, zp, alpha)
	n := len(dst) &^ 15
	dequantizeGo(dst[n:], codes[n:], alpha, zp)
}

func dequantizeSignedAVX512(dst []float32, codes []int8, alpha, zp float32) {
	dequantizeS8AVX512(dst, codes, zp, alpha)
	n := len(dst) &^ 15
	dequantizeGo(dst[n:], codes[n:], alpha, zp)
}

func dequantizeAVX2(dst []float32, codes []uint8, alpha, zp float32) {
	dequantizeU8AVX2(dst, codes, zp, alpha)
	n := len(dst) &^ 7
	dequantizeGo(dst[n:], codes[n:], alpha, zp)
}

func dequantizeSignedAVX2(dst []float32, codes []int8, alpha, zp float32) {
	dequantizeS8AVX2(dst, codes, zp, alpha)
	n := len(dst) &^ 7
	dequantizeGo(dst[n:], codes[n:], alpha, zp)
}

func geluQuantAVX512(_ *set, _ *Workspace, dx, x, dy []float32, alpha, zp, qn, qp float32, acc bool) (dalpha, dout float64) {
	return geluQuantBackwardAVX512(dx, x, dy, alpha, zp, qn, qp, acc)
}

// rescaleRowsBackwardWide does four rows at a time, then those left over.
func rescaleRowsBackwardWide(dx, dRow, dCol, dAddRow, dAddCol, dy, x, row, col, addRow, addCol []float32, scale float32, rows, n int) {
	r := rows &^ 3
	if r > 0 {
		rescaleRows4BackwardAVX512(dx, dRow, dCol, dAddRow, dAddCol, dy, x, row, col, addRow, addCol, scale, r/4, n)
	}
	if r < rows {
		rescaleRowsBackwardAVX512(dx[r*n:], dRow[r:], dCol, dAddRow[r:], dAddCol, dy[r*n:], x[r*n:], row[r:], col, addRow[r:], addCol, scale, rows-r, n)
	}
}
