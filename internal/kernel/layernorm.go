package kernel

import "math"

// LayerNorm normalises each of the rows of n elements (ONNX
// LayerNormalization-17 on the last axis): mean and rstd = 1/√(var+eps) are
// written to slices of length rows, dst = (x-mean)·rstd·gamma + beta. gamma and
// beta have length n and may be nil (1 and 0).
func LayerNorm(dst, mean, rstd, x, gamma, beta []float32, rows, n int, eps float32) {
	need("dst", len(dst), rows*n)
	need("x", len(x), rows*n)
	need("mean", len(mean), rows)
	need("rstd", len(rstd), rows)
	if gamma != nil {
		need("gamma", len(gamma), n)
	}
	if beta != nil {
		need("beta", len(beta), n)
	}
	if rows > 0 && n > 0 {
		active.layerNorm(dst, mean, rstd, x, gamma, beta, rows, n, eps)
	}
}

// LayerNormBackward writes (acc: adds) the gradient with respect to x of
// LayerNorm, whose mean and rstd are given, into dx:
//
//	h = (x-mean)·rstd, g = dy·gamma, dx = rstd·(g - avg(g) - h·avg(g·h))
//
// and always adds Σ dy·h to dgamma and Σ dy to dbeta (length n). dmean and dspread are
// gradients of the rows' mean and of 1/rstd where others read them: dx gets
// dmean/n + h·dspread/n more. dx, dgamma, dbeta, gamma, dmean and dspread may be nil.
func LayerNormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd, dmean, dspread []float32, rows, n int, acc bool) {
	need("dy", len(dy), rows*n)
	need("x", len(x), rows*n)
	need("mean", len(mean), rows)
	need("rstd", len(rstd), rows)
	if gamma != nil {
		need("gamma", len(gamma), n)
	}
	if rows == 0 || n == 0 {
		return
	}
	if dgamma != nil {
		need("dgamma", len(dgamma), n)
		active.layerNormGamma(dgamma[:n], dy, x, mean, rstd, rows, n)
	}
	if dbeta != nil {
		need("dbeta", len(dbeta), n)
		active.sumRows(dbeta[:n], dy, rows, n)
	}
	if dx != nil {
		need("dx", len(dx), rows*n)
		for _, d := range [2][]float32{dmean, dspread} {
			if d != nil {
				need("gradient of a statistic", len(d), rows)
			}
		}
		active.layerNormDx(dx, dy, x, gamma, mean, rstd, dmean, dspread, rows, n, acc)
	}
}

func layerNormGo(dst, mean, rstd, x, gamma, beta []float32, rows, n int, eps float32) {
	for r := range rows {
		x, dst := x[r*n:][:n], dst[r*n:][:n]
		var s, q float64
		for _, v := range x {
			s += float64(v)
		}
		m := float32(s / float64(n))
		for _, v := range x {
			d := float64(v - m)
			q += d * d
		}
		k := float32(1 / math.Sqrt(q/float64(n)+float64(eps)))
		mean[r], rstd[r] = m, k
		for i, v := range x {
			h := (v - m) * k
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

func layerNormDxGo(dx, dy, x, gamma, mean, rstd, dmean, dspread []float32, rows, n int, acc bool) {
	for r := range rows {
		x, dy, dx := x[r*n:][:n], dy[r*n:][:n], dx[r*n:][:n]
		m, k := mean[r], rstd[r]
		var sg, sh float64
		for i, v := range x {
			g := dy[i]
			if gamma != nil {
				g *= gamma[i]
			}
			sg += float64(g)
			sh += float64(g * ((v - m) * k))
		}
		if dmean != nil {
			sg -= float64(dmean[r] / k)
		}
		if dspread != nil {
			sh -= float64(dspread[r] / k)
		}
		ag, ah := float32(sg/float64(n)), float32(sh/float64(n))
		for i, v := range x {
			g := dy[i]
			if gamma != nil {
				g *= gamma[i]
			}
			d := k * (g - ag - (v-m)*k*ah)
			if acc {
				d += dx[i]
			}
			dx[i] = d
		}
	}
}

func layerNormGammaGo(dgamma, dy, x, mean, rstd []float32, rows, n int) {
	for r := range rows {
		x, dy, dgamma := x[r*n:][:n], dy[r*n:][:n], dgamma[:n]
		m, k := mean[r], rstd[r]
		for i, v := range x {
			dgamma[i] += dy[i] * ((v - m) * k)
		}
	}
}
