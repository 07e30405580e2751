package distill

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

func testOptions(t testing.TB, o Options) Options {
	t.Helper()
	if o.Threads == 0 {
		o.Threads = 2
	}
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func testParams(kind Kind, values ...float32) []Param {
	t := ir.Of(values, len(values))
	n := &ir.Node{Domain: ir.Domain, Op: "FakeQuant", Attrs: ir.Attrs{"bits": int64(4), "signed": int64(0)}}
	return []Param{{Value: &ir.Value{Name: "p", Const: t}, Kind: kind, Data: t.F32(), Name: "p", Quant: n}}
}

// TestAdamReference compares five steps with the textbook rule in float64.
func TestAdamReference(t *testing.T) {
	o := testOptions(t, Options{Clip: 0.5, LR: 0.01})
	p := testParams(Bias, 1, -2, 0.5)
	opt := newOptimiser(p, o)
	w := []float64{1, -2, 0.5}
	m, v := make([]float64, 3), make([]float64, 3)
	r := rand.New(rand.NewPCG(1, 1))
	for step := 1; step <= 5; step++ {
		g := [][]float32{{r.Float32(), r.Float32() - 0.5, r.Float32() * 3}}
		g64 := []float64{float64(g[0][0]), float64(g[0][1]), float64(g[0][2])}
		var norm float64
		for _, x := range g64 {
			norm += x * x
		}
		norm = math.Sqrt(norm)
		for i := range w {
			x := g64[i] * math.Min(1, 0.5/norm)
			m[i] = 0.9*m[i] + 0.1*x
			v[i] = 0.999*v[i] + 0.001*x*x
			w[i] -= 0.01 * m[i] / (1 - math.Pow(0.9, float64(step))) / (math.Sqrt(v[i]/(1-math.Pow(0.999, float64(step)))) + 1e-8)
		}
		got, bad := opt.prepare(g, 0, 2)
		if math.Abs(got-norm) > 1e-6 || bad.p != -1 {
			t.Fatalf("norm %v, want %v", got, norm)
		}
		opt.step(g, got, 0.01, 2)
	}
	for i := range w {
		if math.Abs(float64(p[0].Data[i])-w[i]) > 1e-6 {
			t.Errorf("after five steps %v, want %v", p[0].Data, w)
		}
	}
}

func TestScaleInLogDomain(t *testing.T) {
	o := testOptions(t, Options{LR: 0.1, Clip: -1})
	p := testParams(Scale, 0.5, 2e-6)
	opt := newOptimiser(p, o)
	g := [][]float32{{3, 8}}
	norm, _ := opt.prepare(g, 0, 1)
	if want := math.Hypot(1.5, 1.6e-5); math.Abs(norm-want) > 1e-6 {
		t.Errorf("norm of the log gradient %v, want %v", norm, want)
	}
	opt.step(g, norm, 0.1, 1) // Adam's first direction is the sign
	if got, want := p[0].Data[0], float32(0.5*math.Exp(-0.1)); math.Abs(float64(got-want)) > 1e-6 {
		t.Errorf("scale %v, want %v", got, want)
	}
	for range 100 {
		opt.step([][]float32{{1, 1}}, 1, 0.1, 1)
	}
	if p[0].Data[1] != minScale {
		t.Errorf("scale fell to %v", p[0].Data[1])
	}
}

func TestZeroPointStaysInRange(t *testing.T) {
	p := testParams(ZeroPoint, 14.5, 1)
	opt := newOptimiser(p, testOptions(t, Options{ZeroPointLR: 100}))
	for range 5 {
		opt.step([][]float32{{-1, 1}}, 1, 0.1, 1)
	}
	if p[0].Data[0] != 15 || p[0].Data[1] != 0 {
		t.Errorf("zero points %v, want the ends of 0..15", p[0].Data)
	}
}

func TestWeightDecayOnWeightsAlone(t *testing.T) {
	for _, kind := range []Kind{Weight, Bias, Norm, Embed, Scale, ZeroPoint} {
		for _, rule := range []Optimiser{AdamW, LAMB} {
			p := testParams(kind, 2, 4)
			opt := newOptimiser(p, testOptions(t, Options{Optimiser: rule, WeightDecay: 0.1}))
			opt.step([][]float32{{0, 0}}, 0, 0.1, 1)
			changed := p[0].Data[0] != 2 || p[0].Data[1] != 4
			if changed != (kind == Weight) {
				t.Errorf("%s, %s: %v", rule, kind, p[0].Data)
			}
		}
	}
}

func TestLAMBTrustRatio(t *testing.T) {
	p := testParams(Weight, 3, 4) // norm 5
	opt := newOptimiser(p, testOptions(t, Options{Optimiser: LAMB}))
	opt.step([][]float32{{1, -1}}, 1, 0.01, 1) // direction (1, -1), norm √2
	for i, want := range []float64{3 - 0.01*5/math.Sqrt2, 4 + 0.01*5/math.Sqrt2} {
		if math.Abs(float64(p[0].Data[i])-want) > 1e-5 {
			t.Errorf("weights %v", p[0].Data)
		}
	}
}

func TestRate(t *testing.T) {
	o := testOptions(t, Options{LR: 1, MinLR: 0.1, WarmUp: 0.1})
	for _, c := range []struct {
		t    int
		want float64
	}{{0, 0.1}, {9, 1}, {10, 1}, {55, 0.55}, {100, 0.1}} {
		if got := o.rate(c.t, 100); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("rate of step %d is %v, want %v", c.t, got, c.want)
		}
	}
}

