package zoo_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/runtime"
	"github.com/qvitc/qvitc/zoo"
)

func draw(t *testing.T, m zoo.Model) *ir.Graph {
	t.Helper()
	g, err := m.Graph(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	return g
}

// roles counts the roles that the Clean passes find.
func roles(t *testing.T, g *ir.Graph) map[string]int {
	t.Helper()
	res, err := (&passes.Driver{Check: true}).Run(g, passes.Clean)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range res.Steps {
		for _, n := range s.Report.Notes {
			t.Errorf("%s: %v", s.Pass, n)
		}
	}
	count := map[string]int{}
	for n := range g.Nodes() {
		if n.Role.Kind != "" {
			count[n.Role.Kind]++
		}
	}
	return count
}

var (
	smallDeiT = zoo.DeiT{Dim: 24, Depth: 3, Heads: 3, Patch: 4, Image: 16, Channels: 3, Classes: 10}
	smallSwin = zoo.Swin{Dim: 12, Depths: []int{2, 2}, Heads: []int{3, 6}, Window: 4, Patch: 2, Image: 32, Channels: 3, Classes: 10}
)

func TestEveryRoleIsRecognised(t *testing.T) {
	block := []string{ir.RoleQKV, ir.RoleScores, ir.RoleProbs, ir.RoleContext, ir.RoleProj, ir.RoleFC1, ir.RoleFC2, ir.RoleAct}
	for _, c := range []struct {
		name   string
		model  zoo.Model
		blocks int
		norms  int
		merges int
	}{{"deit", smallDeiT, 3, 7, 0}, {"swin", smallSwin, 4, 11, 1}} {
		t.Run(c.name, func(t *testing.T) {
			g := draw(t, c.model)
			have := roles(t, g)
			want := map[string]int{ir.RolePatchEmbed: 1, ir.RoleHead: 1, ir.RoleNorm: c.norms}
			for _, r := range block {
				want[r] = c.blocks
			}
			if c.merges > 0 {
				want[ir.RoleMerge] = c.merges
			}
			if fmt.Sprint(have) != fmt.Sprint(want) {
				t.Errorf("roles %v, want %v", have, want)
			}
			for n := range g.Nodes() {
				if n.Role.Kind == ir.RoleQKV && !strings.HasSuffix(passes.LayerName(n), ".attn.qkv") {
					t.Errorf("the qkv layer is called %q", passes.LayerName(n))
				}
			}
		})
	}
}

// The file says the same as the graph, for the oracle and for the runtime, and
// the numbers are of a useful size.
func TestSavedModelRuns(t *testing.T) {
	for name, m := range map[string]zoo.Model{"deit": smallDeiT, "swin": smallSwin} {
		t.Run(name, func(t *testing.T) {
			g := draw(t, m)
			b, err := onnxio.Encode(g, onnxio.WriteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			back, err := onnxio.Decode(b, onnxio.Options{})
			if err != nil {
				t.Fatal(err)
			}
			shape, _ := g.Inputs[0].Type.Shape[1:].Ints()
			x, _ := ir.NewTensor(ir.Float32, append([]int{2}, shape...)...)
			r := rand.New(rand.NewPCG(1, 1))
			for i := range x.F32() {
				x.F32()[i] = float32(r.NormFloat64())
			}
			in := map[string]*ir.Tensor{"input": x}
			want, err := ops.EvalGraph(back, in)
			if err != nil {
				t.Fatal(err)
			}
			s, err := runtime.NewSession(g, runtime.Options{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			have, err := s.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			var sum float64
			for i, v := range have["logits"].F32() {
				if d := math.Abs(float64(v) - want["logits"].Float(i)); d > 1e-4 {
					t.Fatalf("logit %d differs by %v", i, d)
				}
				sum += float64(v) * float64(v)
			}
			if rms := math.Sqrt(sum / 20); rms < 0.3 || rms > 3 {
				t.Errorf("logits have size %.2f, want about 1", rms)
			}
		})
	}
}

// Attention of an untrained network is neither uniform nor one-hot.
func TestAttentionIsNotDegenerate(t *testing.T) {
	g := draw(t, zoo.DeiT{Dim: 48, Depth: 4, Heads: 3, Patch: 4, Image: 32, Channels: 3, Classes: 10})
	x, _ := ir.NewTensor(ir.Float32, 1, 3, 32, 32)
	r := rand.New(rand.NewPCG(2, 2))
	for i := range x.F32() {
		x.F32()[i] = float32(r.NormFloat64())
	}
	all, err := ops.EvalAll(g, map[string]*ir.Tensor{"input": x})
	if err != nil {
		t.Fatal(err)
	}
	for n := range g.Nodes() {
		if !n.Is("Softmax") {
			continue
		}
		p := all[n.Out()].F32()
		rows, bits := len(p)/65, 0.0
		for _, v := range p {
			bits -= float64(v) * math.Log2(float64(v))
		}
		if bits /= float64(rows); bits < 3 || bits > 5.9 { // uniform is 6.02
			t.Errorf("%s: entropy %.2f bits of %.2f", n.Name, bits, math.Log2(65))
		}
	}
}

func TestSeedDecidesTheWeights(t *testing.T) {
	bytes := func(seed uint64) string {
		m := smallDeiT
		m.Seed = seed
		b, err := onnxio.Encode(draw(t, m), onnxio.WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if bytes(3) != bytes(3) {
		t.Error("one seed gives two files")
	}
	if bytes(3) == bytes(4) {
		t.Error("two seeds give one file")
	}
}

// The published parameter and MAC counts.
func TestPresetSizes(t *testing.T) {
	want := map[string][2]float64{"deit-tiny": {5.7e6, 1.25e9}, "deit-small": {22e6, 4.6e9}, "swin-tiny": {28.3e6, 4.5e9}}
	for _, name := range zoo.Presets() {
		w, ok := want[name]
		if !ok || testing.Short() && name != "deit-tiny" {
			continue
		}
		m, err := zoo.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		g := draw(t, m)
		params, macs := 0, int64(0)
		for _, v := range g.Consts() {
			if v.Const.Elem == ir.Float32 && !strings.HasSuffix(v.Name, "mask") {
				params += v.Const.Len()
			}
		}
		one := g.Inputs[0]
		one.Type.Shape = slices.Clone(one.Type.Shape)
		one.Type.Shape[0] = ir.D(1)
		if _, err := ops.Infer(g); err != nil {
			t.Fatal(err)
		}
		for n := range g.Nodes() {
			if k, ok := ops.MACs(n); ok {
				macs += k
			}
		}
		if r := float64(params) / w[0]; r < 0.98 || r > 1.05 {
			t.Errorf("%s has %d parameters, want about %.3g", name, params, w[0])
		}
		if r := float64(macs) / w[1]; r < 0.95 || r > 1.05 {
			t.Errorf("%s takes %d multiply-accumulates, want about %.3g", name, macs, w[1])
		}
	}
}

func TestSizesThatDoNotFit(t *testing.T) {
	deit := func(f func(*zoo.DeiT)) zoo.Model { m := smallDeiT; f(&m); return m }
	swin := func(f func(*zoo.Swin)) zoo.Model { m := smallSwin; f(&m); return m }
	for _, c := range []struct {
		m    zoo.Model
		want string
	}{
		{deit(func(m *zoo.DeiT) { m.Heads = 5 }), "dim 24 cannot be divided into 5 heads"},
		{deit(func(m *zoo.DeiT) { m.Patch = 5 }), "an image of 16 pixels cannot be cut into patches of 5"},
		{deit(func(m *zoo.DeiT) { m.Depth = 0 }), "depth 0: want 1 to 1024"},
		{deit(func(m *zoo.DeiT) { m.MLP = math.NaN() }), "mlp NaN: want a ratio above 0, at most 64"},
		{deit(func(m *zoo.DeiT) { m.Dim, m.Heads, m.Depth = 16384, 1, 1024 }), "parameters: want at most"},
		{swin(func(m *zoo.Swin) { m.Heads = []int{3} }), "2 depths and 1 heads"},
		{swin(func(m *zoo.Swin) { m.Window = 5 }), "stage 0: a map of 16 x 16 cannot be cut into windows of 5"},
		{swin(func(m *zoo.Swin) { m.Patch, m.Image = 2, 30 }), "stage 0: a map of 15 x 15"},
		{swin(func(m *zoo.Swin) { m.Heads = []int{3, 7} }), "stage 1: width 24 cannot be divided into 7 heads"},
	} {
		if _, err := c.m.Graph(context.Background()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	if _, err := zoo.Preset("vgg"); err == nil {
		t.Error("there is a vgg")
	}
}

func Example() {
	g, err := zoo.DeiT{Dim: 24, Depth: 1, Heads: 3, Patch: 4, Image: 16, Channels: 3, Classes: 10, Seed: 7}.Graph(context.Background())
	if err != nil {
		panic(err)
	}
	for n := range g.Nodes() {
		if strings.HasPrefix(n.Name, "/blocks/0/attn/") && n.Op == "MatMul" {
			fmt.Println(n.Name, n.Out().Type)
		}
	}
	// Output:
	// /blocks/0/attn/qkv/MatMul f32[batch,17,72]
	// /blocks/0/attn/MatMul f32[batch,3,17,17]
	// /blocks/0/attn/MatMul f32[batch,3,17,8]
	// /blocks/0/attn/proj/MatMul f32[batch,17,24]
}
