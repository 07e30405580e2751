package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"testing"
)

// divided is the definition of a code, without Offset.
func divided(g *Grid, x float32) float32 {
	return min(max(float32(math.RoundToEven(float64(x/g.Alpha)))+g.Zp, g.Qn), g.Qp)
}

// TestInverse compares the codes of both forms beside every step, and on all floats
// from Alpha/4 to 16·Alpha where QVITC_INVERSES is set.
func TestInverse(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	none := 0
	alphas := []float32{1, 0.5, 0.3, 1 - 1.0/(1<<24), 1 + 1.0/(1<<23), 2.0 / 3, 1e-14, 3e14}
	for range 300 {
		alphas = append(alphas, float32(math.Exp(r.NormFloat64()*3)))
	}
	for i, alpha := range alphas {
		bits := []float32{3, 7, 15, 255}[i%4]
		g := Grid{Alpha: alpha, Zp: float32(r.IntN(int(bits) + 1)), Qp: bits}.WithInverse()
		if g.inv == 0 {
			none++
			continue
		}
		lo, hi := g.bounds()
		check := func(x float32) {
			c := min(max(x, lo), hi)
			if got, want := float32(math.RoundToEven(float64(quotient(c, g.Alpha, g.inv))))+g.Zp, divided(&g, x); got != want {
				t.Fatalf("code of %g by %g with zero point %g: %g, want %g", x, alpha, g.Zp, got, want)
			}
		}
		for n := g.Qn - g.Zp - 1; n <= g.Qp-g.Zp; n++ {
			x := float32(float64(alpha) * (float64(n) + 0.5))
			for range 20 {
				x = math.Nextafter32(x, float32(math.Inf(-1)))
			}
			for range 40 {
				check(x)
				x = math.Nextafter32(x, float32(math.Inf(1)))
			}
		}
		for _, x := range []float32{0, float32(math.Copysign(0, -1)), 1e-45, -1e-45, 1e-38, math.MaxFloat32, -math.MaxFloat32, float32(math.Inf(1)), float32(math.Inf(-1))} {
			check(x)
		}
		if os.Getenv("QVITC_INVERSES") != "" {
			for x := alpha / 4; x < 16*alpha; x = math.Float32frombits(math.Float32bits(x) + 1) {
				check(x)
			}
		}
	}
	if none > len(alphas)/50 {
		t.Errorf("%d of %d grids have no inverse", none, len(alphas))
	}
	t.Logf("%d of %d grids have no inverse", none, len(alphas))
	for _, g := range []Grid{{Alpha: 0.3, Zp: 0.5, Qp: 15}, {Alpha: 0, Qp: 15}, {Alpha: float32(math.NaN()), Qp: 15}, {Alpha: 1e-30, Qp: 15}, {Alpha: 1, Qp: 1e6}, {Alphas: []float32{1}, Qp: 15}} {
		if g.WithInverse().inv != 0 {
			t.Errorf("%v has an inverse", g)
		}
	}
}

func TestFMA32(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 2))
	any := func() float32 {
		return float32(math.Ldexp(r.Float64()-0.5, r.IntN(60)-30))
	}
	exact := func(v float32) *big.Float { return new(big.Float).SetPrec(200).SetFloat64(float64(v)) }
	for i := range 100000 {
		a, b, c := any(), any(), any()
		if i%2 == 0 {
			// a product near a tie of c's
			c = -float32(float64(a) * float64(b))
			c += c * float32(math.Ldexp(1, r.IntN(30)))
		}
		p := new(big.Float).SetPrec(200).Mul(exact(a), exact(b))
		want, _ := p.Add(p, exact(c)).Float32()
		if got := fma32(a, b, c); got != want {
			t.Fatalf("%g·%g + %g = %g, want %g", a, b, c, got, want)
		}
	}
}
