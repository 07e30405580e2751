//go:build arm64 && !noasm

package kernel

import "math"

// momentsOf is the sums of x - less and of its squares.
func momentsOf(x []float32, less float32) (sum, squares float64) {
	var s [4]float64
	n := len(x) &^ 3
	if n > 0 {
		momentsNEON(&s[0], &x[0], n/4, less)
	}
	for _, v := range x[n:] {
		d := float64(v - less)
		s[0] += d
		s[2] += d * d
	}
	return s[0] + s[1], s[2] + s[3]
}

func layerNormNEON(dst, mean, rstd, x, gamma, beta []float32, rows, n int, eps float32) {
	whole := n &^ 3
	ones, zeros := [4]float32{1, 1, 1, 1}, [4]float32{}
	g, b, gs, bs := &ones[0], &zeros[0], 0, 0
	if gamma != nil {
		g, gs = &gamma[0], 16
	}
	if beta != nil {
		b, bs = &beta[0], 16
	}
	for r := range rows {
		x, dst := x[r*n:][:n], dst[r*n:][:n]
		sum, _ := momentsOf(x, 0)
		m := float32(sum / float64(n))
		_, squares := momentsOf(x, m)
		k := float32(1 / math.Sqrt(squares/float64(n)+float64(eps)))
		mean[r], rstd[r] = m, k
		if whole > 0 {
			by := [2]float32{m, k}
			normaliseNEON(&dst[0], &x[0], &by[0], g, gs, b, bs, whole/4)
		}
		for i := whole; i < n; i++ {
			h := (x[i] - m) * k
			if gamma != nil {
				h *= gamma[i]
			}
			if beta != nil {
				h += beta[i]
			}
			dst[i] = h
		}
	}
}