func TestDamping(t *testing.T) {
	w := ir.Of([]float32{0.2, -0.9, 10, 0.2}, 2, 2)
	scale := &ir.Value{Name: "s", Const: ir.Of([]float32{0.5, 1}, 2)}
	n := &ir.Node{Domain: ir.Domain, Op: "FakeQuant", Attrs: ir.Attrs{"bits": int64(2), "signed": int64(1), "axis": int64(1)}}
	v := &ir.Value{Name: "w", Const: w}
	n.Inputs = []*ir.Value{v, scale}
	p := Param{Value: v, Kind: Weight, Data: w.F32(), Quant: n}
	d := newDamper(p)
	g := make([]float32, 4)
	d.add(g[:1], w.F32()[:1], 0, 1)
	d.add(g[1:], w.F32()[1:], 1, 1)
	want := []float32{0.4, 0.2, 0, 0.4} // 0.2/0.5 rounds to 0; -0.9/1 to -1; 10/0.5 is clipped; 0.2/1 to 0
	for i := range g {
		if math.Abs(float64(g[i]-want[i])) > 1e-6 {
			t.Errorf("damping gradient %v, want %v", g, want)
			break
		}
	}
}

func TestShardBounds(t *testing.T) {
	for n := 1; n < 300; n++ {
		b := shardBounds(n, 0)
		for s := 1; s < len(b); s++ {
			if k := b[s] - b[s-1]; k < 1 || k > max(shardImages, 1) {
				t.Fatalf("%d images: shards %v", n, b)
			}
		}
		if b[0] != 0 || b[len(b)-1] != n {
			t.Fatalf("%d images: shards %v", n, b)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	for _, o := range []Options{
		{LR: -1}, {LR: math.NaN()}, {Epochs: -2}, {Epochs: math.Inf(1)}, {Beta1: 1}, {Optimiser: "sgd"}, {Loss: &Loss{}}, {Loss: &Loss{Hard: -1, Soft: 2}},
		{DGD: DGD{Mode: "kl"}}, {DGD: DGD{Mode: DGDPaper, Lambda: math.NaN()}}, {Threads: -1}, {Clip: math.NaN()}, {WarmUp: 2}, {EMA: 1}, {MinLR: 1, LR: 0.1},
	} {
		if _, err := o.withDefaults(); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
