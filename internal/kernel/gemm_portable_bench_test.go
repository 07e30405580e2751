package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkGemmPortable lets the portable product and the naive triple loop take turns
// on the same matrices, in the three layouts of training, and reports the best rate of
// each and their ratio. The naive loop adds up a row times a column; only in NT are both
// contiguous.
func BenchmarkGemmPortable(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, sh := range [][3]int{{197, 192, 384}, {197, 384, 1536}, {197, 1536, 384}} {
		m, n, k := sh[0], sh[1], sh[2]
		x, y, z := randoms(r, m*k, 1), randoms(r, n*k, 1), make([]float32, m*n)
		for _, layout := range []string{"NN", "NT", "TN"} {
			g := gemmArgs{layout[0] == 'T', layout[1] == 'T', m, n, k, 1, 0, x, y, z, k, n, n}
			if g.ta {
				g.lda = m
			}
			if g.tb {
				g.ldb = k
			}
			b.Run(fmt.Sprintf("%s/%dx%dx%d", layout, m, n, k), func(b *testing.B) {
				var w Workspace
				fast, rows := time.Duration(math.MaxInt64), make([]time.Duration, m)
				for b.Loop() {
					for range 4 {
						start := time.Now()
						gemmGo(&w, &g)
						fast = min(fast, time.Since(start))
					}
					for i := range m { // the fastest run of each row, which a busy machine disturbs less
						start := time.Now()
						naiveRow(&g, i)
						if d := time.Since(start); rows[i] == 0 || d < rows[i] {
							rows[i] = d
						}
					}
				}
				var slow time.Duration
				for _, d := range rows {
					slow += d
				}
				flop := 2 * float64(m) * float64(n) * float64(k)
				b.ReportMetric(flop/float64(fast.Nanoseconds()), "GFLOP/s")
				b.ReportMetric(flop/float64(slow.Nanoseconds()), "naive-GFLOP/s")
				b.ReportMetric(float64(slow)/float64(fast), "x-naive")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// naiveRow computes row i of C as the inner two of three plain loops.
func naiveRow(g *gemmArgs, i int) {
	switch {
	case g.tb:
		for j := range g.n {
			var s float32
			for p, v := range g.a[i*g.lda:][:g.k] {
				s += v * g.b[j*g.ldb+p]
			}
			g.c[i*g.ldc+j] = s
		}
	case g.ta:
		for j := range g.n {
			var s float32
			for p := range g.k {
				s += g.a[p*g.lda+i] * g.b[p*g.ldb+j]
			}
			g.c[i*g.ldc+j] = s
		}
	default:
		for j := range g.n {
			var s float32
			for p, v := range g.a[i*g.lda:][:g.k] {
				s += v * g.b[p*g.ldb+j]
			}
			g.c[i*g.ldc+j] = s
		}
	}
}
