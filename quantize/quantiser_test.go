package quantize

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol) {
		t.Errorf("%s = %.9g, want %.9g (tolerance %g)", what, got, want, tol)
	}
}

func TestRange(t *testing.T) {
	for _, c := range []struct {
		q      Quantiser
		qn, qp int
	}{
		{Quantiser{2, true}, -2, 1}, {Quantiser{3, true}, -4, 3}, {Quantiser{4, true}, -8, 7}, {Quantiser{8, true}, -128, 127},
		{Quantiser{2, false}, 0, 3}, {Quantiser{3, false}, 0, 7}, {Quantiser{4, false}, 0, 15}, {Quantiser{8, false}, 0, 255},
	} {
		if qn, qp := c.q.Range(); qn != c.qn || qp != c.qp || c.q.Levels() != qp-qn+1 {
			t.Errorf("%+v: range %d to %d, %d levels", c.q, qn, qp, c.q.Levels())
		}
	}
}

// The golden vectors of method.md section 17, ONNX rounding order.
func TestGoldenActivation(t *testing.T) {
	q := Quantiser{Bits: 3, Signed: true}
	const alpha, zp = 0.5, 1
	x := []float32{-1.7, -0.6, -0.25, 0, 0.25, 0.4, 1.1, 2.3}
	codes := []int{-2, 0, 1, 1, 1, 2, 3, 3}
	fake := []float32{-1.5, -0.5, 0, 0, 0, 0.5, 1, 1}
	mask := []float64{1, 1, 1, 1, 1, 1, 0, 0}
	alphaTerms := []float64{0.4, 0.2, 0.5, 0, -0.5, 0.2, 2, 2}
	zpTerms := []float64{0, 0, 0, 0, 0, 0, -0.5, -0.5}
	var da, dz float64
	for i := range x {
		if c := q.Code(x[i], alpha, zp); c != codes[i] {
			t.Errorf("code of %v = %d, want %d", x[i], c, codes[i])
		}
		if y := q.Fake(x[i], alpha, zp); y != fake[i] {
			t.Errorf("fake of %v = %v, want %v", x[i], y, fake[i])
		}
		dx, a, z := q.Grad(1, float64(x[i]), alpha, zp)
		near(t, "dx", dx, mask[i], 0)
		near(t, "dalpha term", a, alphaTerms[i], 1e-6)
		near(t, "dzp term", z, zpTerms[i], 0)
		da, dz = da+a, dz+z
	}
	g := q.GradScale(len(x))
	near(t, "g", g, 0.2041241, 1e-7)
	near(t, "dalpha", g*da, 0.9797959, 1e-6)
	near(t, "dzp", g*dz, -0.2041241, 1e-7)
}

func TestGoldenWeightInit(t *testing.T) {
	rows := [][]float32{{0.9, -0.3, 0.1, -1.2}, {0.05, 0.2, -0.1, 0.15}}
	whole := slices.Concat(rows...)
	for _, c := range []struct {
		bits int
		want [3]float64
	}{{2, [3]float64{1.25, 0.25, 0.75}}, {4, [3]float64{0.4724556, 0.0944911, 0.2834734}}} {
		f := Fit{Quantiser: Quantiser{c.bits, true}, Method: LSQ}
		for i, x := range [][]float32{rows[0], rows[1], whole} {
			var p Points
			if err := p.SetValues(x); err != nil {
				t.Fatal(err)
			}
			near(t, "LSQInit", f.LSQInit(p.MeanAbs()), c.want[i], 1e-7)
			got, err := f.Points(&p)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "fitted scale", float64(got.Scale), c.want[i], 1e-7)
		}
	}
}

