package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// sweep returns values that cover [-lim, lim] densely, with the awkward ones.
func sweep(lim float64) []float32 {
	x := []float32{0, float32(math.Copysign(0, -1)), 1e-30, -1e-30, 1e-8, -1e-8, erfSplit, -erfSplit, tanhSplit, -tanhSplit}
	for i := range 200001 {
		x = append(x, float32(-lim+2*lim*float64(i)/200000))
	}
	return x
}

// worst applies f to the sweep and returns the largest error that measure finds.
func worst(x []float32, f func(dst, x []float32), measure func(x, got float64) float64) (float64, float32) {
	dst := make([]float32, len(x))
	f(dst, x)
	var w float64
	var at float32
	for i, v := range x {
		if e := measure(float64(v), float64(dst[i])); !(e <= w) {
			w, at = e, v
		}
	}
	return w, at
}

func relative(want func(float64) float64) func(x, got float64) float64 {
	return func(x, got float64) float64 {
		w := want(x)
		if w == got {
			return 0
		}
		return math.Abs(got-w) / math.Max(math.Abs(w), 0x1p-126)
	}
}

func absolute(want func(float64) float64) func(x, got float64) float64 {
	return func(x, got float64) float64 { return math.Abs(got - want(x)) }
}

func geluExact(x float64) float64 { return x / 2 * math.Erfc(-x/math.Sqrt2) }

func geluSlope(x float64) float64 {
	return math.Erfc(-x/math.Sqrt2)/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
}

func TestActivationAccuracy(t *testing.T) {
	for _, s := range sets() {
		check := func(name string, lim, bound float64, f func(dst, x []float32), m func(x, got float64) float64) {
			e, at := worst(sweep(lim), f, m)
			t.Logf("%-8s %-12s worst %.2e at %v", s.name, name, e, at)
			if !(e <= bound) {
				t.Errorf("%s %s: error %g at %v, bound %g", s.name, name, e, at, bound)
			}
		}
		check("exp", 87, 2e-7, s.exp, relative(math.Exp))
		check("exp small", 1, 2e-7, s.exp, relative(math.Exp))
		check("erf abs", 6, 2e-7, s.erf, absolute(math.Erf))
		check("erf rel", 6, 3e-7, s.erf, relative(math.Erf))
		check("tanh", 12, 3e-7, s.tanh, relative(math.Tanh))
		check("gelu", 12, 4e-7, s.gelu, func(x, got float64) float64 {
			return math.Abs(got-geluExact(x)) / math.Max(1, math.Abs(x))
		})
		back := func(dst, x []float32) {
			one := make([]float32, len(x))
			Fill(one, 1)
			s.geluBackward(dst, x, one, false)
		}
		check("gelu slope", 12, 1e-6, back, absolute(geluSlope))
	}
}

func TestActivationExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{inf, -inf, nan, 88.7, 89, 200, -87.4, -95, -103, -104, -200, 1e30, -1e30}
	for _, s := range sets() {
		dst := make([]float32, len(x))
		for _, f := range []struct {
			name string
			do   func(dst, x []float32)
			want func(float64) float64
			tol  float64
		}{{"exp", s.exp, math.Exp, 3e-7}, {"erf", s.erf, math.Erf, 3e-7}, {"tanh", s.tanh, math.Tanh, 3e-7}} {
			f.do(dst, x)
			for i, v := range x {
				want := float32(f.want(float64(v)))
				got := dst[i]
				switch {
				case want != want:
					if got == got {
						t.Errorf("%s %s(%v) = %v, want NaN", s.name, f.name, v, got)
					}
				case got == want:
				case !(math.Abs(float64(got-want)) <= math.Max(0x1p-148, f.tol*math.Abs(float64(want)))):
					t.Errorf("%s %s(%v) = %v, want %v", s.name, f.name, v, got, want)
				}
			}
		}
	}
}

