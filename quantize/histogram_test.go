package quantize

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// content is everything a histogram holds, by absolute bin number.
func content(h *Histogram) (exp int, counts map[int]uint64, n uint64, lo, hi float32) {
	counts = map[int]uint64{}
	for i, c := range h.bins {
		if c > 0 {
			counts[h.lo+i] = c
		}
	}
	return h.exp, counts, h.n, h.min, h.max
}

func same(a, b *Histogram) bool {
	e1, c1, n1, l1, h1 := content(a)
	e2, c2, n2, l2, h2 := content(b)
	if e1 != e2 || n1 != n2 || l1 != l2 || h1 != h2 || len(c1) != len(c2) {
		return false
	}
	for k, c := range c1 {
		if c2[k] != c {
			return false
		}
	}
	return true
}

// Order and sharding never change a count.
func TestHistogramOrderFree(t *testing.T) {
	finite := rapid.Float32().Filter(func(v float32) bool { return v-v == 0 })
	value := rapid.OneOf(finite, rapid.Float32Range(-10, 10), rapid.Just(float32(0)), rapid.Just(float32(math.SmallestNonzeroFloat32)))
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(value, 1, 60).Draw(t, "x")
		var whole Histogram
		if err := whole.Observe(x); err != nil {
			t.Fatal(err)
		}
		y := slices.Clone(x)
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)).Shuffle(len(y), func(i, j int) { y[i], y[j] = y[j], y[i] })
		parts := make([]Histogram, 3)
		for i, v := range y {
			if err := parts[i%3].Observe([]float32{v}); err != nil {
				t.Fatal(err)
			}
		}
		parts[1].Merge(&parts[2])
		parts[1].Merge(&parts[0])
		if !same(&whole, &parts[1]) {
			t.Fatalf("differs for %v", x)
		}
		total := uint64(0)
		for _, c := range whole.bins {
			total += c
		}
		if total != uint64(len(x)) {
			t.Fatalf("%d counts for %d values", total, len(x))
		}
	})
}

func TestHistogramResolution(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var h Histogram
	x := make([]float32, 50000)
	for i := range x {
		x[i] = float32(0.3 + 2*r.NormFloat64())
	}
	for i := 0; i < len(x); i += 500 { // grows batch by batch
		if err := h.Observe(x[i : i+500]); err != nil {
			t.Fatal(err)
		}
	}
	lo, hi := h.Limits()
	if lo != slices.Min(x) || hi != slices.Max(x) || h.Count() != uint64(len(x)) {
		t.Errorf("limits %v %v, count %d", lo, hi, h.Count())
	}
	if used := float64(hi-lo) / h.Width(); used < Bins/2-2 || used > Bins {
		t.Errorf("%v of %d bins in use", used, Bins)
	}
	var exact Points
	if err := exact.SetValues(x); err != nil {
		t.Fatal(err)
	}
	binned := h.Points()
	m1, s1 := exact.Moments()
	m2, s2 := binned.Moments()
	near(t, "mean", m2, m1, 1e-3)
	near(t, "deviation", s2, s1, 1e-3)
	near(t, "mean of |x|", binned.MeanAbs(), exact.MeanAbs(), 1e-3)
	near(t, "quantile", binned.Quantile(0.01), exact.Quantile(0.01), h.Width())
}

func TestHistogramRefusesNotFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		var h Histogram
		if err := h.Observe([]float32{1, 2}); err != nil {
			t.Fatal(err)
		}
		if err := h.Observe([]float32{3, bad, 4}); !errors.Is(err, ErrNotFinite) {
			t.Errorf("%v: %v", bad, err)
		}
		if lo, hi := h.Limits(); h.Count() != 2 || lo != 1 || hi != 2 {
			t.Error("a refused batch changed the histogram")
		}
		var p Points
		if err := p.SetValues([]float32{1, bad}); !errors.Is(err, ErrNotFinite) {
			t.Errorf("%v as a weight: %v", bad, err)
		}
	}
}

func TestObserverGroups(t *testing.T) {
	// [2, 3, inner]: group j of image i holds 10*j+i.
	for _, inner := range []int{1, 5, 100} {
		var x []float32
		for i := range 2 {
			for j := range 3 {
				for range inner {
					x = append(x, float32(10*j+i))
				}
			}
		}
		o := NewObserver(3)
		if err := o.Observe(x, inner); err != nil {
			t.Fatal(err)
		}
		for j := range 3 {
			lo, hi := o.Group(j).Limits()
			if lo != float32(10*j) || hi != float32(10*j+1) || o.Group(j).Count() != uint64(2*inner) {
				t.Errorf("inner %d group %d: %v to %v, %d values", inner, j, lo, hi, o.Group(j).Count())
			}
		}
		if err := o.Observe(x[1:], inner); err == nil {
			t.Error("a length that does not split was taken")
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	x := make([]float32, 1<<16)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	var h Histogram
	b.SetBytes(4 << 16)
	for b.Loop() {
		if err := h.Observe(x); err != nil {
			b.Fatal(err)
		}
	}
}
