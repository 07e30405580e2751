package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Every set is compared with the portable one on all lengths 0..63 and some more,
// on copies of the same buffers, whose words past the ends must stay untouched.

var lengths = func() (n []int) {
	for i := range 64 {
		n = append(n, i)
	}
	return append(n, 127, 128, 1000)
}()

// arena hands out slices with guard words round them, and can compare itself with
// the arena of another run.
type arena struct {
	r    *rand.Rand
	bufs [][]float32
	n    []int
}

const pad = 17

func (a *arena) slice(n int, scale float64) []float32 {
	b := make([]float32, pad+n+pad)
	for i := range b {
		b[i] = guard
	}
	for i := range n {
		b[pad+i] = float32(a.r.NormFloat64() * scale)
	}
	a.bufs = append(a.bufs, b)
	a.n = append(a.n, n)
	return b[pad : pad+n : pad+n]
}

// same runs f once with the portable set and once with s, and compares every
// buffer: within tol·max(1, |value|), or bit for bit when tol is 0.
func same(t *testing.T, s *set, what string, tol float64, f func(s *set, a *arena)) {
	t.Helper()
	one, two := &arena{r: rand.New(rand.NewPCG(1, 9))}, &arena{r: rand.New(rand.NewPCG(1, 9))}
	f(&portable, one)
	f(s, two)
	for i, b := range one.bufs {
		for j, want := range b {
			got := two.bufs[i][j]
			inside := j >= pad && j < pad+one.n[i]
			switch {
			case math.Float32bits(got) == math.Float32bits(want):
			case !inside:
				t.Fatalf("%s %s: buffer %d written outside at %d of %d", s.name, what, i, j-pad, one.n[i])
			case tol == 0 || !(math.Abs(float64(got)-float64(want)) <= tol*math.Max(1, math.Abs(float64(want)))):
				t.Fatalf("%s %s: buffer %d[%d] = %v, twin %v", s.name, what, i, j-pad, got, want)
			}
		}
	}
}

func TestTwinsElementwise(t *testing.T) {
	for _, s := range sets()[:len(sets())-1] {
		for _, n := range lengths {
			unary := func(name string, tol float64, f func(s *set) func(dst, x []float32)) {
				same(t, s, fmt.Sprint(name, " ", n), tol, func(s *set, a *arena) { f(s)(a.slice(n, 1), a.slice(n, 2)) })
			}
			unary("exp", 1e-6, func(s *set) func(dst, x []float32) { return s.exp })
			unary("erf", 1e-6, func(s *set) func(dst, x []float32) { return s.erf })
			unary("tanh", 1e-6, func(s *set) func(dst, x []float32) { return s.tanh })
			unary("gelu", 1e-6, func(s *set) func(dst, x []float32) { return s.gelu })
			for _, acc := range bools {
				same(t, s, fmt.Sprint("geluBackward ", n, acc), 3e-6, func(s *set, a *arena) {
					s.geluBackward(a.slice(n, 1), a.slice(n, 2), a.slice(n, 1), acc)
				})
			}
			binary := func(name string, tol float64, f func(s *set) func(dst, x, y []float32)) {
				same(t, s, fmt.Sprint(name, " ", n), tol, func(s *set, a *arena) { f(s)(a.slice(n, 1), a.slice(n, 1), a.slice(n, 1)) })
			}
			binary("add", 0, func(s *set) func(dst, x, y []float32) { return s.add })
			binary("sub", 0, func(s *set) func(dst, x, y []float32) { return s.sub })
			binary("mul", 0, func(s *set) func(dst, x, y []float32) { return s.mul })
			binary("mulAdd", 1e-6, func(s *set) func(dst, x, y []float32) { return s.mulAdd })
			same(t, s, fmt.Sprint("scale ", n), 0, func(s *set, a *arena) { s.scale(a.slice(n, 1), a.slice(n, 1), 1.7) })
			same(t, s, fmt.Sprint("axpy ", n), 1e-6, func(s *set, a *arena) { s.axpy(a.slice(n, 1), a.slice(n, 1), 1.7) })
			same(t, s, fmt.Sprint("adam ", n), 1e-6, func(s *set, a *arena) {
				v := a.slice(n, 1)
				for i := range v {
					v[i] *= v[i]
				}
				s.adam(a.slice(n, 1), a.slice(n, 1), v, a.slice(n, 1), 1e-3, 0.9, 0.999, 1e-8, 0.05, 0.1, 0.001)
			})
			if s.dot == nil {
				continue
			}
			r := rand.New(rand.NewPCG(2, uint64(n)))
			x, y := randoms(r, n, 1), randoms(r, n, 1)
			if got, want := s.dot(x, y), dotGo(x, y); got != want {
				t.Fatalf("%s dot %d: %v, twin %v", s.name, n, got, want)
			}
		}
	}
}

func TestAdamInPlaceOfZeroGradient(t *testing.T) {
	for _, s := range sets() {
		w := []float32{1, -2, 3}
		z := make([]float32, 3)
		s.adam(w, slices.Clone(z), slices.Clone(z), z, 0.1, 0.9, 0.999, 1e-8, 0, 0.1, 0.001)
		if !slices.Equal(w, []float32{1, -2, 3}) {
			t.Errorf("%s: %v", s.name, w)
		}
	}
}

func TestAliasedDestination(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	x := randoms(r, 100, 1)
	y, z := make([]float32, 100), slices.Clone(x)
	Gelu(y, x)
	Gelu(z, z)
	if !slices.Equal(y, z) {
		t.Error("Gelu in place differs")
	}
	Add(y, x, x)
	z = slices.Clone(x)
	Add(z, z, z)
	if !slices.Equal(y, z) {
		t.Error("Add in place differs")
	}
}
