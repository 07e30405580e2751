package quantize

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// tokensOf makes n Gaussian tokens of d channels whose spreads are log-normal.
func tokensOf(r *rand.Rand, n, d int, tau float64) []float32 {
	x := make([]float32, 0, n*d)
	for range n {
		s := math.Exp(tau * r.NormFloat64())
		for range d {
			x = append(x, float32(s*r.NormFloat64()))
		}
	}
	return x
}

func meterOf(t *testing.T, name string, heads int, data []float32, shape ...int) [2][]tensorMeter {
	t.Helper()
	v := &ir.Value{Name: name}
	w := &meterWorker{meters: make([][]tensorMeter, 2), channels: []channel{{name: name, value: v, origin: v, heads: heads}, {name: name, value: v, origin: v, heads: heads, irm: true}}}
	if name == "probs" {
		w.channels[0].probs = true
		w.channels = w.channels[:1]
	}
	if err := w.visit(func(*ir.Value) ([]float32, []int) { return data, shape }); err != nil {
		t.Fatal(err)
	}
	return [2][]tensorMeter{w.meters[0], w.meters[1]}
}

// The table of method.md 5.4: what unequal token spreads cost under one shared
// step of least error relative to each token, and that the IRM restores the
// first row.
func TestTokenSpreadTable(t *testing.T) {
	for _, row := range []struct {
		tau  float64
		h, e [3]float64
	}{
		{0, [3]float64{1.78, 2.70, 3.62}, [3]float64{0.149, 0.041, 0.012}},
		{0.25, [3]float64{1.70, 2.54, 3.32}, [3]float64{0.176, 0.055, 0.018}},
		{0.5, [3]float64{1.41, 2.08, 2.73}, [3]float64{0.305, 0.135, 0.055}},
		{0.75, [3]float64{0.94, 1.49, 2.06}, [3]float64{0.538, 0.344, 0.197}},
	} {
		r := rand.New(rand.NewPCG(41, 42))
		x := tokensOf(r, 20000, 64, row.tau)
		m := meterOf(t, "q", 0, x, 1, 1, 20000, 64)
		for i, bits := range []int{2, 3, 4} {
			q := Quantiser{bits, true}
			before, err := m[0][0].describe(q)
			if err != nil {
				t.Fatal(err)
			}
			after, err := m[1][0].describe(q)
			if err != nil {
				t.Fatal(err)
			}
			// The table integrates the spreads up to a cut-off; the far tail that
			// a sample has costs a little more, the more so the wider it is.
			near(t, "token entropy", before.TokenEntropy, row.h[i], 0.05+0.3*row.tau*row.tau)
			near(t, "token error", before.TokenError, row.e[i], 0.004+0.1*row.tau*row.tau)
			near(t, "token spread", before.TokenLogStd, math.Hypot(row.tau, 1/math.Sqrt(2*64)), 0.02)
			near(t, "token entropy after", after.TokenEntropy, [3]float64{1.783, 2.716, 3.62}[i], 0.03)
			near(t, "token error after", after.TokenError, [3]float64{0.149, 0.041, 0.012}[i], 0.002)
			near(t, "std after", after.Std, 1, 1e-3)
		}
	}
}

// Every figure of a line, against its definition computed plainly.
func TestDescribe(t *testing.T) {
	x := normals(4*3*50*16, 51, 0.3, 1.7)
	m := meterOf(t, "v", 0, x, 4, 3, 50, 16)
	q := Quantiser{3, true}
	for h := range 3 {
		var mine []float32
		for b := range 4 {
			mine = append(mine, x[(b*3+h)*800:(b*3+h+1)*800]...)
		}
		l, err := m[0][h].describe(q)
		if err != nil {
			t.Fatal(err)
		}
		counts := map[int]float64{}
		var sum, sq, qs, qq, clipped float64
		for _, v := range mine {
			c := q.Code(v, float32(l.Alpha), 0)
			counts[c]++
			y := float64(c) * l.Alpha
			sum, sq, qs, qq = sum+float64(v), sq+float64(v)*float64(v), qs+y, qq+y*y
			if u := float64(v) / l.Alpha; u < -4.5 || u > 3.5 {
				clipped++
			}
		}
		n := float64(len(mine))
		entropy := 0.0
		for _, c := range counts {
			entropy -= c / n * math.Log2(c/n)
		}
		std := math.Sqrt(sq/n - sum/n*sum/n)
		near(t, "entropy", l.Entropy, entropy, 0.01)
		near(t, "share", l.Share, entropy/3, 0.004)
		near(t, "mean", l.Mean, sum/n, 1e-3)
		near(t, "std", l.Std, std, 1e-3)
		near(t, "quantised mean", l.QuantMean, qs/n, 5e-3)
		near(t, "quantised std", l.QuantStd, math.Sqrt(qq/n-qs/n*qs/n), 5e-3)
		near(t, "clipped", l.Clipped, clipped/n, 2e-3)
		near(t, "relative error", l.Error, bruteMSE(q, mine, float32(l.Alpha), 0)/(std*std), 1e-3)
		near(t, "gaussian", l.Gaussian, q.Gaussian(l.Mean, l.Std, l.Alpha, 0).Entropy, 0)
		near(t, "gaussian against seen", l.Gaussian, l.Entropy, 0.05)
		near(t, "differential", *l.Differential, 0.5*math.Log2(2*math.Pi*math.E*l.Std*l.Std), 1e-9)
		if l.Used != len(counts) {
			t.Errorf("%d codes used, want %d", l.Used, len(counts))
		}
	}
}

