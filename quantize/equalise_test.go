package quantize

import (
	"context"
	"errors"
	"math"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// normed is a layer normalisation of tokens [batch,3,4] whose channels differ,
// read by a linear layer as it is and by another behind a window as Swin cuts it.
const normed = `graph "normed" {
  input %x: f32[batch,3,4]
  const %gamma: f32[4] = [8, 1, 0.5, -0.25]
  const %beta: f32[4] = [3, -2, 0, 0.125]
  const %w: f32[4,5] = rand(1)
  const %b: f32[5] = rand(2)
  const %w2: f32[4,6] = rand(3)
  const %b2: f32[6] = rand(4)
  const %s: f32[] = [0]
  const %s2: f32[] = [0]
  const %ws: f32[5] = fill(0)
  const %starts: i64[1] = [1]
  const %ends: i64[1] = [3]
  const %axes: i64[1] = [1]
  %n: f32[batch,3,4] = LayerNormalization(%x, %gamma, %beta) {axis=-1, epsilon=1e-6} #"norm"
  %q: f32 = ai.qvitc::FakeQuant(%n, %s) {bits=4, signed=1}
  %wq: f32 = ai.qvitc::FakeQuant(%w, %ws) {axis=1, bits=4, signed=1}
  %m: f32 = MatMul(%q, %wq)
  %y: f32 = Add(%m, %b)
  %t: f32[3,batch,4] = Transpose(%n) {perm=[1, 0, 2]i}
  %back: f32[batch,3,4] = Transpose(%t) {perm=[1, 0, 2]i}
  %cut: f32[batch,2,4] = Slice(%back, %starts, %ends, %axes)
  %q2: f32 = ai.qvitc::FakeQuant(%cut, %s2) {bits=2, signed=1}
  %m2: f32 = MatMul(%q2, %w2)
  %z: f32 = Add(%b2, %m2)
  output %y
  output %z
}
`

const normedImage = 3 * 4

func normedGraph(t testing.TB, edits ...string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse(strings.NewReplacer(edits...).Replace(normed), ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func equalise(t testing.TB, g *ir.Graph, images []float32, o CalibrateOptions) int {
	t.Helper()
	n, err := Equalise(context.Background(), g, SliceBatches(images, normedImage, 7), o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// floatValues runs the float form of g and gives what the named values carry.
func floatValues(t testing.TB, g *ir.Graph, images []float32, names ...string) map[string][]float32 {
	t.Helper()
	f, err := newFloatGraph(g)
	if err != nil {
		t.Fatal(err)
	}
	var taps []*ir.Value
	for _, name := range names {
		taps = append(taps, f.of[g.Value(name)])
	}
	out := map[string][]float32{}
	visit := func(tap view) error {
		for i, name := range names {
			x, _ := tap(taps[i])
			out[name] = append(out[name], x...)
		}
		return nil
	}
	if _, err := f.run(context.Background(), taps, SliceBatches(images, normedImage, 7), runOptions{}, []func(view) error{visit}); err != nil {
		t.Fatal(err)
	}
	return out
}

// The float model computes what it did, from channels of mean 0 and one deviation.
func TestEqualiseKeepsTheFunction(t *testing.T) {
	images := normals(40*normedImage, 5, 0.3, 2)
	g := normedGraph(t)
	before := floatValues(t, g, images, "y", "z")
	if n := equalise(t, g, images, CalibrateOptions{}); n != 1 {
		t.Fatalf("%d norms", n)
	}
	if err := g.Check(); err != nil {
		t.Error(err)
	}
	after := floatValues(t, g, images, "y", "z", "n")
	for _, name := range []string{"y", "z"} {
		for i, want := range before[name] {
			if got := after[name][i]; math.Abs(float64(got-want)) > 2e-5 {
				t.Fatalf("%s[%d] = %v, was %v", name, i, got, want)
			}
		}
	}
	var deviations [4]float64
	for c := range deviations {
		var sum, squares, n float64
		for i := c; i < len(after["n"]); i += 4 {
			v := float64(after["n"][i])
			sum, squares, n = sum+v, squares+v*v, n+1
		}
		deviations[c] = math.Sqrt(squares/n - sum*sum/n/n)
		if mean := sum / n; math.Abs(mean) > 1e-5 {
			t.Errorf("channel %d has mean %v", c, mean)
		}
		if math.Abs(deviations[c]/deviations[0]-1) > 1e-4 {
			t.Errorf("channel %d has deviation %v, channel 0 %v", c, deviations[c], deviations[0])
		}
	}
}

// Without a bias to take it the mean stays; the deviations are equalised all the same.
func TestEqualiseWithoutBias(t *testing.T) {
	images := normals(40*normedImage, 5, 0.3, 2)
	g := normedGraph(t, "%z: f32 = Add(%b2, %m2)", "%z: f32 = Relu(%m2)")
	before := floatValues(t, g, images, "y", "z")
	if n := equalise(t, g, images, CalibrateOptions{}); n != 1 {
		t.Fatalf("%d norms", n)
	}
	after := floatValues(t, g, images, "y", "z")
	for _, name := range []string{"y", "z"} {
		for i, want := range before[name] {
			if got := after[name][i]; math.Abs(float64(got-want)) > 2e-5 {
				t.Fatalf("%s[%d] = %v, was %v", name, i, got, want)
			}
		}
	}
	gamma, beta := scaleOf(g, "gamma"), scaleOf(g, "beta")
	if ratio := beta[0] / gamma[0]; math.Abs(float64(ratio)-3.0/8) > 1e-6 {
		t.Errorf("beta over gamma is %v, was 3/8", ratio)
	}
	if math.Abs(float64(gamma[0]/gamma[2])-1) > 0.5 {
		t.Errorf("gamma is %v", gamma)
	}
}

// A norm that something else reads, or in other order, stays as it is.
func TestEqualiseLeaves(t *testing.T) {
	images := normals(8*normedImage, 5, 0.3, 2)
	for name, edit := range map[string][2]string{
		"eight bits":          {"FakeQuant(%n, %s) {bits=4", "FakeQuant(%n, %s) {bits=8"},
		"not quantised":       {"MatMul(%q, %wq)", "MatMul(%n, %wq)"},
		"another reader":      {"%y: f32 = Add(%m, %b)", "%other: f32 = Relu(%n)\n  %y: f32 = Add(%m, %b)\n  output %other"},
		"an output":           {"output %y", "output %y\n  output %n"},
		"channels elsewhere":  {"%t: f32[3,batch,4] = Transpose(%n) {perm=[1, 0, 2]i}\n  %back: f32[batch,3,4] = Transpose(%t) {perm=[1, 0, 2]i}", "%t: f32[batch,4,3] = Transpose(%n) {perm=[0, 2, 1]i}\n  %back: f32[batch,3,4] = Transpose(%t) {perm=[0, 2, 1]i}"},
		"a cut of channels":   {"const %axes: i64[1] = [1]", "const %axes: i64[1] = [2]"},
		"a shared gamma":      {"%y: f32 = Add(%m, %b)", "%y0: f32 = Add(%m, %b)\n  %y1: f32 = LayerNormalization(%x, %gamma, %b3)\n  output %y1\n  %y: f32 = Relu(%y0)"},
		"tokens of elsewhere": {"%q2: f32 = ai.qvitc::FakeQuant(%cut", "%both: f32[batch,5,4] = Concat(%cut, %x) {axis=1}\n  %q2: f32 = ai.qvitc::FakeQuant(%both"},
	} {
		t.Run(name, func(t *testing.T) {
			edits := []string{edit[0], edit[1]}
			if name == "a shared gamma" {
				edits = append(edits, "const %s: f32[] = [0]", "const %s: f32[] = [0]\n  const %b3: f32[4] = rand(9)")
			}
			if name == "a cut of channels" {
				edits = append(edits, "const %w2: f32[4,6]", "const %w2: f32[2,6]", "%cut: f32[batch,2,4]", "%cut: f32[batch,3,2]")
			}
			g := normedGraph(t, edits...)
			was := g.String()
			if n := equalise(t, g, images, CalibrateOptions{}); n != 0 || g.String() != was {
				t.Errorf("%d norms changed: %s", n, g)
			}
		})
	}
}

// A channel without variance, and one that outweighs the rest, have bounded gains.
func TestEqualiseGains(t *testing.T) {
	for _, spread := range [][]float64{{0, 0, 0}, {1, 0, 1e9}, {1, 1e-30, 2}, {5, 5, 5}} {
		for c, r := range gains(spread) {
			if !(r >= 1.0/maxGain && r <= maxGain) {
				t.Errorf("%v: gain %v of channel %d", spread, r, c)
			}
		}
	}
	for _, r := range gains([]float64{5, 5, 5}) {
		if math.Abs(r-1) > 1e-12 {
			t.Errorf("equal channels have gain %v", r)
		}
	}
}

func TestEqualiseRefuses(t *testing.T) {
	images := normals(8*normedImage, 5, 0.3, 2)
	images[normedImage] = float32(math.NaN())
	g := normedGraph(t)
	was := g.String()
	_, err := Equalise(context.Background(), g, SliceBatches(images, normedImage, 7), CalibrateOptions{})
	if !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), "norm") {
		t.Errorf("NaN: %v", err)
	}
	if g.String() != was {
		t.Error("the graph has changed")
	}
	images[normedImage] = 0
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Equalise(done, g, SliceBatches(images, normedImage, 7), CalibrateOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestEqualiseIsDeterministic(t *testing.T) {
	images := normals(50*normedImage, 5, 0.3, 2)
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(0))
	want := ""
	for _, procs := range []int{1, 2, 8} {
		goruntime.GOMAXPROCS(procs)
		for _, chunk := range []int{0, 3} {
			g := normedGraph(t)
			equalise(t, g, images, CalibrateOptions{Chunk: chunk, Threads: procs % 2 * 3})
			if got := g.String(); want == "" {
				want = got
			} else if got != want {
				t.Fatalf("%d processors, chunk %d give another graph", procs, chunk)
			}
		}
	}
}
