package passes

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// goldenIn is the input graph of a golden file.
func goldenIn(t testing.TB, file string) *ir.Graph {
	t.Helper()
	a, err := txtar.ParseFile("testdata/" + file + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		if f.Name == "in" {
			return parse(t, string(f.Data))
		}
	}
	t.Fatal("no part \"in\"")
	return nil
}

// A name that was begun is completed before names that merely look alike.
func TestNearest(t *testing.T) {
	names := []string{"drop-dead", "fuse-gelu", "fuse-layernorm", "fold-constants", "gelu"}
	for s, want := range map[string]string{"fuse": "fuse-gelu fuse-layernorm", "fold": "fold-constants gelu", "gelo": "gelu", "": "gelu drop-dead"} {
		if got := strings.Join(Nearest(s, names, 2), " "); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

// A convolution in a block merges patches when it reads each once.
func TestRegroups(t *testing.T) {
	for _, c := range []struct {
		kernel, stride, group int
		want                  bool
	}{{2, 2, 1, true}, {3, 1, 1, false}, {3, 2, 1, false}, {1, 1, 1, false}, {3, 1, 8, false}, {2, 2, 8, false}} {
		g := ir.New("g")
		x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(1, 8, 8, 8)))
		w := g.AddConst("w", ir.Of(make([]float32, 8*8/c.group*c.kernel*c.kernel), 8, 8/c.group, c.kernel, c.kernel))
		n := g.Add("Conv", "y", ir.Attrs{"strides": ir.Int64s(c.stride, c.stride), "group": int64(c.group)}, x, w)
		if got := regroups(n); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// Only leaves the layers that it does not name in float; Exclude comes after it.
func TestOnly(t *testing.T) {
	g := goldenIn(t, "insert-irm/off-must-not-fire")
	p := DefaultPlan(3, 2)
	p.Only = []string{"role:qkv", "blocks.0.attn.scores"}
	p.Exclude = []string{"role:qkv"}
	layers, err := p.Resolve(g)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if quantised := !l.Float(); quantised != (l.Name == "blocks.0.attn.scores") {
			t.Errorf("%s: w%d a%d", l.Name, l.Weights, l.Acts)
		}
	}
	p.Only = []string{"role:head"}
	if _, err := p.Resolve(g); err == nil || !strings.Contains(err.Error(), "no layer matches") {
		t.Error(err)
	}
}

func TestDescribe(t *testing.T) {
	g := goldenIn(t, "insert-irm/off-must-not-fire")
	p := DefaultPlan(3, 2)
	p.Exclude = []string{"blocks.0.attn.context"}
	p.Overrides = []Override{{Match: "role:proj", Weights: 8}}
	got, err := p.Describe(g)
	if err != nil {
		t.Fatal(err)
	}
	want := `layer                  role         block  weights   acts
blocks.0.attn.qkv      qkv              0        3      2
blocks.0.attn.scores   scores           0        -      2
blocks.0.attn.context  context          0        -  float
blocks.0.attn.proj     proj             0        8      2
irm off, 4 layers, 1 of them in float
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPlanErrors(t *testing.T) {
	g := goldenIn(t, "insert-irm/off-must-not-fire")
	for _, c := range []struct {
		change func(*Plan)
		want   string
		hint   string
	}{
		{func(p *Plan) { p.Weights = 1 }, "weights: 1 bits", ""},
		{func(p *Plan) { p.Last = 0 }, "last: 0 bits", ""},
		{func(p *Plan) { p.IRM = "" }, `irm ""`, ""},
		{func(p *Plan) { p.Overrides = []Override{{Match: "role:proj", Acts: 16}} }, `override "role:proj": 16 bits`, ""},
		{func(p *Plan) { p.Overrides = []Override{{Match: "role:porj", Acts: 8}} }, `no layer matches "role:porj"`, "nearest: role:proj"},
		{func(p *Plan) { p.Exclude = []string{"blocks.0.attn.quv"} }, "no layer matches", "nearest: blocks.0.attn.qkv"},
		{func(p *Plan) { p.Exclude = []string{"op:Conv"} }, "no layer matches", "nearest: op:MatMul"},
		{func(p *Plan) { p.Exclude = []string{"blocks.[.x"} }, "bad glob", ""},
	} {
		p := DefaultPlan(4, 4)
		c.change(&p)
		_, err := p.Resolve(g)
		var e *ir.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(e.Hint, c.hint) {
			t.Errorf("got %v, want %q and hint %q", err, c.want, c.hint)
		}
	}
}

func TestMatchGlob(t *testing.T) {
	for _, c := range []struct {
		glob, name string
		want       bool
	}{
		{"blocks.3", "blocks.3.attn.qkv", true}, {"blocks.3", "blocks.31.attn", false},
		{"blocks.*.attn.qkv", "blocks.3.attn.qkv", true}, {"blocks.*.qkv", "blocks.3.attn.qkv", false},
		{"**.qkv", "blocks.3.attn.qkv", true}, {"blocks.**", "blocks.3.attn.qkv", true}, {"**", "head", true},
		{"blocks.[0-2].*.fc?", "blocks.1.mlp.fc2", true}, {"blocks.[0-2].*.fc?", "blocks.3.mlp.fc2", false},
		{"head", "head", true}, {"head", "header", false}, {"*", "a.b", false},
	} {
		if got, err := MatchGlob(c.glob, c.name); got != c.want || err != nil {
			t.Errorf("%q, %q: %v, %v", c.glob, c.name, got, err)
		}
	}
}

func TestLayerName(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[1,2]
  const %w: f32[2,2] = rand(1)
  const %blocks.3.attn.qkv.bias: f32[2] = rand(2)
  const %sa.in_proj_bias: f32[2] = rand(2)
  const %shared.bias: f32[2] = rand(2)
  const %head.weight: f32[2,2] = rand(3)
  %a = MatMul(%x, %w) #"node_linear_5"
  %ab = Add(%a, %blocks.3.attn.qkv.bias)
  %b = MatMul(%x, %w) #"/enc/enc.0/sa/MatMul"
  %bb = Add(%b, %sa.in_proj_bias)
  %c = MatMul(%x, %w) #"/blocks/blocks.0/mlp/fc1/MatMul"
  %cb = Add(%c, %shared.bias)
  %d = MatMul(%x, %w)
  %db = Add(%d, %shared.bias)
  %e = MatMul(%x, %head.weight)
  %f = Softmax(%e) @probs(2)
  %s = Sum(%ab, %bb, %cb, %db, %f)
  output %s
}`)
	want := map[string]string{"a": "blocks.3.attn.qkv", "b": "sa.in_proj", "c": "blocks.0.mlp.fc1", "d": "d", "e": "head", "f": "block2.probs"}
	for v, name := range want {
		if got := LayerName(g.Value(v).Def); got != name {
			t.Errorf("%s: %q, want %q", v, got, name)
		}
	}
}

