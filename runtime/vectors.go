package runtime

import "github.com/qvitc/qvitc/internal/kernel"

// The vector loops of a training step outside the graph.

// AddTo adds x to dst, element by element; dst has at least the length of x.
func AddTo(dst, x []float32) { kernel.Add(dst[:len(x)], dst, x) }

// ScaleBy multiplies x by s in place.
func ScaleBy(x []float32, s float32) { kernel.Scale(x, x, s) }

// SumSquares is Σ x² with float64 sums.
func SumSquares(x []float32) float64 { return kernel.SumSquares(x) }

// NormaliseRows writes the rows of x, of n elements, with mean 0 and variance 1:
// (x - mean)/√(variance + eps). stats has room for two numbers a row.
func NormaliseRows(dst, stats, x []float32, rows, n int, eps float32) {
	kernel.LayerNorm(dst, stats[:rows], stats[rows:2*rows], x, nil, nil, rows, n, eps)
}

// AdamW does one step on the parameters w with gradient g and moments m and v, all
// of one length: m = beta1·m + (1-beta1)·g, v = beta2·v + (1-beta2)·g²,
// w -= lr·((m/c1)/(√(v/c2)+eps) + decay·w), where the caller gives the bias
// corrections c1 = 1-beta1^t and c2 = 1-beta2^t.
func AdamW(w, m, v, g []float32, lr, beta1, beta2, eps, decay, c1, c2 float32) {
	kernel.Adam(w, m, v, g, lr, beta1, beta2, eps, decay, c1, c2)
}
