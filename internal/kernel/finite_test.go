package kernel

import (
	"math"
	"testing"
)

func TestNotFinite(t *testing.T) {
	var w Workspace
	for _, n := range []int{0, 1, 127, 128, 129, 640, 1000} {
		x := make([]float32, n)
		for i := range x {
			x[i] = math.MaxFloat32 // sums overflow
		}
		if i := w.NotFinite(x); i >= 0 {
			t.Errorf("%d finite numbers: %d", n, i)
		}
		for i := 0; i < n; i += 1 + n/50 {
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				old := x[i]
				x[i] = float32(bad)
				if at := w.NotFinite(x); at != i {
					t.Errorf("%v at %d of %d is found at %d", bad, i, n, at)
				}
				if i+1 < n && bad > 0 { // infinities of both signs
					x[n-1] = float32(math.Inf(-1))
					if at := w.NotFinite(x); at != i {
						t.Errorf("two infinities, the first at %d of %d, are found at %d", i, n, at)
					}
					x[n-1] = math.MaxFloat32
				}
				x[i] = old
			}
		}
	}
}
