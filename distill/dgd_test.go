package distill

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestDGDGolden is the vector of method.md section 17, by both forms.
func TestDGDGolden(t *testing.T) {
	x := []float64{1, 0, 0, 1, 1, 1}
	y := []float64{1, 0.5, 0, 1, 1, -1}
	want := []float64{-0.1487573, -0.1009425, 0.2178233, 0.2231360, -0.1965722, 0.1221935}
	var s dgdScratch[float64]
	for name, f := range map[string]func(DGDMode, []float64, []float64, int, int, int, float64, []float64, *dgdScratch[float64]) float64{
		"tokens": dgdTokens[float64], "channels": dgdChannels[float64],
	} {
		g := make([]float64, 6)
		if l := f(DGDPaper, x, y, 3, 2, 2, 1, g, &s); math.Abs(l-0.9624183) > 1e-7 {
			t.Errorf("%s: loss %v, want 0.9624183", name, l)
		}
		for i := range g {
			if math.Abs(g[i]-want[i]) > 1e-7 {
				t.Errorf("%s: gradient %v, want %v", name, g, want)
				break
			}
		}
	}
}

func TestDGDGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, sh := range [][3]int{{5, 3, 3}, {17, 4, 6}, {3, 8, 5}, {6, 6, 6}, {1, 4, 4}, {9, 2, 5}} {
		n, d, dT := sh[0], sh[1], sh[2]
		for _, o := range []DGD{{Mode: DGDPaper}, {Mode: DGDMSE}, {Mode: DGDRowwise}, {Mode: DGDPaper, TeacherNorm: true}} {
			if n == 1 {
				o.Mode = DGDMSE // one token: c is 1 and the square root is at its kink
			}
			x, y := randoms(r, n*d, 1), randoms(r, n*dT, 2)
			g := make([]float64, len(x))
			var s dgdScratch[float64]
			loss := dgdPair(o, x, y, n, d, dT, 0.5, g, &s)
			if loss < 0 || loss > math.Sqrt2+1e-9 {
				t.Errorf("%v: loss %v out of range", o, loss)
			}
			checkGradient(t, string(o.Mode), x, g, func() float64 { return 0.5 * dgdPair(o, x, y, n, d, dT, 0, nil, &s) })
		}
	}
}

// TestDGDFormsAgree compares the token form, the channel form and the plain
// definition ‖S/‖S‖ - T/‖T‖‖.
func TestDGDFormsAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		n, d, dT := 1+r.IntN(20), 1+r.IntN(12), 1+r.IntN(12)
		x, y := randoms(r, n*d, 1), randoms(r, n*dT, 1)
		var s dgdScratch[float64]
		for _, mode := range []DGDMode{DGDPaper, DGDMSE} {
			ga, gb := make([]float64, n*d), make([]float64, n*d)
			a := dgdTokens(mode, x, y, n, d, dT, 1, ga, &s)
			b := dgdChannels(mode, x, y, n, d, dT, 1, gb, &s)
			if math.Abs(a-b) > 1e-9*(1+1e4*b2(n, d, dT)) {
				t.Errorf("n=%d d=%d dT=%d %s: tokens %v, channels %v", n, d, dT, mode, a, b)
			}
			for i := range ga {
				if n > 1 && math.Abs(ga[i]-gb[i]) > 1e-6 {
					t.Errorf("n=%d d=%d dT=%d %s: gradients differ: %v and %v", n, d, dT, mode, ga[i], gb[i])
					break
				}
			}
		}
	}
}

// b2 is 1 for shapes whose similarity matrices are collinear, where 2-2c is pure
// rounding.
func b2(n, d, dT int) float64 {
	if n == 1 || d == 1 && dT == 1 {
		return 1
	}
	return 0
}

func TestDGDExtremes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	x := make([]float32, 17*8)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	rotated := make([]float32, len(x)) // channels reversed: the same similarities
	for i := range 17 {
		for j := range 8 {
			rotated[i*8+j] = 3 * x[i*8+7-j]
		}
	}
	zero := make([]float32, len(x))
	var s dgdScratch[float32]
	for _, mode := range []DGDMode{DGDPaper, DGDMSE, DGDRowwise} {
		o := DGD{Mode: mode}
		g := make([]float32, len(x))
		if l := dgdPair(o, x, rotated, 17, 8, 8, 1, g, &s); l > 2e-4 {
			t.Errorf("%s: loss %v between q and a rotated, scaled q", mode, l)
		}
		for _, pair := range [][2][]float32{{zero, x}, {x, zero}, {zero, zero}} {
			clear(g)
			l := dgdPair(o, pair[0], pair[1], 17, 8, 8, 1, g, &s)
			if math.IsNaN(l) || slices.ContainsFunc(g, func(v float32) bool { return v != v }) {
				t.Errorf("%s: all-zero tokens give %v", mode, l)
			}
		}
	}
}

func BenchmarkDGD(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 9))
	for _, c := range []struct {
		name string
		n, d int
	}{{"fmnist", 17, 32}, {"deit", 197, 64}} {
		b.Run(c.name, func(b *testing.B) {
			x, y, g := make([]float32, c.n*c.d), make([]float32, c.n*c.d), make([]float32, c.n*c.d)
			for i := range x {
				x[i], y[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
			}
			var s dgdScratch[float32]
			for b.Loop() {
				dgdPair(DGD{Mode: DGDPaper}, x, y, c.n, c.d, c.d, 1, g, &s)
			}
		})
	}
}
