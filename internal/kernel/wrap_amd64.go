//go:build amd64 && !noasm

package kernel

// These wrap assembly that works on whole vectors only.

func transposeAVX512(dst, src []float32, rows, cols int) { transposePanels(dst, src, rows, cols, 16) }
func transposeAVX2(dst, src []float32, rows, cols int)   { transposePanels(dst, src, rows, cols, 8) }

// transposePanels packs v rows at a time, as a panel of a product would be.
func transposePanels(dst, src []float32, rows, cols, v int) {
	var offs [16]int
	for i := range offs {
		offs[i] = 4 * cols * i
	}
	r := 0
	for ; r+v <= rows; r += v {
		if v == 16 {
			packPanelTAVX512(&dst[r], 4*rows, &src[r*cols], &offs[0], cols)
		} else {
			packPanelTAVX2(&dst[r], 4*rows, &src[r*cols], &offs[0], cols)
		}
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
