package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func checkIGemm(t *testing.T, s *set, w *Workspace, r *rand.Rand, m, n, k int, extreme bool) {
	t.Helper()
	lda, ldb, ldc := k+r.IntN(3), k+r.IntN(3), n+r.IntN(3)
	a, b := make([]uint8, (m-1)*lda+k), make([]int8, (n-1)*ldb+k)
	for i := range a {
		a[i] = uint8(r.Uint32())
		if extreme {
			a[i] = 255
		}
	}
	for i := range b {
		b[i] = int8(r.Uint32())
		if extreme {
			b[i] = -128
		}
	}
	const mark = 77777
	buf := make([]int32, 5+m*ldc+40)
	for i := range buf {
		buf[i] = mark
	}
	c := buf[5 : 5+(m-1)*ldc+n]
	s.igemm(w, &igemmArgs{m, n, k, a, b, c, lda, ldb, ldc})
	for i, got := range buf {
		i -= 5
		if i < 0 || i >= m*ldc || i%ldc >= n {
			if got != mark {
				t.Fatalf("%s %dx%dx%d: wrote outside C", s.name, m, n, k)
			}
			continue
		}
		var want int32
		for p := range k {
			want += int32(a[i/ldc*lda+p]) * int32(b[i%ldc*ldb+p])
		}
		if got != want {
			t.Fatalf("%s %dx%dx%d: c[%d,%d] = %d, want %d", s.name, m, n, k, i/ldc, i%ldc, got, want)
		}
	}
}

func TestIGemm(t *testing.T) {
	for _, s := range sets() {
		var w Workspace
		r := rand.New(rand.NewPCG(1, 2))
		for m := 1; m <= 17; m++ {
			for n := 1; n <= 17; n++ {
				for k := 1; k <= 17; k++ {
					checkIGemm(t, s, &w, r, m, n, k, (m+n+k)%4 == 0)
				}
			}
		}
		for range 40 {
			checkIGemm(t, s, &w, r, 1+r.IntN(120), 1+r.IntN(120), 1+r.IntN(300), false)
		}
		checkIGemm(t, s, &w, r, 470, 40, 12, false)
		checkIGemm(t, s, &w, r, 3, 5, 65793, true)
	}
}

func BenchmarkIGemm(b *testing.B) {
	for _, sh := range [][3]int{{544, 288, 96}, {544, 96, 384}, {197, 1536, 384}, {17, 17, 32}} {
		m, n, k := sh[0], sh[1], sh[2]
		for _, s := range sets() {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", s.name, m, n, k), func(b *testing.B) {
				g := igemmArgs{m, n, k, make([]uint8, m*k), make([]int8, n*k), make([]int32, m*n), k, k, n}
				var w Workspace
				for b.Loop() {
					s.igemm(&w, &g)
				}
				b.ReportMetric(float64(2*m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOP/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
