package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sums is a tile of random sums with its factors; nils leaves slices out by its bits.
func sums(r *rand.Rand, m, cols, ldt, nils int) ([]int32, *Affine) {
	tile := make([]int32, (m-1)*ldt+cols)
	for i := range tile {
		tile[i] = int32(r.IntN(40000) - 20000)
	}
	f := &Affine{Factor: randoms(r, cols+3, 1e-3)}
	if nils&1 == 0 {
		f.Offset = make([]int32, cols+3)
		for i := range f.Offset {
			f.Offset[i] = int32(r.IntN(2000) - 1000)
		}
	}
	if nils&2 == 0 {
		f.Bias = randoms(r, cols+3, 1)
	}
	if nils&4 == 0 {
		f.Row = make([]int32, m)
		for i := range f.Row {
			f.Row[i] = int32(r.IntN(2000) - 1000)
		}
	}
	return tile, f
}

func grids(r *rand.Rand, cols int) []*Grid {
	a := make([]float32, cols+3)
	for i := range a {
		a[i] = 0.1 + r.Float32()
	}
	return []*Grid{
		{Alpha: 0.3, Zp: 5, Qn: 0, Qp: 15},
		{Alpha: 0.37, Zp: 0, Qn: 0, Qp: 3},
		{Alpha: 0.01, Zp: 128, Qn: 0, Qp: 255},
		{Alpha: 0.25, Zp: 0.5, Qn: -8, Qp: 7, Offset: 8},
		{Alpha: 0.25, Zp: 1, Qn: -4, Qp: 3},
		{Zp: 5, Qn: 0, Qp: 15, Alphas: a},
		multiplied(Grid{Alpha: 0.3, Zp: 5, Qp: 15}),
		multiplied(Grid{Alpha: 0.013, Zp: 128, Qp: 255}),
		multiplied(Grid{Alpha: 0.25, Zp: 1, Qn: -4, Qp: 3}),
		multiplied(Grid{Alpha: 0.21, Qp: 15}),
	}
}

// multiplied is g, which has an inverse.
func multiplied(g Grid) *Grid {
	if g = g.WithInverse(); g.inv == 0 {
		panic("no inverse")
	}
	return &g
}

// codesOf quantises rows of x (cols elements, packed) with the set's own quantiser.
func codesOf(s *set, x []float32, cols int, g *Grid, col int) []uint8 {
	out := make([]uint8, len(x))
	for i := range x {
		a := g.Alpha
		if g.Alphas != nil {
			a = g.Alphas[col+i%cols]
		}
		s.quantize(out[i:i+1], x[i:i+1], a, g.Zp, g.Qn, g.Qp, g.Offset)
	}
	return out
}

// guarded calls f with a slice of rows × cols elements, ld apart, that are all mark,
// and compares with want (packed); nothing else may be written.
func guarded[T uint8 | float32](t *testing.T, what string, mark T, rows, cols, ld int, want []T, f func(dst []T)) {
	t.Helper()
	buf := make([]T, 70+rows*ld+70)
	for i := range buf {
		buf[i] = mark
	}
	f(buf[70:][:(rows-1)*ld+cols])
	for i, got := range buf {
		i -= 70
		w := mark
		if i >= 0 && i/ld < rows && i%ld < cols {
			w = want[i/ld*cols+i%ld]
		}
		if math.Float32bits(float32(got)) != math.Float32bits(float32(w)) {
			t.Fatalf("%s: [%d,%d] of %dx%d = %v, want %v", what, i/ld, i%ld, rows, cols, got, w)
		}
	}
}

func TestEpilogues(t *testing.T) {
	for _, s := range sets() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(3, 4))
			var w Workspace
			for i := 1; i <= PanelWidth+3; i++ {
				// at last whole panels without sums by row
				cols, nils := min(i, PanelWidth), i%8|max(0, i-PanelWidth)|i/(PanelWidth+1)*4
				m := 1 + i%7
				if cols%16 == 0 {
					m = 63 + cols
				}
				ldt, ldd, col := 64+cols%3, cols+cols%5, cols%4
				tile, f := sums(r, m, cols, ldt, nils)
				a, ok := tileOf(tile, ldt, m, cols-min(col, cols-1), f, min(col, 3))
				if !ok {
					t.Fatal("empty tile")
				}
				cols, col = a.cols, min(col, 3)
				values := make([]float32, m*cols)
				for i := range m {
					for j := range cols {
						x := tile[i*ldt+j]
						if f.Row != nil {
							x -= f.Row[i]
						}
						if f.Offset != nil {
							x -= f.Offset[col+j]
						}
						v := float32(float32(x) * f.Factor[col+j])
						if f.Bias != nil {
							v = float32(v + f.Bias[col+j])
						}
						values[i*cols+j] = v
					}
				}
				what := func(name string) string { return fmt.Sprint(s.name, " ", name, " without ", nils) }
				guarded(t, what("dequant"), guard, m, cols, ldd, values, func(d []float32) { s.dequant(a, d, ldd) })
				res := randoms(r, m*cols, 1)
				want := make([]float32, m*cols)
				addGo(want, res, values)
				guarded(t, what("dequantAdd"), guard, m, cols, ldd, want, func(d []float32) { s.dequantAdd(a, d, ldd, res, cols) })
				for _, rowless := range bools {
					a, values := a, slices.Clone(values)
					if rowless {
						a.row = nil
						s.dequant(a, values, cols)
					}
					to := make([]int32, m)
					for i, at := range r.Perm(m) {
						to[i] = int32(at)
						addGo(want[at*cols:][:cols], res[at*cols:], values[i*cols:])
					}
					guarded(t, what("dequantAddTo"), guard, m, cols, ldd, want, func(d []float32) { s.dequantAddTo(s, a, to, d, ldd, res, cols) })
				}
				for i, g := range grids(r, cols+3) {
					guarded(t, what(fmt.Sprint("dequantQuantize ", i)), 0x77, m, cols, ldd, codesOf(s, values, cols, g, col), func(d []uint8) { s.dequantQuantize(a, d, ldd, *g, col) })
					if g.Alphas != nil {
						continue
					}
					gelu := make([]float32, m*cols)
					s.gelu(gelu, values)
					table := newGeluTable(s, *g)
					guarded(t, what(fmt.Sprint("dequantGelu ", i)), 0x77, m, cols, ldd, codesOf(s, gelu, cols, g, 0), func(d []uint8) { s.dequantGelu(&w, a, d, ldd, table) })
				}
			}
		})
	}
}

