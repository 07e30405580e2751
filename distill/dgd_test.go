package distill

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// dgdPair is the loss of one pair by plain loops in the chosen form; w times its
// gradient is added to gx unless that is nil.
func dgdPair[T real](o DGD, channels bool, x, y []T, n, d, dT int, w float64, gx []T) float64 {
	if o.TeacherNorm {
		t := make([]T, len(y))
		normTokens(t, y, n, dT)
		y = t
	}
	if !channels {
		s, t := product(x, transposed(x, n, d), n, d, n), product(y, transposed(y, n, dT), n, dT, n)
		l := tokenCoefficients(o.Mode, s, t, n, w, s)
		addTo(gx, product(s, x, n, n, d))
		return l
	}
	xt, yt := transposed(x, n, d), transposed(y, n, dT)
	a, b, m := product(xt, x, d, n, d), product(yt, y, dT, n, dT), product(yt, x, dT, n, d)
	l := channelCoefficients(o.Mode, a, b, m, n, w, a, m)
	addTo(gx, product(x, a, n, d, d))
	addTo(gx, product(y, m, n, dT, d))
	return l
}

func product[T real](a, b []T, n, k, m int) []T {
	c := make([]T, n*m)
	for i := range n {
		for j := range m {
			for l := range k {
				c[i*m+j] += a[i*k+l] * b[l*m+j]
			}
		}
	}
	return c
}

func transposed[T real](a []T, n, d int) []T {
	t := make([]T, len(a))
	for i := range n {
		for j := range d {
			t[j*n+i] = a[i*d+j]
		}
	}
	return t
}

func addTo[T real](dst, x []T) {
	for i := range dst {
		dst[i] += x[i]
	}
}

// TestDGDGolden is the vector of method.md section 17, by both forms.
func TestDGDGolden(t *testing.T) {
	x := []float64{1, 0, 0, 1, 1, 1}
	y := []float64{1, 0.5, 0, 1, 1, -1}
	want := []float64{-0.1487573, -0.1009425, 0.2178233, 0.2231360, -0.1965722, 0.1221935}
	for _, channels := range []bool{false, true} {
		g := make([]float64, 6)
		if l := dgdPair(DGD{Mode: DGDPaper}, channels, x, y, 3, 2, 2, 1, g); math.Abs(l-0.9624183) > 1e-7 {
			t.Errorf("channels %v: loss %v, want 0.9624183", channels, l)
		}
		for i := range g {
			if math.Abs(g[i]-want[i]) > 1e-7 {
				t.Errorf("channels %v: gradient %v, want %v", channels, g, want)
				break
			}
		}
	}
}

func TestDGDGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, sh := range [][3]int{{5, 3, 3}, {17, 4, 6}, {3, 8, 5}, {6, 6, 6}, {1, 4, 4}, {9, 2, 5}} {
		n, d, dT := sh[0], sh[1], sh[2]
		for _, o := range []DGD{{Mode: DGDPaper}, {Mode: DGDMSE}, {Mode: DGDRowwise}, {Mode: DGDPaper, TeacherNorm: true}} {
			if n == 1 {
				o.Mode = DGDMSE // one token: c is 1 and the square root is at its kink
			}
			x, y := randoms(r, n*d, 1), randoms(r, n*dT, 2)
			for _, channels := range []bool{false, true} {
				if channels && o.Mode == DGDRowwise {
					continue
				}
				g := make([]float64, len(x))
				loss := dgdPair(o, channels, x, y, n, d, dT, 0.5, g)
				if loss < 0 || loss > math.Sqrt2+1e-9 {
					t.Errorf("%v: loss %v out of range", o, loss)
				}
				checkGradient(t, string(o.Mode), x, g, func() float64 { return 0.5 * dgdPair(o, channels, x, y, n, d, dT, 0, nil) })
			}
		}
	}
}