func TestSoftmaxAccuracy(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, s := range sets() {
		for _, n := range []int{1, 2, 17, 50, 64, 197, 1000} {
			const rows = 5
			x, dy := randoms(r, rows*n, 4), randoms(r, rows*n, 1)
			y, ly, dx := make([]float32, rows*n), make([]float32, rows*n), make([]float32, rows*n)
			s.softmaxRows(y, x, rows, n)
			s.logSoftmaxRows(ly, x, rows, n)
			s.softmaxRowsBackward(dx, y, dy, rows, n, false)
			for i := range rows {
				x, y, ly, dy, dx := x[i*n:][:n], y[i*n:][:n], ly[i*n:][:n], dy[i*n:][:n], dx[i*n:][:n]
				m := float64(rowMax(x))
				var sum, dot float64
				for j, v := range x {
					sum += math.Exp(float64(v) - m)
					dot += float64(y[j]) * float64(dy[j])
				}
				for j, v := range x {
					want := math.Exp(float64(v)-m) / sum
					near(t, s.name+" softmax", float64(y[j]), want, (1e-6+0x1p-24*(m-float64(v)))*want)
					near(t, s.name+" log softmax", float64(ly[j]), float64(v)-m-math.Log(sum), 4e-6)
					near(t, s.name+" softmax backward", float64(dx[j]), float64(y[j])*(float64(dy[j])-dot), 2e-6*float64(y[j])*4)
				}
			}
		}
	}
}

func TestLayerNormAccuracy(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, s := range sets() {
		for _, n := range []int{1, 3, 16, 17, 48, 96, 192, 385} {
			const rows = 6
			x, dy := randoms(r, rows*n, 2), randoms(r, rows*n, 1)
			for i := range x {
				x[i] += 3
			}
			for _, affine := range bools {
				var gamma, beta []float32
				if affine {
					gamma, beta = randoms(r, n, 1), randoms(r, n, 1)
				}
				y, mean, rstd := make([]float32, rows*n), make([]float32, rows), make([]float32, rows)
				s.layerNorm(y, mean, rstd, x, gamma, beta, rows, n, 1e-3)
				dx, dgamma := make([]float32, rows*n), make([]float32, n)
				s.layerNormDx(dx, dy, x, gamma, mean, rstd, nil, nil, rows, n, false)
				s.layerNormGamma(dgamma, dy, x, mean, rstd, rows, n)
				wantGamma := make([]float64, n)
				for i := range rows {
					x, y, dy, dx := x[i*n:][:n], y[i*n:][:n], dy[i*n:][:n], dx[i*n:][:n]
					var m, q, sg, sh float64
					for _, v := range x {
						m += float64(v) / float64(n)
					}
					for _, v := range x {
						q += (float64(v) - m) * (float64(v) - m) / float64(n)
					}
					k := 1 / math.Sqrt(q+1e-3)
					near(t, s.name+" mean", float64(mean[i]), m, 2e-6)
					near(t, s.name+" rstd", float64(rstd[i]), k, 2e-6*k+1e-4*k*k*1e-3)
					g := make([]float64, n)
					for j, v := range x {
						h := (float64(v) - m) * k
						g[j] = float64(dy[j])
						wantGamma[j] += g[j] * h
						want := h
						if affine {
							g[j] *= float64(gamma[j])
							want = h*float64(gamma[j]) + float64(beta[j])
						}
						near(t, s.name+" layernorm", float64(y[j]), want, 4e-5)
						sg += g[j] / float64(n)
						sh += g[j] * h / float64(n)
					}
					for j, v := range x {
						want := k * (g[j] - sg - (float64(v)-m)*k*sh)
						near(t, s.name+" layernorm dx", float64(dx[j]), want, 2e-5*k+1e-5)
					}
				}
				for j := range dgamma {
					near(t, s.name+" layernorm dgamma", float64(dgamma[j]), wantGamma[j], 1e-4)
				}
			}
		}
	}
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol) {
		t.Fatalf("%s: %v, want %v within %v", what, got, want, tol)
	}
}

func randoms(r *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * scale)
	}
	return x
}
