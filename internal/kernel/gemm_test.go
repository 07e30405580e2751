package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

const guard = 123456.75

// matrix returns a rows × cols matrix with row stride ld between guard words, the
// slice that begins at its first element, and a check of every word outside it.
func matrix(r *rand.Rand, rows, cols, ld int, random bool) (m []float32, intact func() bool) {
	const pad = 19
	buf := make([]float32, pad+rows*ld+pad)
	for i := range buf {
		buf[i] = guard
	}
	m = buf[pad : pad+(rows-1)*ld+cols]
	for i := range rows {
		for j := range cols {
			if random {
				m[i*ld+j] = float32(r.NormFloat64())
			} else {
				m[i*ld+j] = float32(math.NaN())
			}
		}
	}
	return m, func() bool {
		for i, v := range buf {
			i -= pad
			inside := i >= 0 && i < rows*ld && i%ld < cols
			if !inside && v != guard {
				return false
			}
		}
		return true
	}
}

// checkGemm compares one product of every set with float64 arithmetic.
func checkGemm(t *testing.T, w *Workspace, r *rand.Rand, ta, tb bool, m, n, k int, beta float32) {
	t.Helper()
	ar, ac, br, bc := m, k, k, n
	if ta {
		ar, ac = k, m
	}
	if tb {
		br, bc = n, k
	}
	lda, ldb, ldc := ac+r.IntN(4), bc+r.IntN(4), n+r.IntN(4)
	if ac%1024 == 0 {
		lda = ac // a stride that the AVX-512 product packs
	}
	a, _ := matrix(r, ar, ac, lda, true)
	b, _ := matrix(r, br, bc, ldb, true)
	c0, _ := matrix(r, m, n, ldc, beta != 0)
	alpha := float32(1)
	if r.IntN(2) == 0 {
		alpha = -0.75
	}
	want, mag := make([]float64, m*n), make([]float64, m*n)
	for i := range m {
		for j := range n {
			var sum, abs float64
			for p := range k {
				x, y := a[0], b[0]
				if ta {
					x = a[p*lda+i]
				} else {
					x = a[i*lda+p]
				}
				if tb {
					y = b[j*ldb+p]
				} else {
					y = b[p*ldb+j]
				}
				sum += float64(x) * float64(y)
				abs += math.Abs(float64(x) * float64(y))
			}
			sum, abs = sum*float64(alpha), abs*math.Abs(float64(alpha))
			if beta != 0 {
				sum += float64(c0[i*ldc+j])
				abs += math.Abs(float64(c0[i*ldc+j]))
			}
			want[i*n+j], mag[i*n+j] = sum, abs
		}
	}
	for _, s := range sets() {
		c, intact := matrix(r, m, n, ldc, false)
		copy(c, c0)
		g := gemmArgs{ta, tb, m, n, k, alpha, beta, a, b, c, lda, ldb, ldc}
		s.gemm(w, &g)
		for i := range m {
			for j := range n {
				got := float64(c[i*ldc+j])
				if !(math.Abs(got-want[i*n+j]) <= float64(k+2)*0x1p-23*mag[i*n+j]) {
					t.Fatalf("%s ta=%v tb=%v %dx%dx%d beta=%v: c[%d,%d] = %v, want %v", s.name, ta, tb, m, n, k, beta, i, j, got, want[i*n+j])
				}
			}
		}
		if !intact() {
			t.Fatalf("%s ta=%v tb=%v %dx%dx%d: wrote outside C", s.name, ta, tb, m, n, k)
		}
	}
}

var bools = []bool{false, true}

func TestGemmSmall(t *testing.T) {
	var w Workspace
	r := rand.New(rand.NewPCG(1, 2))
	for m := 1; m <= 17; m++ {
		for n := 1; n <= 17; n++ {
			for k := 1; k <= 17; k++ {
				for _, ta := range bools {
					for _, tb := range bools {
						checkGemm(t, &w, r, ta, tb, m, n, k, float32((m+n+k)%2))
					}
				}
			}
		}
	}
}

func TestGemmRandom(t *testing.T) {
	var w Workspace
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 100 {
		m, n, k := 1+r.IntN(300), 1+r.IntN(300), 1+r.IntN(300)
		checkGemm(t, &w, r, i&1 != 0, i&2 != 0, m, n, k, float32(i>>2&1))
	}
	for _, ta := range bools {
		for _, tb := range bools {
			checkGemm(t, &w, r, ta, tb, 61, 70, 1100, 1)
			checkGemm(t, &w, r, ta, tb, 40, 70, 2048, 1)
			checkGemm(t, &w, r, ta, tb, 1024, 67, 40, 0)
			checkGemm(t, &w, r, ta, tb, 1030, 33, 40, 0)
			checkGemm(t, &w, r, ta, tb, 29, 1300, 24, 0)
		}
	}
}