// TestDGDPlan compares the runtime's products, in both forms, with the plain
// loops in float64.
func TestDGDPlan(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, sh := range []tapShape{{3, 17, 8, 8}, {2, 17, 8, 5}, {4, 40, 6, 6}, {1, 50, 4, 7}, {2, 1, 4, 4}} {
		x, y := randoms(r, sh.count*sh.tokens*sh.d, 1), randoms(r, sh.count*sh.tokens*sh.dT, 2)
		for _, o := range []DGD{{Mode: DGDPaper}, {Mode: DGDMSE}, {Mode: DGDRowwise}, {Mode: DGDPaper, TeacherNorm: true}} {
			if sh.tokens == 1 {
				o.Mode = DGDMSE
			}
			want := 0.0
			grad := make([]float64, len(x))
			for k := range sh.count {
				lo, hi := k*sh.tokens*sh.d, (k+1)*sh.tokens*sh.d
				want += dgdPair(o, false, x[lo:hi], y[k*sh.tokens*sh.dT:(k+1)*sh.tokens*sh.dT], sh.tokens, sh.d, sh.dT, 0.5, grad[lo:hi])
			}
			for _, channels := range []bool{false, true} {
				if channels && o.Mode == DGDRowwise {
					continue
				}
				p := &dgdPlan{tapShape: sh, channels: channels}
				if err := p.compile(); err != nil {
					t.Fatal(err)
				}
				seed := make([]float32, len(x))
				got, err := p.run(o, p.newState(), f32(x), f32(y), 0.5, seed)
				if err != nil || math.Abs(got-want) > 1e-5*(1+want) {
					t.Errorf("%+v %+v channels %v: loss %v, want %v (%v)", sh, o, channels, got, want, err)
				}
				for i := range seed {
					if math.Abs(float64(seed[i])-grad[i]) > 1e-5*(1+math.Abs(grad[i])) {
						t.Errorf("%+v %+v channels %v: gradient %d is %v, want %v", sh, o, channels, i, seed[i], grad[i])
						break
					}
				}
			}
		}
	}
	for _, c := range []struct {
		s    tapShape
		want bool
	}{{tapShape{1, 17, 32, 32}, false}, {tapShape{1, 197, 64, 64}, true}, {tapShape{1, 49, 32, 32}, false}} {
		if p, err := newDGDPlan(DGD{Mode: DGDPaper}, c.s); err != nil || p.channels != c.want {
			t.Errorf("%v: channel form %v, %v", c.s, p.channels, err)
		}
	}
}

func f32(x []float64) []float32 {
	out := make([]float32, len(x))
	for i := range x {
		out[i] = float32(x[i])
	}
	return out
}

func TestDGDExtremes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	x := make([]float32, 17*8)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	rotated := make([]float32, len(x)) // channels reversed: the same similarities
	for i := range 17 {
		for j := range 8 {
			rotated[i*8+j] = 3 * x[i*8+7-j]
		}
	}
	zero := make([]float32, len(x))
	for _, mode := range []DGDMode{DGDPaper, DGDMSE, DGDRowwise} {
		o := DGD{Mode: mode}
		g := make([]float32, len(x))
		if l := dgdPair(o, false, x, rotated, 17, 8, 8, 1, g); l > 2e-4 {
			t.Errorf("%s: loss %v between q and a rotated, scaled q", mode, l)
		}
		for _, pair := range [][2][]float32{{zero, x}, {x, zero}, {zero, zero}} {
			clear(g)
			l := dgdPair(o, false, pair[0], pair[1], 17, 8, 8, 1, g)
			if math.IsNaN(l) || slices.ContainsFunc(g, func(v float32) bool { return v != v }) {
				t.Errorf("%s: all-zero tokens give %v", mode, l)
			}
		}
	}
}

// BenchmarkDGD is q or k of one layer for 16 images.
func BenchmarkDGD(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 9))
	for _, c := range []struct {
		name string
		s    tapShape
	}{{"fmnist", tapShape{48, 17, 32, 32}}, {"deit", tapShape{48, 197, 64, 64}}} {
		b.Run(c.name, func(b *testing.B) {
			x := f32(randoms(r, c.s.count*c.s.tokens*c.s.d, 1))
			y, seed := f32(randoms(r, len(x), 1)), make([]float32, len(x))
			o := DGD{Mode: DGDPaper}
			p, err := newDGDPlan(o, c.s)
			if err != nil {
				b.Fatal(err)
			}
			st := p.newState()
			for b.Loop() {
				p.run(o, st, x, y, 1, seed)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/16, "µs/image")
		})
	}
}

// normTokens is a LayerNormalization of the n rows of y over their d channels,
// without parameters, into out: what the plan does, in the numbers of the test.
func normTokens[T real](out, y []T, n, d int) {
	for i := range n {
		row, dst := y[i*d:(i+1)*d], out[i*d:(i+1)*d]
		var mean, v float64
		for _, t := range row {
			mean += float64(t)
		}
		mean /= float64(d)
		for _, t := range row {
			e := float64(t) - mean
			v += e * e
		}
		k := 1 / math.Sqrt(v/float64(d)+dgdNormEps)
		for j, t := range row {
			dst[j] = T((float64(t) - mean) * k)
		}
	}
}
