package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkEpilogue runs each epilogue on a tile in the first-level cache, and the row
// kernels on rows of DeiT-S, in elements per nanosecond.
func BenchmarkEpilogue(b *testing.B) {
	const m, n = TileRows, PanelWidth
	r := rand.New(rand.NewPCG(1, 1))
	tile, f := sums(r, m, n, n, 4)
	t, _ := tileOf(tile, n, m, n, f, 0)
	d, res, u := make([]float32, m*n), make([]float32, m*n), make([]uint8, m*n)
	cols := grids(r, n)[5]
	g := multiplied(Grid{Alpha: 0.2, Zp: 1, Qp: 15})
	inverse := *multiplied(Grid{Alpha: 0.01, Qp: 15})
	var w Workspace
	x, gamma, beta, codes := randoms(r, 197*384, 1), randoms(r, 384, 1), randoms(r, 384, 1), make([]uint8, 197*384)
	logits := make([]int32, 197*197)
	for i := range logits {
		logits[i] = int32(r.IntN(2000))
	}
	for _, s := range sets() {
		run := func(name string, size int, f func()) {
			// A clock takes as long as a tile.
			times := max(1, 1<<16/size)
			b.Run(s.name+"/"+name, func(b *testing.B) {
				gops(b, times*size, func() {
					for range times {
						f()
					}
				})
			})
		}
		table := newGeluTable(s, *g)
		run("dequant", m*n, func() { s.dequant(t, d, n) })
		run("dequantAdd", m*n, func() { s.dequantAdd(t, d, n, res, n) })
		run("dequantQuantize", m*n, func() { s.dequantQuantize(t, u, n, *g, 0) })
		run("dequantQuantizeCols", m*n, func() { s.dequantQuantize(t, u, n, *cols, 0) })
		plain := t
		plain.row = nil
		run("dequantGelu64", m*n, func() { s.dequantGelu(&w, plain, u, n, table) })
		run("dequantAdd64", m*n, func() { s.dequantAdd(plain, d, n, res, n) })
		run("dequantGelu", m*n, func() { s.dequantGelu(&w, t, u, n, table) })
		run("dequantGeluArithmetic", m*n, func() { dequantGeluArithmetic(&w, t, u, n, table) })
		run("layerNormQuantize", len(x), func() { s.layerNormQuantize(s, &w, codes, 384, nil, nil, x, 384, gamma, beta, 197, 384, 1e-6, *g) })
		to := make([]int32, m)
		for i := range to {
			to[i] = int32(i)
		}
		for _, cols := range []int{32, 64} {
			f := *f
			f.Row = nil
			var e HeadEnd
			e.setFor(s, &Head{Dst: u, LD: n, Rows: m}, cols, &f, 0, g)
			run(fmt.Sprint("head", cols), m*cols, func() { w.HeadTile(&e, to, tile, n, m) })
			var norm HeadEnd
			norm.setFor(s, &Head{Dst: u, LD: n, Rows: m, Norm: true, Eps: 1e-6, Mean: d[:m], Spread: d[m:]}, cols, &f, 0, g)
			run(fmt.Sprint("headNorm", cols), m*cols, func() { w.HeadTile(&norm, to, tile, n, m) })
		}
		run("softmaxQuantize", len(logits), func() {
			s.softmaxQuantize(s, &w, codes, 197, logits, 197, 197, 197, Logits{Factor: 0.01}, Grid{Alpha: 0.01, Qp: 15})
		})
		run("softmaxQuantizeInverse", len(logits), func() {
			s.softmaxQuantize(s, &w, codes, 197, logits, 197, 197, 197, Logits{Factor: 0.01}, inverse)
		})
		run("softmaxQuantize49", 49*197, func() {
			s.softmaxQuantize(s, &w, codes, 49, logits, 49, 197, 49, Logits{Factor: 0.01}, inverse)
		})
		rescale := Rescale{x[:49], x[49:98], x[100:149], x[200:249]}
		window := Logits{Factor: 0.01, Scale: 0.1, Offset: make([]int32, 49), Rescale: rescale, Bias: x[:49*49], LDBias: 49, Mask: x[3000:][:49*49], LDMask: 49}
		run("softmaxWindow", 49*49, func() {
			s.softmaxQuantize(s, &w, codes, 52, logits, 64, 49, 49, window, inverse)
		})
		window.Mask = nil
		run("softmaxWindowNoMask", 49*49, func() {
			s.softmaxQuantize(s, &w, codes, 52, logits, 64, 49, 49, window, inverse)
		})
		run("geluTable", 1, func() { newGeluTable(s, *g) })
	}
}
