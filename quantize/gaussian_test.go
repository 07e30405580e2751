package quantize

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// The table of method.md section 6: standard normal, signed grid, zero point 0.
func TestGaussianTable(t *testing.T) {
	type cell struct{ alpha, entropy, mse float64 }
	for _, c := range []struct {
		bits             int
		lsq, mse, h, off cell
	}{
		{2, cell{1.596, 1.459, 0.2210}, cell{1.048, 1.783, 0.1494}, cell{0.617, 1.934, 0.2314}, cell{0.996, 1.904, 0.1189}},
		{3, cell{0.921, 2.211, 0.0711}, cell{0.602, 2.716, 0.0406}, cell{0.367, 2.962, 0.0940}, cell{0.586, 2.761, 0.0374}},
		{4, cell{0.603, 2.798, 0.0303}, cell{0.339, 3.587, 0.0119}, cell{0.200, 3.941, 0.0499}, cell{0.335, 3.603, 0.0115}},
		{8, cell{0.142, 4.868, 0.0017}, cell{0.031, 7.061, 9e-5}, cell{0.016, 7.763, 0.0125}, cell{0.031, 7.061, 9e-5}},
	} {
		q := Quantiser{c.bits, true}
		check := func(what string, alpha, mu float64, want cell) {
			t.Helper()
			near(t, what+" alpha", alpha, want.alpha, 6e-4)
			g := q.Gaussian(mu, 1, alpha, 0)
			tolH, tolE := 1.1e-3, 0.006
			if c.bits == 8 { // the table has alpha to two digits there
				tolH, tolE = 0.01, 0.06
			}
			near(t, what+" entropy", g.Entropy, want.entropy, tolH)
			near(t, what+" error", g.MSE, want.mse, math.Max(6e-5, tolE*want.mse))
			sum := 0.0
			for _, p := range g.Probs {
				sum += p
			}
			near(t, what+" probability", sum, 1, 1e-12)
		}
		check("LSQ", q.LSQInit(math.Sqrt(2/math.Pi)), 0, c.lsq)
		check("MSE", q.OptimalStep(MinError), 0, c.mse)
		check("entropy", q.OptimalStep(MaxEntropy), 0, c.h)
		if c.bits < 8 { // a grid offset by half a step is a mean of minus half a step
			half := math.Exp(minimise(func(l float64) float64 { return q.Gaussian(-math.Exp(l)/2, 1, math.Exp(l), 0).MSE }, math.Log(c.off.alpha), 0.1))
			check("offset", half, -half/2, c.off)
		}
	}
}

// H is about log2(sigma/alpha) + 2.047 bits on a fine grid, and the 2.047 is
// the differential entropy of the standard normal.
func TestGaussianFineGrid(t *testing.T) {
	q := Quantiser{8, true}
	diff := distuv.UnitNormal.Entropy() / math.Ln2
	near(t, "differential entropy", diff, 2.0471, 5e-5)
	near(t, "entropy", q.Gaussian(0.3, 2, 0.1, 0).Entropy, diff+math.Log2(2/0.1), 1e-3)
	if g := q.Gaussian(0.26, 0, 0.1, 0); g.Entropy != 0 || math.Abs(g.MSE-0.0016) > 1e-12 {
		t.Errorf("no spread: %v, %v", g.Entropy, g.MSE)
	}
}

// The formula against samples, with an offset, an unsigned grid and a zero point.
func TestGaussianAgainstSamples(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	q := Quantiser{3, false}
	const mu, sigma, alpha, zp = 0.4, 1.3, 0.5, 3
	want := q.Gaussian(mu, sigma, alpha, zp)
	counts := make([]float64, q.Levels())
	mse := 0.0
	const n = 200000
	for range n {
		x := float32(mu + sigma*r.NormFloat64())
		counts[q.Code(x, alpha, zp)]++
		d := float64(x - q.Fake(x, alpha, zp))
		mse += d * d / n
	}
	for i, p := range want.Probs {
		near(t, "probability", counts[i]/n, p, 5e-3)
	}
	near(t, "error", mse, want.MSE, 0.02*want.MSE)
}
