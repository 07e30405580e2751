//go:build amd64 && !noasm

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestNearSoftmax holds rows to the exact form over scales of logits and of the grid that
// give many codes, and counts those of moderate
// logits that the exact form had to do.
func TestNearSoftmax(t *testing.T) {
	if sets()[0] != &avx512 || !hasNear {
		t.Skip("no AVX-512 with VBMI")
	}
	r := rand.New(rand.NewPCG(8, 4))
	var w Workspace
	again, all := 0, 0
	for _, n := range []int{65, 80, 100, 127, 128, 144, 197, 198, 256, 577, 1024} {
		for _, spread := range []float32{0, 1e-4, 1e-3, 5e-3, 0.02, 0.1, 1, 30} {
			for _, alpha := range []float32{4e-4, 4e-3, 0.02, 0.2} {
				for _, rescale := range []bool{false, true} {
					const rows = 37
					ldx := n + n%7
					x, f := sums(r, rows, n, ldx, 4)
					for i := range x {
						x[i] = int32(r.NormFloat64() * 1000)
					}
					l := &Logits{Factor: spread, Offset: f.Offset}
					if rescale {
						l.Scale = 0.125
						l.Rescale = Rescale{randoms(r, rows, 1), randoms(r, n, 1), randoms(r, rows, 3), randoms(r, n, 3)}
					}
					for _, g := range []Grid{{Alpha: alpha, Qp: 15}, Grid{Alpha: alpha / 3, Qp: 15}.WithInverse(), {Alpha: alpha, Qp: 3}, {Alpha: alpha, Qp: 255}} {
						want := make([]uint8, rows*n)
						softmaxExactAVX512(&w, want, n, x, ldx, 0, rows, n, l, &g)
						if nearLogits(n, l, &g) && spread < 0.01 && !rescale {
							var flags [nearSoftmaxRows]uint8
							nearSoftmax(&w, make([]uint8, rows*n), n, x, ldx, 0, rows, n, l, &g, &flags)
							for _, a := range flags {
								again += int(a)
							}
							all += rows
						}
						guarded(t, fmt.Sprint(n, spread, alpha, rescale), 0x77, rows, n, n+3, want, func(d []uint8) {
							softmaxQuantizeAVX512(&avx512, &w, d, n+3, x, ldx, rows, n, *l, g)
						})
					}
				}
			}
		}
	}
	t.Logf("%d of %d rows were done again", again, all)
	if again == 0 || again > all/10 {
		t.Errorf("%d of %d rows were done again", again, all)
	}
}

// TestNearSoftmaxHostile: logits that are not numbers, or beyond all bounds.
func TestNearSoftmaxHostile(t *testing.T) {
	if sets()[0] != &avx512 || !hasNear {
		t.Skip("no AVX-512 with VBMI")
	}
	const rows, n = 9, 197
	r := rand.New(rand.NewPCG(9, 4))
	var w Workspace
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1e30, -1e30, 1e5, 1e-40} {
		for at := range 5 {
			x, f := sums(r, rows, n, n, 4)
			l := &Logits{Factor: 1e-4, Offset: f.Offset, Rescale: Rescale{randoms(r, rows, 1), randoms(r, n, 1), randoms(r, rows, 3), randoms(r, n, 3)}}
			switch at {
			case 0:
				l.Factor = bad
			case 1:
				l.Rescale.Row[3] = bad
			case 2:
				l.Rescale.Col[7] = bad
			case 3:
				l.Rescale.AddRow[8] = bad
			case 4:
				l.Rescale.AddCol[196] = bad
			}
			g := Grid{Alpha: 0.01, Qp: 15}
			want := make([]uint8, rows*n)
			softmaxExactAVX512(&w, want, n, x, n, 0, rows, n, l, &g)
			guarded(t, fmt.Sprint(bad, at), 0x77, rows, n, n, want, func(d []uint8) { softmaxQuantizeAVX512(&avx512, &w, d, n, x, n, rows, n, *l, g) })
		}
	}
}
