package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// gops runs f, which does ops operations, and reports their rate: that of the whole
// run and that of its fastest call, which a busy machine disturbs less.
func gops(b *testing.B, ops int, f func()) { laps(b, ops, func(func()) { f() }) }

// laps is gops for an f long enough to be disturbed every time: f calls lap between
// its parts, and the fastest runs of all parts make up the fastest call.
func laps(b *testing.B, ops int, f func(lap func())) {
	var best []time.Duration
	part, last := 0, time.Now()
	lap := func() {
		now := time.Now()
		if part == len(best) {
			best = append(best, math.MaxInt64)
		}
		best[part] = min(best[part], now.Sub(last))
		part, last = part+1, now
	}
	for b.Loop() {
		part, last = 0, time.Now()
		f(lap)
		lap()
	}
	var sum time.Duration
	for _, d := range best {
		sum += d
	}
	b.ReportMetric(float64(ops)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOP/s")
	b.ReportMetric(float64(ops)/sum.Seconds()/1e9, "GOP/s-best")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLowBit multiplies 197 rows by the weights of DeiT-S's MLP, with the
// unpacking of the weights, in GOP/s (a product and a sum are two), beside what it is
// measured against: the peak of the instruction, the float32 product of the same
// set and a plain Go loop.
func BenchmarkLowBit(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, sh := range [][3]int{{197, 1536, 384}, {197, 384, 1536}} {
		m, n, k := sh[0], sh[1], sh[2]
		shape := fmt.Sprintf("%dx%dx%d", m, k, n)
		x, y, z := randoms(r, m*k, 1), randoms(r, n*k, 1), make([]float32, m*n)
		tile := make([]int32, TileRows*PanelWidth)
		var w Workspace
		for _, s := range append(sets(), otherForms()...) {
			for _, p := range [][2]int{{4, 4}, {3, 3}, {2, 2}, {8, 8}} {
				b.Run(fmt.Sprintf("%s/W%dA%d/%s", s.name, p[0], p[1], shape), func(b *testing.B) {
					c := newLowBit(r, p[0], p[1], m, n, k, false)
					x := newWeights(s, p[0], p[1], n, k, c.b)
					left, packed := x.form.(leftForm)
					var rows []uint8
					row := 0
					if packed {
						row = left.leftBytes(k)
						rows = alignedBytes(nil, m*row)
					}
					laps(b, 2*m*n*k, func(lap func()) {
						if packed {
							left.packLeft(&w, k, rows, m, c.a, c.lda)
							lap()
						}
						for j := range x.Panels() {
							w.Panel(x, j)
							for i := 0; i < m; i += TileRows {
								if packed {
									w.TileLeft(min(TileRows, m-i), rows[i*row:], c.a[i*c.lda:], c.lda, tile, PanelWidth)
									continue
								}
								w.Tile(min(TileRows, m-i), c.a[i*c.lda:], c.lda, tile, PanelWidth)
							}
							lap()
						}
					})
				})
			}
			b.Run(fmt.Sprintf("%s/float32/%s", s.name, shape), func(b *testing.B) {
				g := gemmArgs{false, true, m, n, k, 1, 0, x, y, z, k, k, n}
				gops(b, 2*m*n*k, func() { s.gemm(&w, &g) })
			})
		}
		b.Run("naive/float32/"+shape, func(b *testing.B) {
			laps(b, 2*m*n*k, func(lap func()) { naive(m, n, k, x, y, z, lap) })
		})
	}
	peaks(b)
}

// naive is the plain loop over two row-major matrices.
func naive(m, n, k int, a, b, c []float32, lap func()) {
	for i := range m {
		for j := range n {
			var s float32
			for p, v := range a[i*k:][:k] {
				s += v * b[j*k+p]
			}
			c[i*n+j] = s
		}
		lap()
	}
}
