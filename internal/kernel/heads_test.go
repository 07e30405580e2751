package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHeadTile holds the heads of every set to the set's own dequant, layerNorm and
// quantizer.
func TestHeadTile(t *testing.T) {
	for _, s := range sets() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(7, 4))
			var w Workspace
			for _, cols := range []int{3, 16, 32, 64} {
				for m := 1; m <= 40; m += 1 + m/30 {
					nils, ldt, ld := m%8|4*(m/8%2), PanelWidth, cols+m%3
					tile, f := sums(r, m, cols, ldt, nils)
					f.Row = nil
					a, _ := tileOf(tile, ldt, m, cols, f, 2)
					values := make([]float32, m*cols)
					s.dequant(a, values, cols)
					to := make([]int32, m)
					for i := range to {
						to[i] = int32(i)
					}
					if m%3 == 1 {
						r.Shuffle(m, func(i, j int) { to[i], to[j] = to[j], to[i] })
					}
					gamma, beta := randoms(r, cols, 1), randoms(r, cols, 1)
					if m%3 == 0 {
						gamma = nil
					}
					if m%4 == 0 {
						beta = nil
					}
					for i, g := range grids(r, cols) {
						for norm := range 2 {
							if g.Alphas != nil {
								continue
							}
							h := &Head{LD: ld, Rows: m, Norm: norm == 1, Gamma: gamma, Beta: beta, Eps: 1e-6}
							x, mean, spread := slices.Clone(values), make([]float32, m), make([]float32, m)
							if h.Norm {
								h.Mean, h.Spread = make([]float32, m), make([]float32, m)
								for j, d := range to {
									s.layerNorm(x[j*cols:][:cols], mean[d:], spread[d:], values[j*cols:][:cols], gamma, beta, 1, cols, h.Eps)
									spread[d] = 1 / spread[d]
								}
							}
							want := make([]uint8, m*cols)
							for j, d := range to {
								copy(want[int(d)*cols:], codesOf(s, x[j*cols:][:cols], cols, g, 0))
							}
							what := fmt.Sprint(s.name, " ", cols, " columns, grid ", i, " norm ", norm)
							guarded(t, what, 0x77, m, cols, ld, want, func(d []uint8) {
								var e HeadEnd
								h.Dst = d
								e.setFor(s, h, cols, f, 2, g)
								w.HeadTile(&e, to, slices.Clone(tile), ldt, m)
							})
							if h.Norm && (!slices.Equal(h.Mean, mean) || !slices.Equal(h.Spread, spread)) {
								t.Fatalf("%s: mean %v spread %v, want %v %v", what, h.Mean, h.Spread, mean, spread)
							}
						}
					}
				}
			}
		})
	}
}