func TestAttentionMaps(t *testing.T) {
	// Two heads over a 2x2 grid with a class token: one looks at itself, one
	// everywhere alike.
	const n = 5
	var x []float32
	for h := range 2 {
		for i := range n {
			for j := range n {
				switch {
				case h == 1:
					x = append(x, 1.0/n)
				case i == j:
					x = append(x, 1)
				default:
					x = append(x, 0)
				}
			}
		}
	}
	m := meterOf(t, "probs", 0, x, 1, 2, n, n)
	self, err := m[0][0].describe(Quantiser{4, false})
	if err != nil {
		t.Fatal(err)
	}
	even, err := m[0][1].describe(Quantiser{4, false})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "row entropy of one", self.RowEntropy, 0, 0)
	near(t, "row entropy of all", even.RowEntropy, math.Log2(n), 1e-6)
	near(t, "distance of one", *self.Distance, 0, 0)
	near(t, "distance of all", *even.Distance, (1+1+math.Sqrt2)/4, 1e-6)
	near(t, "error of a constant", even.Error, 0, 0)
	if even.Differential != nil || even.Entropy != 0 || even.Used != 1 {
		t.Errorf("a constant map: %+v", even)
	}
	// The same heads as one [B*H, N, N] tensor.
	flat := meterOf(t, "probs", 2, x, 2, n, n)
	if !same(&flat[0][1].values, &m[0][1].values) {
		t.Error("three dimensions differ from four")
	}
}

func TestGuessGrid(t *testing.T) {
	for n, want := range map[int]PatchGrid{
		49: {7, 7, 0}, 50: {7, 7, 1}, 51: {7, 7, 2}, 197: {14, 14, 1}, 198: {14, 14, 2}, 577: {24, 24, 1},
	} {
		if g, ok := GuessGrid(n); !ok || g != want || g.Tokens() != n {
			t.Errorf("%d tokens: %+v, want %+v", n, g, want)
		}
	}
	if g, ok := GuessGrid(47); ok {
		t.Errorf("47 tokens: %+v", g)
	}
	p := make([]float32, 25)
	p[1*5+2], p[2*5+1], p[3*5+4], p[4*5+3] = 0.5, 0.5, 0.5, 0.5 // the rest goes to no place
	p[1*5], p[2*5] = 0.5, 0.5
	near(t, "distance", AttentionDistance(p, PatchGrid{2, 2, 1}), 1, 1e-12)
}

// The distribution adds up to what lies within four deviations, and follows the
// values; with the quantisers at work, the values are those of the grid.
func TestMeasureQuantised(t *testing.T) {
	g := ir.New("g")
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(1), ir.D(8), ir.D(16)}))
	q := g.InsertBefore(nil, ir.Domain, "FakeQuant", ir.Attrs{"bits": int64(2), "signed": int64(1)}, []*ir.Value{x, g.AddConst("s", ir.Scalar(float32(1)))}, "q").Out()
	y := g.Add("Identity", "y", nil, q).Out()
	g.AddOutput(y)
	if _, err := ops.Infer(g); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]float32, 50*8*16)
	for i := range data {
		data[i] = float32(r.NormFloat64())
	}
	for _, quantised := range []bool{false, true} {
		batches := func(i int) ([]float32, int, bool) { return data, 50, i == 0 }
		rep, err := MeasureEntropy(context.Background(), g, []AttentionTap{{Q: y, Heads: 1}}, batches, EntropyOptions{Bins: 40, Quantised: quantised})
		if err != nil {
			t.Fatal(err)
		}
		h := rep.Heads[0]
		sum, used := 0.0, 0
		for _, s := range h.Density.Share {
			sum += s
			if s > 0 {
				used++
			}
		}
		near(t, "share", sum, 1, 1e-3)
		near(t, "width", h.Density.Width, 8*h.Std/40, 1e-9)
		if (used <= 4) != quantised || rep.Heads[1].Density == nil {
			t.Errorf("quantised %v: %d bins hold values", quantised, used)
		}
	}
}
