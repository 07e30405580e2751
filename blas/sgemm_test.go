package blas

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

var transposes = []blas.Transpose{blas.NoTrans, blas.Trans, blas.ConjTrans}

// call is one set of arguments.
type call struct {
	tA, tB        blas.Transpose
	m, n, k       int
	alpha, beta   float32
	a, b, c       []float32
	lda, ldb, ldc int
}

func (c call) run(g blas.Float32) (out []float32, panicked any) {
	out = slices.Clone(c.c)
	defer func() { panicked = recover() }()
	g.Sgemm(c.tA, c.tB, c.m, c.n, c.k, c.alpha, c.a, c.lda, c.b, c.ldb, c.beta, out, c.ldc)
	return out, nil
}

func random(r *rand.Rand, m, n, k int) call {
	c := call{tA: transposes[r.IntN(3)], tB: transposes[r.IntN(3)], m: m, n: n, k: k,
		alpha: []float32{1, 0, -0.5, 2}[r.IntN(4)], beta: []float32{0, 1, -2, 0.25}[r.IntN(4)]}
	matrix := func(rows, cols int) ([]float32, int) {
		ld := max(1, cols) + r.IntN(3)
		x := make([]float32, max(0, (rows-1)*ld+cols)+r.IntN(2))
		for i := range x {
			x[i] = r.Float32()*2 - 1
		}
		return x, ld
	}
	turned := func(t blas.Transpose, rows, cols int) ([]float32, int) {
		if t != blas.NoTrans {
			rows, cols = cols, rows
		}
		return matrix(rows, cols)
	}
	c.a, c.lda = turned(c.tA, m, k)
	c.b, c.ldb = turned(c.tB, k, n)
	c.c, c.ldc = matrix(m, n)
	return c
}

// Every small shape and random larger ones, within the stated error of gonum's
// result; what lies between the rows of C stays.
func TestAgainstGonum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var shapes [][3]int
	for m := range 8 {
		for n := range 8 {
			for k := range 8 {
				shapes = append(shapes, [3]int{m, n, k})
			}
		}
	}
	for range 60 {
		shapes = append(shapes, [3]int{1 + r.IntN(150), 1 + r.IntN(150), 1 + r.IntN(150)})
	}
	shapes = append(shapes, [3]int{300, 90, 100}, [3]int{90, 700, 50}, [3]int{1, 3000, 800}, [3]int{3000, 1, 800})
	for _, s := range shapes {
		c := random(r, s[0], s[1], s[2])
		got, p := c.run(Implementation{})
		want, _ := c.run(gonum.Implementation{})
		if p != nil {
			t.Fatalf("%v: %v", s, p)
		}
		tol := float64(c.k+4) * 0x1p-23 * float64(c.k+2) * 2
		for i := range want {
			if d := math.Abs(float64(got[i] - want[i])); !(d <= tol) || (i%c.ldc >= c.n && got[i] != c.c[i]) {
				t.Fatalf("%v %c%c alpha %v beta %v: element %d is %v, gonum has %v", s, c.tA, c.tB, c.alpha, c.beta, i, got[i], want[i])
			}
		}
	}
}

// Bad arguments panic with gonum's value, and good ones do not.
func TestPanics(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	panics := 0
	for range 20_000 {
		c := random(r, r.IntN(4), r.IntN(4), r.IntN(4))
		cut := func(x []float32) []float32 { return x[:max(0, len(x)-1-r.IntN(3))] }
		for range 1 + r.IntN(2) {
			switch r.IntN(11) {
			case 0:
				c.tA = blas.Transpose(r.IntN(128))
			case 1:
				c.tB = blas.Transpose(r.IntN(128))
			case 2:
				c.m = -r.IntN(3)
			case 3:
				c.n = -r.IntN(3)
			case 4:
				c.k = -r.IntN(3)
			case 5:
				c.lda -= r.IntN(4)
			case 6:
				c.ldb -= r.IntN(4)
			case 7:
				c.ldc -= r.IntN(4)
			case 8:
				c.a = cut(c.a)
			case 9:
				c.b = cut(c.b)
			case 10:
				c.c = cut(c.c)
			}
		}
		_, got := c.run(Implementation{})
		_, want := c.run(gonum.Implementation{})
		if got != want {
			t.Fatalf("%+v: panic %v, gonum's is %v", c, got, want)
		}
		if want != nil {
			panics++
		}
	}
	if panics < 5000 {
		t.Errorf("only %d calls panicked", panics)
	}
}

