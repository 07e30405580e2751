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