// TestGemmRowsAreIndependent checks that the bits of a row do not depend on how
// many rows or columns are computed with it.
func TestGemmRowsAreIndependent(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	const m, n, k = 500, 70, 300
	a, b := randoms(r, m*k, 1), randoms(r, n*k, 1)
	for _, s := range sets() {
		for _, tb := range bools {
			ldb := n
			if tb {
				ldb = k
			}
			var w Workspace
			all, some := make([]float32, m*n), make([]float32, m*n)
			s.gemm(&w, &gemmArgs{false, tb, m, n, k, 1, 0, a, b, all, k, ldb, n})
			for i := 0; i < m; i += 5 {
				s.gemm(&w, &gemmArgs{false, tb, min(5, m-i), n - 3, k, 1, 0, a[i*k:], b, some[i*n:], k, ldb, n})
			}
			for i := range all {
				if i%n < n-3 && all[i] != some[i] {
					t.Fatalf("%s tb=%v: element %d is %v or %v", s.name, tb, i, all[i], some[i])
				}
			}
		}
	}
}

func TestGemmEdges(t *testing.T) {
	var w Workspace
	c := []float32{1, 2}
	w.Gemm(false, false, 1, 2, 0, 1, nil, 1, nil, 2, 1, c, 2)
	if c[0] != 1 || c[1] != 2 {
		t.Fatal("k=0, beta=1 must keep C")
	}
	w.Gemm(false, false, 1, 2, 0, 1, nil, 1, nil, 2, 0, c, 2)
	if c[0] != 0 || c[1] != 0 {
		t.Fatal("k=0, beta=0 must clear C")
	}
	w.Gemm(false, false, 0, 2, 3, 1, nil, 3, nil, 2, 0, nil, 2)
	defer func() {
		if recover() == nil {
			t.Fatal("a short C must panic")
		}
	}()
	w.Gemm(false, false, 2, 2, 1, 1, []float32{1, 1}, 1, []float32{1, 1}, 2, 0, c, 2)
}

func TestBatchGemm(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var w Workspace
	const count, m, n, k = 3, 17, 19, 32
	a, _ := matrix(r, count*m, k, k, true)
	b, _ := matrix(r, n, k, k, true)
	got, want := make([]float32, count*m*n), make([]float32, count*m*n)
	w.BatchGemm(count, false, true, m, n, k, 2, a, k, m*k, b, k, 0, 0, got, n, m*n)
	for i := range count {
		w.Gemm(false, true, m, n, k, 2, a[i*m*k:], k, b, k, 0, want[i*m*n:], n)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("element %d: %v, want %v", i, got[i], want[i])
		}
	}
}

func TestGemmAllocates(t *testing.T) {
	var w Workspace
	a, b, c := make([]float32, 100*64), make([]float32, 64*70), make([]float32, 7000)
	f := func() { w.Gemm(false, true, 100, 70, 64, 1, a, 64, b, 64, 0, c, 70) }
	f()
	if n := testing.AllocsPerRun(10, f); n != 0 {
		t.Fatalf("%v allocations per product", n)
	}
}

func BenchmarkGemm(b *testing.B) {
	shapes := [][3]int{{544, 288, 96}, {544, 384, 96}, {544, 96, 384}, {544, 96, 96}, {96, 288, 544}, {96, 384, 544}, {384, 96, 544}, {192, 768, 1576}, {768, 192, 1576}, {544, 256, 1024}, {544, 1024, 256}, {1576, 576, 192}, {1576, 768, 192}, {1576, 192, 768}, {197, 1536, 384}, {1024, 1024, 1024}}
	for _, sh := range shapes {
		for _, l := range []string{"NN", "NT", "TN"} {
			benchGemm(b, l, sh[0], sh[1], sh[2], 1)
		}
	}
}

func BenchmarkBatchGemm(b *testing.B) {
	for _, sh := range [][3]int{{17, 17, 32}, {17, 32, 17}, {17, 17, 16}, {50, 50, 32}, {65, 65, 32}, {65, 32, 65}, {197, 197, 64}, {197, 64, 197}} {
		for _, l := range []string{"NN", "NT", "TN"} {
			benchGemm(b, l, sh[0], sh[1], sh[2], 12)
		}
	}
}

func benchGemm(b *testing.B, layout string, m, n, k, count int) {
	for _, s := range sets() {
		b.Run(fmt.Sprintf("%s/%s/%dx%dx%d", s.name, layout, m, n, k), func(b *testing.B) {
			old := active
			active = s
			defer func() { active = old }()
			ta, tb := layout[0] == 'T', layout[1] == 'T'
			lda, ldb := k, n
			if ta {
				lda = m
			}
			if tb {
				ldb = k
			}
			x, y, z := make([]float32, count*m*k), make([]float32, count*k*n), make([]float32, count*m*n)
			Fill(x, 1)
			Fill(y, 1)
			var w Workspace
			for b.Loop() {
				w.BatchGemm(count, ta, tb, m, n, k, 1, x, lda, m*k, y, ldb, k*n, 0, z, n, m*n)
			}
			b.ReportMetric(float64(2*m*n*k*count)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