// The same bytes for any number of cores.
func TestCores(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, s := range [][3]int{{197, 192, 192}, {64, 1000, 70}, {1000, 64, 70}, {25, 65, 2000}} {
		for range 6 {
			c := random(r, s[0], s[1], s[2])
			runtime.GOMAXPROCS(1)
			want, _ := c.run(Implementation{})
			for _, cores := range []int{2, 3, 8} {
				runtime.GOMAXPROCS(cores)
				if got, _ := c.run(Implementation{}); !slices.Equal(got, want) {
					t.Fatalf("%v: other bytes on %d cores", s, cores)
				}
			}
		}
	}
}

// Many callers at a time, more than there are cores, get the bytes of one.
func TestCallers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	var calls []call
	var want [][]float32
	r := rand.New(rand.NewPCG(4, 4))
	for _, s := range [][3]int{{197, 192, 192}, {64, 700, 70}, {700, 64, 70}} {
		c := random(r, s[0], s[1], s[2])
		out, _ := c.run(Implementation{})
		calls, want = append(calls, c), append(want, out)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 10 {
				k := (i + j) % len(calls)
				if got, _ := calls[k].run(Implementation{}); !slices.Equal(got, want[k]) {
					t.Errorf("caller %d: other bytes", i)
				}
			}
		})
	}
	wg.Wait()
}

// C is not read where beta is 0, A and B not where alpha is 0.
func TestNotRead(t *testing.T) {
	nan := float32(math.NaN())
	c := []float32{nan}
	Implementation{}.Sgemm(blas.NoTrans, blas.NoTrans, 1, 1, 1, 2, []float32{3}, 1, []float32{4}, 1, 0, c, 1)
	if c[0] != 24 {
		t.Errorf("beta 0: %v", c[0])
	}
	Implementation{}.Sgemm(blas.NoTrans, blas.NoTrans, 1, 1, 1, 0, []float32{nan}, 1, []float32{4}, 1, 0.5, c, 1)
	if c[0] != 12 {
		t.Errorf("alpha 0: %v", c[0])
	}
}

// BenchmarkSgemm compares with gonum at shapes of DeiT-Tiny.
func BenchmarkSgemm(b *testing.B) {
	for _, s := range []struct {
		tA, tB  blas.Transpose
		m, n, k int
	}{{blas.NoTrans, blas.Trans, 1576, 768, 192}, {blas.NoTrans, blas.NoTrans, 1576, 192, 768}, {blas.Trans, blas.NoTrans, 192, 768, 1576}, {blas.NoTrans, blas.NoTrans, 64, 64, 64}} {
		a, bb, c := make([]float32, s.m*s.k), make([]float32, s.k*s.n), make([]float32, s.m*s.n)
		for i := range a {
			a[i] = float32(i%7) - 3
		}
		for i := range bb {
			bb[i] = float32(i%5) - 2
		}
		lda, ldb := s.k, s.n
		if s.tA != blas.NoTrans {
			lda = s.m
		}
		if s.tB != blas.NoTrans {
			ldb = s.k
		}
		for _, g := range []struct {
			name string
			blas.Float32
		}{{"qvitc", Implementation{}}, {"gonum", gonum.Implementation{}}} {
			b.Run(fmt.Sprintf("%dx%dx%d/%s", s.m, s.n, s.k, g.name), func(b *testing.B) {
				for b.Loop() {
					g.Sgemm(s.tA, s.tB, s.m, s.n, s.k, 1, a, lda, bb, ldb, 0, c, s.n)
				}
				b.ReportMetric(2*float64(s.m)*float64(s.n)*float64(s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gflop/s")
			})
		}
	}
}