// TestTaps finds the same places in the teacher and in the student.
func TestTaps(t *testing.T) {
	teacher := goldenIn(t, "insert-irm/off-must-not-fire")
	for _, irm := range []string{IRMOff, IRMLayerNorm, IRMRescale} {
		student, _ := teacher.Clone()
		p := DefaultPlan(4, 4)
		p.IRM = irm
		d := Driver{Check: true, ReproDir: t.TempDir()}
		if _, err := d.Run(student, Quantize(p)); err != nil {
			t.Fatal(err)
		}
		if _, err := ops.Infer(teacher); err != nil {
			t.Fatal(err)
		}
		a, b := Taps(teacher), Taps(student)
		if len(a) != 1 || len(b) != 1 {
			t.Fatalf("%s: %d and %d taps", irm, len(a), len(b))
		}
		if b[0].Heads != 2 || b[0].Dim != 2 || b[0].Block != 0 {
			t.Errorf("%s: %+v", irm, b[0])
		}
		for i, pair := range [][2]*ir.Value{{a[0].Q, b[0].Q}, {a[0].K, b[0].K}, {a[0].V, b[0].V}, {a[0].Probs, b[0].Probs}} {
			if pair[0].Type.String() != pair[1].Type.String() || quantised(pair[1]) {
				t.Errorf("%s: tap %d: %v and %v", irm, i, pair[0].Type, pair[1].Type)
			}
		}
		switch q := b[0].Q; {
		case irm == IRMOff && q.Name != a[0].Q.Name:
			t.Errorf("q is %q", q.Name)
		case irm != IRMOff && (q.Def.Role.Kind != ir.RoleIRMQ || b[0].K.Def.Role.Kind != ir.RoleIRMK):
			t.Errorf("%s: q has role %q, k %q", irm, q.Def.Role.Kind, b[0].K.Def.Role.Kind)
		}
	}
}
