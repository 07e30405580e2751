package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestGeluQuantBackward compares the one loop with the loops it is made of, on the same
// set; no value here falls to another side of a rounding.
func TestGeluQuantBackward(t *testing.T) {
	for _, s := range sets() {
		var w Workspace
		r := rand.New(rand.NewPCG(12, 1))
		for _, n := range append(lengths, 1100, 3000) {
			for _, acc := range bools {
				x, dy, old := randoms(r, n, 2), randoms(r, n, 1), randoms(r, n+2, 1)
				got, want := append([]float32{}, old...), append([]float32{}, old...)
				const alpha, zp, qn, qp = 0.13, -6, -8, 7
				a, o := s.geluQuantBackward(s, &w, got[:n], x, dy, alpha, zp, qn, qp, acc)
				y, g := make([]float32, n), make([]float32, n)
				s.gelu(y, x)
				wa, wo := s.fakeQuantBackward(g, y, dy, alpha, zp, qn, qp, false)
				s.geluBackward(want[:n], x, g, acc)
				what := fmt.Sprintf("%s %d acc %v", s.name, n, acc)
				for i := range want {
					if !(math.Abs(float64(got[i]-want[i])) <= 4e-6) {
						t.Fatalf("%s: dx[%d] = %v, want %v", what, i, got[i], want[i])
					}
				}
				if math.Abs(a-wa) > 1e-5*float64(n+1) || math.Abs(o-wo) > 1e-9*float64(n+1) {
					t.Fatalf("%s: %v %v, want %v %v", what, a, o, wa, wo)
				}
				copy(dy, g) // in place
				if !acc {
					copy(got, dy)
					s.geluQuantBackward(s, &w, dy, x, dy, alpha, zp, qn, qp, false)
					s.geluQuantBackward(s, &w, got[:n], x, append([]float32{}, g...), alpha, zp, qn, qp, false)
					for i := range dy {
						if dy[i] != got[i] {
							t.Fatalf("%s: in place dx[%d] = %v, want %v", what, i, dy[i], got[i])
						}
					}
				}
			}
		}
	}
}

// TestGeluQuantBackwardBounds holds GELU and its slope, as the one loop sees them, to
// float64: with alpha 1 and no clipping, dx is the slope and dalpha round(y) - y.
func TestGeluQuantBackwardBounds(t *testing.T) {
	for _, s := range sets() {
		var w Workspace
		x, dy, dx := make([]float32, 1), []float32{1}, make([]float32, 1)
		var worst [2]float64
		for v := float32(-12); v < 12; v += 0.0037 {
			x[0] = v
			a, _ := s.geluQuantBackward(s, &w, dx, x, dy, 1, 0, -100, 100, false)
			y := gelu64(float64(v))
			slope := math.Erfc(-float64(v)*sqrtHalf)/2 + float64(v)*math.Exp(-float64(v)*float64(v)/2)/math.Sqrt(2*math.Pi)
			worst[0] = max(worst[0], math.Abs(float64(dx[0])-slope))
			if e := math.Abs(a - (math.RoundToEven(y) - y)); e < 0.9 { // not on another side of a half
				worst[1] = max(worst[1], e/max(1, math.Abs(float64(v))))
			}
		}
		if worst[0] > 7e-7 || worst[1] > 3e-7 {
			t.Errorf("%s: errors of slope and GELU %.2g", s.name, worst)
		}
	}
}
