//go:build amd64 && !noasm

package kernel

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

// exactly runs f without the kernels that look for values near a step.
func exactly(f func()) {
	have := hasNear
	hasNear = false
	defer func() { hasNear = have }()
	f()
}

// TestFixedCodes compares codes read off a fixed point with those of the exact form: so many
// that some lie near steps, with grids and columns at the edges of what the bound is for, and
// with values that are no numbers.
func TestFixedCodes(t *testing.T) {
	if sets()[0] != &avx512 || !hasNear {
		t.Skip("no AVX-512 with VBMI")
	}
	r := rand.New(rand.NewPCG(10, 4))
	var w Workspace
	const rows, n = 96, 384
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for i, g := range []Grid{
		{Alpha: 0.2, Zp: 7, Qp: 15}, {Alpha: 0.013, Zp: 15, Qp: 15}, {Alpha: 0.5, Qp: 15}, {Alpha: 3, Zp: 1, Qp: 3}, {Alpha: 0.3, Zp: 4, Qp: 7},
		{Alpha: 0.1, Qn: -8, Qp: 7, Offset: 8}, {Alpha: 0.25, Zp: 8, Qp: 15}, {Alpha: 1, Zp: 8, Qp: 15}, {Alpha: 0.2, Zp: 30, Qp: 40}, {Alpha: 0.01, Zp: 128, Qp: 255},
	} {
		g = g.WithInverse()
		_, ok := g.fixed()
		if ok != (i < 8) {
			t.Fatalf("grid %d: fixed point %v", i, ok)
		}
		for trial := range 16 {
			x, gamma, beta := randoms(r, rows*n, 3), randoms(r, n, 1), randoms(r, n, float64([]float32{0.1, 1, 32 * g.Alpha, 40 * g.Alpha}[trial%4]))
			if trial >= 12 {
				for k := range 5 {
					x[r.IntN(len(x))] = []float32{nan, inf, -inf, 1e30, -nan}[k]
				}
				if trial == 14 {
					gamma[5] = nan
				}
				if trial == 15 {
					beta[9] = nan
				}
			}
			norm := func() []uint8 {
				d := make([]uint8, rows*n)
				avx512.layerNormQuantize(&avx512, &w, d, n, nil, nil, x, n, gamma, beta, rows, n, 1e-6, g)
				return d
			}
			var want []uint8
			exactly(func() { want = norm() })
			if !bytes.Equal(norm(), want) {
				t.Fatalf("normalised: grid %d, trial %d", i, trial)
			}
			tile, f := sums(r, rows*4, PanelWidth, PanelWidth, 4)
			for j := range f.Factor {
				f.Factor[j] *= g.Alpha * 5
				f.Bias[j] = beta[j]
			}
			if trial == 13 {
				f.Factor[3], f.Factor[7] = nan, inf
			}
			for _, h := range []Head{{}, {Norm: true, Gamma: gamma, Beta: beta, Eps: 1e-6}} {
				h.LD, h.Rows = PanelWidth, rows*4
				to := make([]int32, h.Rows)
				for i := range to {
					to[i] = int32(i)
				}
				heads := func() []uint8 {
					var e HeadEnd
					h.Dst = make([]uint8, h.Rows*h.LD)
					e.setFor(&avx512, &h, PanelWidth, f, 0, &g)
					w.HeadTile(&e, to, append([]int32(nil), tile...), PanelWidth, h.Rows)
					return h.Dst
				}
				exactly(func() { want = heads() })
				if !bytes.Equal(heads(), want) {
					t.Fatalf("heads: grid %d, trial %d, norm %v", i, trial, h.Norm)
				}
			}
		}
	}
}