// Ties go to even before the zero point is added: that is what an odd zero
// point shows.
func TestTies(t *testing.T) {
	q := Quantiser{Bits: 4, Signed: true}
	for _, c := range []struct {
		x, zp float32
		want  int
	}{
		{0.5, 0, 0}, {1.5, 0, 2}, {2.5, 0, 2}, {-0.5, 0, 0}, {-1.5, 0, -2}, {-2.5, 0, -2},
		{0.5, 1, 1}, {1.5, 1, 3}, {-0.5, 1, 1}, {0, 0.5, 0}, {0, 1.5, 2}, // the zero point is rounded too
		{100, 0, 7}, {-100, 0, -8}, {6.5, 1, 7}, {-8.5, 0, -8}, {-9.4, 1, -8},
		{float32(math.Inf(1)), 0, 7}, {float32(math.Inf(-1)), 0, -8}, {float32(math.NaN()), 0, -8},
	} {
		if got := q.Code(c.x, 1, c.zp); got != c.want {
			t.Errorf("code of %v at zero point %v = %d, want %d", c.x, c.zp, got, c.want)
		}
	}
	if y := q.Fake(float32(math.NaN()), 1, 0); y == y {
		t.Error("NaN became a number")
	}
	// float32 division: in float64 this quotient is below the tie, in float32 it is on it.
	x, alpha := float32(0.15), float32(0.1)
	if r := float64(x) / float64(alpha); x/alpha != 1.5 || r == 1.5 {
		t.Fatalf("the example has lost its point: %v, %v", x/alpha, r)
	}
	if got := q.Code(x, alpha, 0); got != 2 {
		t.Errorf("code %d, want 2", got)
	}
}

// surrogate is the function whose true gradients the straight-through estimator
// gives: the rounding error is held at its value for (x0, alpha0).
func surrogate(q Quantiser, x0, alpha0, zp float64) func(x, alpha, z float64) float64 {
	residue := math.RoundToEven(x0/alpha0) - x0/alpha0
	qn, qp := q.Range()
	return func(x, alpha, z float64) float64 {
		u := x/alpha + zp
		switch {
		case u < float64(qn):
			return alpha * (float64(qn) - z)
		case u > float64(qp):
			return alpha * (float64(qp) - z)
		}
		return alpha * (x/alpha + residue)
	}
}

func TestGradientsAgainstDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const h = 1e-6
	checked := 0
	for checked < 2000 {
		q := Quantiser{Bits: 2 + r.IntN(7), Signed: r.IntN(2) == 0}
		qn, qp := q.Range()
		alpha := math.Exp(r.NormFloat64())
		zp := float64(r.IntN(q.Levels()) + qn)
		x := alpha * (float64(qn) - zp - 2 + r.Float64()*float64(q.Levels()+3))
		u := x/alpha + zp
		if math.Abs(u-float64(qn)) < 1e-3 || math.Abs(u-float64(qp)) < 1e-3 || math.Abs(math.Abs(u-math.Floor(u))-0.5) < 1e-3 {
			continue // not differentiable here
		}
		checked++
		f := surrogate(q, x, alpha, zp)
		g := r.NormFloat64()
		dx, da, dz := q.Grad(g, x, alpha, zp)
		diff := func(k int) float64 {
			a, b := [3]float64{x, alpha, zp}, [3]float64{x, alpha, zp}
			a[k], b[k] = a[k]+h, b[k]-h
			return g * (f(a[0], a[1], a[2]) - f(b[0], b[1], b[2])) / (2 * h)
		}
		near(t, "dx", dx, diff(0), 1e-6)
		near(t, "dalpha", da, diff(1), 1e-6*(1+math.Abs(x)/alpha))
		if u < float64(qn) || u > float64(qp) {
			near(t, "dzp", dz, diff(2), 1e-6)
		} else {
			near(t, "dzp", dz, 0, 0)
		}
		// The reference values agree with the surrogate too.
		near(t, "value", alpha*(float64(q.clip(math.RoundToEven(x/alpha)+zp))-zp), min(max(f(x, alpha, zp), alpha*(float64(qn)-zp)), alpha*(float64(qp)-zp)), 1e-9*(1+math.Abs(x)))
		if t.Failed() {
			t.Fatalf("at %+v x=%v alpha=%v zp=%v", q, x, alpha, zp)
		}
	}
}
