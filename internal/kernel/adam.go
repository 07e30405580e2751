package kernel

import "math"

// Adam does one decoupled AdamW step on the parameters w with gradient g and
// moments m and v (all of the length of w):
//
//	m = beta1·m + (1-beta1)·g,  v = beta2·v + (1-beta2)·g²
//	w -= lr·( (m/c1) / (√(v/c2) + eps) + decay·w )
//
// where the caller gives the bias corrections c1 = 1-beta1^t and c2 = 1-beta2^t.
// With a gradient of 0 everywhere and decay 0, zero moments leave w as it is.
func Adam(w, m, v, g []float32, lr, beta1, beta2, eps, decay, c1, c2 float32) {
	need("m", len(m), len(w))
	need("v", len(v), len(w))
	need("g", len(g), len(w))
	n := len(w)
	active.adam(w, m[:n], v[:n], g[:n], lr, beta1, beta2, eps, decay, c1, c2)
}

func adamGo(w, m, v, g []float32, lr, beta1, beta2, eps, decay, c1, c2 float32) {
	n := len(w)
	m, v, g = m[:n], v[:n], g[:n]
	for i := range w {
		mi := beta1*m[i] + (1-beta1)*g[i]
		vi := beta2*v[i] + (1-beta2)*g[i]*g[i]
		m[i], v[i] = mi, vi
		den := float32(math.Sqrt(float64(vi/c2))) + eps
		w[i] -= lr * (mi/c1/den + decay*w[i])
	}
}