func TestLayerNormQuantize(t *testing.T) {
	for _, s := range sets() {
		r := rand.New(rand.NewPCG(5, 4))
		var w Workspace
		for _, n := range append(lengths[1:], 96, 384) {
			rows := 1 + n%5 + n/16*n%23
			x, ldx := randoms(r, rows*(n+2), 2), n+2
			gamma, beta := randoms(r, n, 1), randoms(r, n, 1)
			if n%3 == 1 {
				gamma = nil
			}
			if n%5 == 2 {
				beta = nil
			}
			y, mean, rstd := make([]float32, rows*n), make([]float32, rows), make([]float32, rows)
			for i := range rows {
				s.layerNorm(y[i*n:][:n], mean[i:], rstd[i:], x[i*ldx:][:n], gamma, beta, 1, n, 1e-6)
			}
			for i, g := range grids(r, n) {
				guarded(t, fmt.Sprint(s.name, " ", i), 0x77, rows, n, n+3, codesOf(s, y, n, g, 0), func(d []uint8) {
					s.layerNormQuantize(s, &w, d, n+3, nil, nil, x, ldx, gamma, beta, rows, n, 1e-6, *g)
				})
				moments := make([]float32, 2*rows+1)
				s.layerNormQuantize(s, &w, make([]uint8, rows*n), n, moments[:rows], moments[rows:], x, ldx, gamma, beta, rows, n, 1e-6, *g)
				if !slices.Equal(moments, slices.Concat(mean, rstd, []float32{0})) {
					t.Fatalf("%s %dx%d: moments %v, want %v %v", s.name, rows, n, moments, mean, rstd)
				}
			}
		}
	}
}

// TestSoftmaxWindow tries every set of arrays on windows of 7 × 7 tokens.
func TestSoftmaxWindow(t *testing.T) {
	const n, ldx = 49, 64
	for _, s := range sets() {
		r := rand.New(rand.NewPCG(6, 5))
		var w Workspace
		for i, rows := range []int{1, 2, 16, 17, 31, 32, 33, 49, 64, 65, 98} {
			for set := range 16 {
				x, f := sums(r, rows, n, ldx, 0)
				l := &Logits{Factor: 1e-3, Offset: f.Offset, LDBias: n + i, LDMask: n + i/2}
				if set&1 != 0 {
					l.Scale = 0.3
				}
				if set&2 != 0 {
					l.Bias = randoms(r, (rows-1)*l.LDBias+n, 1)
				}
				if set&4 != 0 {
					l.Mask = randoms(r, (rows-1)*l.LDMask+n, 1)
				}
				if set&8 != 0 {
					l.Rescale = Rescale{randoms(r, rows, 1), randoms(r, n, 1), randoms(r, rows, 1), randoms(r, n, 1)}
				}
				y := make([]float32, rows*n)
				for i := range rows {
					l.values(y[i*n:][:n], x[i*ldx:], i)
				}
				s.softmaxRows(y, y, rows, n)
				g := multiplied(Grid{Alpha: 0.01, Qp: 15})
				guarded(t, fmt.Sprint(s.name, " ", rows, " rows, arrays ", set), 0x77, rows, n, n+i%4, codesOf(s, y, n, g, 0), func(d []uint8) {
					s.softmaxQuantize(s, &w, d, n+i%4, x, ldx, rows, n, *l, *g)
				})
			}
		}
	}
}

func TestSoftmaxQuantize(t *testing.T) {
	for _, s := range sets() {
		r := rand.New(rand.NewPCG(6, 4))
		var w Workspace
		for _, n := range append(lengths[1:], 64) {
			rows, ldx := 1+n%4, n+n%7
			x, f := sums(r, rows, n, ldx, n%8)
			l := &Logits{Factor: 1e-3, Offset: f.Offset, Row: f.Row, LDBias: n + 1, LDMask: n}
			if n%2 == 0 {
				l.Scale = 0.3
			}
			if n%3 == 0 {
				l.Bias = randoms(r, rows*(n+1), 1)
			}
			if n%3 == 1 {
				l.Rescale = Rescale{randoms(r, rows, 1), randoms(r, n, 1), randoms(r, rows, 1), randoms(r, n, 1)}
			}
			if n%5 == 0 {
				l.Mask = randoms(r, rows*n, 1)
			}
			y := make([]float32, rows*n)
			for i := range rows {
				l.values(y[i*n:][:n], x[i*ldx:], i)
			}
			s.softmaxRows(y, y, rows, n)
			for i, g := range grids(r, n) {
				if g.Alphas != nil {
					continue
				}
				if g.Alpha /= float32(n); g.inv != 0 {
					*g = g.WithInverse()
				}
				guarded(t, fmt.Sprint(s.name, " ", i), 0x77, rows, n, n+3, codesOf(s, y, n, g, 0), func(d []uint8) {
					s.softmaxQuantize(s, &w, d, n+3, x, ldx, rows, n, *l, *g)
				})
			}
		}
	}
}
