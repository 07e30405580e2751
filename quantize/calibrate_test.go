package quantize

import (
	"bytes"
	"context"
	"errors"
	"math"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// tiny is a patch of a transformer: images [batch,2,4,6] become q, k, v of two
// heads, scores, probabilities and a context, with FakeQuants as the passes
// place them. Scales are 0: not calibrated.
const tiny = `graph "tiny" {
  input %x: f32[batch,2,4,6]
  const %w: f32[6,6] = rand(1)
  const %w2: f32[6,8] = rand(2)
  const %ws: f32[6] = fill(0)
  const %w2s: f32[8] = fill(0)
  const %xs: f32[] = [0]
  const %xz: f32[] = [0]
  const %qs: f32[2] = fill(0)
  const %ks: f32[2] = fill(0)
  const %vs: f32[2] = fill(0)
  const %ps: f32[2] = fill(0)
  const %hs: f32[] = [0]
  const %hz: f32[] = [0]
  const %half: f32[] = [0.5]
  %xq: f32 = ai.qvitc::FakeQuant(%x, %xs, %xz) {bits=4, signed=0} #"x"
  %wq: f32 = ai.qvitc::FakeQuant(%w, %ws) {axis=1, bits=4, signed=1}
  %q: f32 = MatMul(%xq, %wq) #"proj"
  %qq: f32 = ai.qvitc::FakeQuant(%q, %qs) {axis=1, bits=3, signed=1}
  %kq: f32 = ai.qvitc::FakeQuant(%q, %ks) {axis=1, bits=4, signed=1}
  %kt: f32 = Transpose(%kq) {perm=[0, 1, 3, 2]i}
  %s: f32 = MatMul(%qq, %kt)
  %sc: f32 = Mul(%s, %half)
  %p: f32 = Softmax(%sc) {axis=-1}
  %pq: f32 = ai.qvitc::FakeQuant(%p, %ps) {axis=1, bits=4, signed=0}
  %vq: f32 = ai.qvitc::FakeQuant(%q, %vs) {axis=1, bits=4, signed=1}
  %c: f32 = MatMul(%pq, %vq)
  %h: f32 = Relu(%c)
  %hq: f32 = ai.qvitc::FakeQuant(%h, %hs, %hz) {bits=2, signed=1}
  %w2q: f32 = ai.qvitc::FakeQuant(%w2, %w2s) {axis=-1, bits=2, signed=1}
  %y: f32 = MatMul(%hq, %w2q) #"head"
  output %y
}
`

const tinyImage = 2 * 4 * 6

func tinyGraph(t testing.TB, edits ...string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse(strings.NewReplacer(edits...).Replace(tiny), ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func tinyImages(n int) []float32 { return normals(n*tinyImage, 61, 0.2, 1) }

func calibrate(t testing.TB, g *ir.Graph, images []float32, o CalibrateOptions) *Calibration {
	t.Helper()
	c, err := Calibrate(context.Background(), g, SliceBatches(images, tinyImage, 7), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func scaleOf(g *ir.Graph, name string) []float32 { return g.Value(name).Const.F32() }

// The scales are those of the values computed by hand from the float model.
func TestCalibrateTiny(t *testing.T) {
	g := tinyGraph(t)
	if err := Calibrated(g); err == nil || !strings.Contains(err.Error(), `node "x"`) || !strings.Contains(err.Error(), "not calibrated") {
		t.Errorf("before: %v", err)
	}
	images := tinyImages(45)
	c := calibrate(t, g, images, CalibrateOptions{})
	if err := Calibrated(g); err != nil {
		t.Error(err)
	}
	if err := g.Check(); err != nil {
		t.Error(err)
	}
	if c.Images != 45 || c.Method != MSE || c.Weights != MSE || len(c.Layers) != 8 {
		t.Errorf("%d images, %s and %s, %d layers", c.Images, c.Method, c.Weights, len(c.Layers))
	}
	if s := g.Value("xs").Const; len(s.Shape) != 0 {
		t.Errorf("the scalar scale has become %v", s.Shape)
	}
	// weights: per column, exact
	w := scaleOf(g, "w")
	for j := range 6 {
		var col []float32
		for i := range 6 {
			col = append(col, w[i*6+j])
		}
		want, err := Fit{Quantiser: Quantiser{4, true}}.Points(pointsOf(t, col))
		if err != nil {
			t.Fatal(err)
		}
		if got := scaleOf(g, "ws")[j]; got != want.Scale {
			t.Errorf("column %d: scale %v, want %v", j, got, want.Scale)
		}
	}
	// activations: x, q, and the probabilities by head
	check := func(name string, group int, f Fit, values []float32) {
		t.Helper()
		want, err := f.Points(pointsOf(t, values))
		if err != nil {
			t.Fatal(err)
		}
		s := scaleOf(g, name)[group]
		z := float32(0)
		if f.Asymmetric {
			z = scaleOf(g, strings.TrimSuffix(name, "s")+"z")[group]
		}
		if got := bruteMSE(f.Quantiser, values, s, z); got > 1.02*want.MSE+1e-12 {
			t.Errorf("%s[%d] = %v, zero %v: error %.6g, best %.6g at %v", name, group, s, z, got, want.MSE, want)
		}
	}
	check("xs", 0, Fit{Quantiser: Quantiser{4, false}, Asymmetric: true}, images)
	heads := make([][]float32, 2)
	probs := make([][]float32, 2)
	for at := 0; at < len(images); at += 24 {
		h := at / 24 % 2
		q := make([]float64, 24)
		for i := range 4 {
			for j := range 6 {
				for k := range 6 {
					q[i*6+j] += float64(images[at+i*6+k]) * float64(w[k*6+j])
				}
			}
		}
		for _, v := range q {
			heads[h] = append(heads[h], float32(v))
		}
		for i := range 4 {
			var e [4]float64
			sum := 0.0
			for j := range 4 {
				for k := range 6 {
					e[j] += 0.5 * q[i*6+k] * q[j*6+k]
				}
			}
			top := slices.Max(e[:])
			for j := range e {
				e[j] = math.Exp(e[j] - top)
				sum += e[j]
			}
			for _, v := range e {
				probs[h] = append(probs[h], float32(v/sum))
			}
		}
	}
	for h := range 2 {
		check("qs", h, Fit{Quantiser: Quantiser{3, true}}, heads[h])
		check("ks", h, Fit{Quantiser: Quantiser{4, true}}, heads[h])
		check("ps", h, Fit{Quantiser: Quantiser{4, false}}, probs[h])
	}
	if z := scaleOf(g, "hz")[0]; z != -2 { // ReLU: zero is the lowest code
		t.Errorf("zero point after ReLU is %v", z)
	}
	for _, l := range c.Layers {
		if (l.Kind == KindWeight) != strings.HasPrefix(l.Tensor, "w") {
			t.Errorf("%s of %s is a %s", l.Name, l.Tensor, l.Kind)
		}
		for _, e := range l.Error {
			if !(e >= 0 && e < 0.5) {
				t.Errorf("%s: relative error %v", l.Name, l.Error)
			}
		}
	}
}

// Same bytes for any number of threads, any chunk and any cut into batches.
func TestCalibrateIsDeterministic(t *testing.T) {
	images := tinyImages(50)
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(0))
	for _, m := range Methods {
		o := CalibrateOptions{Method: m}
		var want []byte
		for _, procs := range []int{1, 2, 8} {
			goruntime.GOMAXPROCS(procs)
			for _, chunk := range []int{0, 3} {
				for _, batch := range []int{1, 50} {
					g := tinyGraph(t)
					o.Chunk, o.Threads = chunk, procs%2*3 // GOMAXPROCS or 3
					c, err := Calibrate(context.Background(), g, SliceBatches(images, tinyImage, batch), o)
					if err != nil {
						t.Fatal(err)
					}
					var b bytes.Buffer
					if err := c.Write(&b); err != nil {
						t.Fatal(err)
					}
					b.WriteString(g.String())
					if want == nil {
						want = b.Bytes()
					} else if !bytes.Equal(want, b.Bytes()) {
						t.Fatalf("%s: %d processors, chunk %d, batches of %d give another result", m, procs, chunk, batch)
					}
				}
			}
		}
	}
}

func TestScalesRoundTrip(t *testing.T) {
	g := tinyGraph(t)
	c := calibrate(t, g, tinyImages(20), CalibrateOptions{Method: Percentile, Weights: MinMax})
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	d, err := ReadCalibration(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d.Method != Percentile || d.Weights != MinMax || d.Images != 20 {
		t.Errorf("%+v", d)
	}
	h := tinyGraph(t)
	if err := d.Apply(h); err != nil {
		t.Fatal(err)
	}
	if h.String() != g.String() {
		t.Error("applied scales differ")
	}
	for _, e := range []struct{ what, from, to, want string }{
		{"bits", "%wq: f32 = ai.qvitc::FakeQuant(%w, %ws) {axis=1, bits=4", "%wq: f32 = ai.qvitc::FakeQuant(%w, %ws) {axis=1, bits=3", "bits"},
		{"groups", "%qs: f32[2]", "%qs: f32[3]", "scales on axis"},
		{"name", "%kq", "%k9", "do not list"},
		{"zero", "FakeQuant(%h, %hs, %hz)", "FakeQuant(%h, %hs)", "zero points"},
	} {
		bad := tinyGraph(t, e.from, e.to)
		before := bad.String()
		if err := d.Apply(bad); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: %v", e.what, err)
		}
		if bad.String() != before {
			t.Errorf("%s: a refused Apply changed the graph", e.what)
		}
	}
	for _, bad := range []string{"", "{", text + "{}", strings.Replace(text, "images", "pictures", 1)} {
		if _, err := ReadCalibration(strings.NewReader(bad)); err == nil {
			t.Errorf("read %.20q", bad)
		}
	}
	d.Layers = append(d.Layers, Layer{Name: "more"})
	if err := d.Apply(h); err == nil || !strings.Contains(err.Error(), `"more"`) {
		t.Errorf("a layer too many: %v", err)
	}
	d.Layers = append(d.Layers[:8], d.Layers[0])
	if err := d.Apply(h); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a layer twice: %v", err)
	}
	d.Layers = d.Layers[:8]
	d.Layers[2].Scale[0] = 0
	if err := d.Apply(h); err == nil || !strings.Contains(err.Error(), "positive") {
		t.Errorf("a zero scale: %v", err)
	}
}

func TestCalibrateRefuses(t *testing.T) {
	nan := float32(math.NaN())
	run := func(g *ir.Graph, images []float32, o CalibrateOptions) error {
		t.Helper()
		before := g.String()
		_, err := Calibrate(context.Background(), g, SliceBatches(images, tinyImage, 7), o)
		if g.String() != before {
			t.Error("a refused calibration changed the graph")
		}
		return err
	}
	want := func(err error, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if err == nil || !strings.Contains(err.Error(), p) {
				t.Errorf("got %v, want %q", err, p)
			}
		}
	}
	bad := tinyImages(40)
	bad[30*tinyImage+5] = nan
	err := run(tinyGraph(t), bad, CalibrateOptions{})
	want(err, `tensor "x"`, "activation", "NaN")
	if !errors.Is(err, ErrNotFinite) {
		t.Error("the cause is not ErrNotFinite")
	}
	g := tinyGraph(t)
	g.Value("w2").Const.F32()[3] = float32(math.Inf(1))
	want(run(g, tinyImages(4), CalibrateOptions{}), `tensor "w2"`, "weight", "infinite")
	want(run(tinyGraph(t), nil, CalibrateOptions{}), "no calibration images")
	want(run(tinyGraph(t), tinyImages(2), CalibrateOptions{Method: "best"}), "unknown calibration method")
	want(run(tinyGraph(t), tinyImages(2), CalibrateOptions{Weights: Entropy}), "histogram", `tensor "w"`)
	want(run(tinyGraph(t), tinyImages(2), CalibrateOptions{Method: Percentile, Percentile: -1}), "percentile")
	want(run(tinyGraph(t, "%qs: f32[2]", "%qs: f32[3]"), tinyImages(2), CalibrateOptions{}), "axis 1 must be of size 3")
	want(run(tinyGraph(t, "FakeQuant(%q, %ks)", "FakeQuant(%q, %qs)"), tinyImages(2), CalibrateOptions{}), "shares its parameter")
	want(run(tinyGraph(t, "bits=3", "bits=1"), tinyImages(2), CalibrateOptions{}), "bits is 1")
	want(run(tinyGraph(t, "f32[batch,2,4,6]", "f32[batch,2,n,6]"), tinyImages(2), CalibrateOptions{}), "known sizes")
	_, err = Calibrate(context.Background(), tinyGraph(t), func(i int) ([]float32, int, bool) { return make([]float32, 5), 1, true }, CalibrateOptions{})
	want(err, "5 values for 1 images", "48 values an image")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Calibrate(ctx, tinyGraph(t), SliceBatches(tinyImages(4), tinyImage, 2), CalibrateOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A model of fixed batch size takes whole batches only; Samples stops early.
func TestBatchSizes(t *testing.T) {
	images := tinyImages(20)
	if c := calibrate(t, tinyGraph(t, "f32[batch,", "f32[8,"), images, CalibrateOptions{}); c.Images != 16 {
		t.Errorf("%d images of a batch of 8", c.Images)
	}
	_, err := Calibrate(context.Background(), tinyGraph(t, "f32[batch,", "f32[32,"), SliceBatches(images, tinyImage, 7), CalibrateOptions{})
	if err == nil || !strings.Contains(err.Error(), "exactly 32 images") {
		t.Error(err)
	}
	last := 0
	a, b := tinyGraph(t), tinyGraph(t)
	c := calibrate(t, a, images, CalibrateOptions{Samples: 9, Progress: func(n int) { last = max(last, n) }})
	calibrate(t, b, images[:9*tinyImage], CalibrateOptions{})
	if c.Images != 9 || last != 9 || a.String() != b.String() {
		t.Errorf("%d images, progress to %d", c.Images, last)
	}
}

func TestMeasureEntropyOfGraph(t *testing.T) {
	g := tinyGraph(t)
	tap := AttentionTap{Block: 3, Q: g.Value("qq"), K: g.Value("kt"), V: g.Value("vq"), Probs: g.Value("pq"), KTransposed: true}
	images := tinyImages(30)
	var want bytes.Buffer
	for _, threads := range []int{1, 2, 8} {
		r, err := MeasureEntropy(context.Background(), g, []AttentionTap{tap}, SliceBatches(images, tinyImage, 4), EntropyOptions{Bits: 3, Threads: threads, Chunk: 5})
		if err != nil {
			t.Fatal(err)
		}
		if r.Images != 30 || len(r.Heads) != 12 || r.Bits != 3 {
			t.Fatalf("%d images, %d lines", r.Images, len(r.Heads))
		}
		// k is q transposed, so their lines agree; v is q too.
		for h := range 2 {
			a, b, c := r.Heads[h], r.Heads[4+h], r.Heads[8+h]
			if a.Tensor != "q" || b.Tensor != "k" || c.Tensor != "v" || a.Entropy != b.Entropy || b.Entropy != c.Entropy || a.TokenEntropy != b.TokenEntropy {
				t.Errorf("q, k, v differ: %+v, %+v, %+v", a, b, c)
			}
			if n := r.Heads[2+h]; !n.IRM || n.Head != h || n.Block != 3 || math.Abs(n.Mean) > 1e-3 {
				t.Errorf("after IRM: %+v", n)
			}
			if p := r.Heads[10+h]; p.Tensor != "probs" || p.RowEntropy <= 0 || p.RowEntropy > 2 || p.Distance == nil {
				t.Errorf("probs: %+v", p)
			}
		}
		var b bytes.Buffer
		if err := r.WriteTable(&b, true); err != nil {
			t.Fatal(err)
		}
		if err := r.WriteTable(&b, false); err != nil {
			t.Fatal(err)
		}
		if want.Len() == 0 {
			want = b
			t.Logf("\n%s", b.String())
		} else if want.String() != b.String() {
			t.Errorf("%d threads give another report", threads)
		}
	}
	if _, err := MeasureEntropy(context.Background(), g, nil, SliceBatches(images, tinyImage, 4), EntropyOptions{}); err == nil {
		t.Error("nothing was measured")
	}
	if _, err := MeasureEntropy(context.Background(), g, []AttentionTap{{Q: g.Value("w")}}, SliceBatches(images, tinyImage, 4), EntropyOptions{}); err == nil || !strings.Contains(err.Error(), `"w"`) {
		t.Errorf("a matrix was measured: %v", err)
	}
	if _, err := MeasureEntropy(context.Background(), g, []AttentionTap{tap}, SliceBatches(images, tinyImage, 4), EntropyOptions{Bits: 9}); err == nil {
		t.Error("nine bits")
	}
}
