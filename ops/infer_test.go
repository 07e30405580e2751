package ops

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/qvitc/qvitc/ir"
)

func parse(t testing.TB, text string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse(text, ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Shape arithmetic as exporters leave it behind, with a dynamic batch.
func TestInferFollowsShapes(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[batch,8,8,96]
  const %zero: i64[] = [0]
  const %axis0: i64[1] = [0]
  const %four: i64[] = [4]
  const %windows: i64[5] = [2,4,2,4,96]
  const %m1: i64[1] = [-1]
  const %tail: i64[3] = [4,4,96]
  const %ninety6: i64[1] = [96]
  const %one: i64[] = [1]
  const %cls: f32[1,1,96] = fill(1)
  const %k: i64[3] = [-1,-1,96]
  const %neg: i64[] = [-1]
  %s = Shape(%x)
  %b = Gather(%s, %zero) {axis=0}
  %b1 = Unsqueeze(%b, %axis0)
  %t1 = Concat(%b1, %windows) {axis=0}
  %p = Reshape(%x, %t1)
  %q = Transpose(%p) {perm=[0,1,3,2,4,5]}
  %t2 = Concat(%m1, %tail) {axis=0}
  %w = Reshape(%q, %t2)
  %ws = Shape(%w) {end=1, start=0}
  %bb = Div(%ws, %four)
  %f = Cast(%ws) {to=1}
  %fb = Cast(%f) {to=7}
  %t3 = Concat(%bb, %windows) {axis=0}
  %r = Reshape(%w, %t3)
  %n = Mul(%b, %four)
  %rng = Range(%zero, %n, %one)
  %t4 = Concat(%b1, %m1, %ninety6) {axis=0}
  %sh = Shape(%t4)
  %ones = ConstantOfShape(%sh) {value=i64[1] = [1]}
  %minus = Mul(%ones, %neg)
  %eq = Equal(%t4, %minus)
  %t5 = Where(%eq, %ones, %t4)
  %e = Expand(%cls, %t5)
  %odd = Mod(%n, %four)
  output %r
  output %rng
  output %e
  output %odd
  output %fb
}`)
	facts, err := Infer(g)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"p": "f32[batch,2,4,2,4,96]", "w": `f32["4*batch",4,4,96]`, "r": "f32[batch,2,4,2,4,96]",
		"rng": `i64["4*batch"]`, "e": "f32[batch,1,96]",
	} {
		if got := facts[g.Value(name)].Type.String(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if got := g.Value(name).Type.String(); got != want {
			t.Errorf("%s: the value has type %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"s": "[batch 8 8 96]", "b": "[batch]", "bb": "[batch]", "fb": `["4*batch"]`, "odd": "[0]", "eq": "[0 1 0]",
		"t5": "[batch 1 96]", "t4": "[batch ? 96]",
	} {
		if got := fmt.Sprint(facts[g.Value(name)].Ints); got != want {
			t.Errorf("content of %s: %s, want %s", name, got, want)
		}
	}
	if c := facts[g.Value("minus")].Const; c == nil || c.Int(0) != -1 {
		t.Errorf("the content of minus is not known: %v", c)
	}
}

func TestInferErrors(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"input %x: f32[1,4]\n const %w: f32[5,8] = fill(0)\n %y = MatMul(%x, %w) #\"fc\"\n output %y", `node "fc" (MatMul): inner dimensions 4 and 5 differ`},
		{"input %x: f32[1,8]\n %h: f32[1,9] = Relu(%x)\n output %h", `tensor "h": declared f32[1,9], inferred f32[1,8]`},
		{"input %x: f32[1,8]\n %h: i64[1,8] = Relu(%x)\n output %h", `tensor "h": declared i64[1,8], inferred f32[1,8]`},
		{"input %x: f32[a,8]\n const %t: i64[2] = [-1,-1]\n %y = Reshape(%x, %t) #\"r\"\n output %y", "more than one -1"},
		{"input %x: f32[a,8]\n const %t: i64[2] = [-1,3]\n %y = Reshape(%x, %t)\n output %y", ""}, // a may be a multiple of 3
		{"input %x: f32[a,4]\n input %z: f32[b,5]\n %y = Add(%x, %z) #\"add\"\n output %y", `node "add" (Add): shapes [a,4] and [b,5] do not broadcast`},
		{"const %n: i64[2] = [1000000,1000000]\n %y = ConstantOfShape(%n) #\"bomb\"\n output %y", `node "bomb" (ConstantOfShape): the result is too large`},
		{"input %x: f32[2]\n %y = Relu(%x) {alpha=1} #\"r\"\n output %y", `node "r" (Relu): has no attribute "alpha"`},
		{"input %x: f32[2]\n %y = Relu(%x, %x) #\"r\"\n output %y", `has 2 inputs, wants 1`},
		{"input %x: f32[2]\n %y = my.domain::Strange(%x)\n output %y", ""},
		{"input %x: f32\n %y = Softmax(%x)\n output %y", ""},
	} {
		_, err := Infer(parse(t, "graph \"g\" {\n"+c.body+"\n}"))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.body, err, c.want)
		}
	}
}

// A declared type fills in what inference cannot know.
func TestInferKeepsDeclarations(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[2,3]
  %u: f32[n,7] = my.domain::Strange(%x)
  %y = Relu(%u)
  output %y
}`)
	if _, err := Infer(g); err != nil {
		t.Fatal(err)
	}
	if got := g.Value("y").Type.String(); got != "f32[n,7]" {
		t.Errorf("y is %s", got)
	}
}

func TestInferIsLinear(t *testing.T) {
	g := ir.New("chain")
	v := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(8)}))
	for k := range 10000 {
		v = g.Add("Identity", fmt.Sprint("i", k), nil, v).Out()
		v = g.Add("Relu", fmt.Sprint("r", k), nil, v).Out()
	}
	s := g.Add("Shape", "s", nil, v).Out()
	for k := range 5000 {
		s = g.Add("Mul", fmt.Sprint("m", k), nil, s, s).Out()
	}
	g.AddOutput(v)
	g.AddOutput(s)
	start := time.Now()
	if _, err := Infer(g); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 20*time.Second { // a tenth of a second, or minutes where it is not linear
		t.Errorf("25,000 nodes took %v", d)
	}
}

func TestSubst(t *testing.T) {
	text := `graph "g" {
  input %x: f32["batch",4]
  input %z: f32["2*batch",4]
  %y: f32["batch",4] = Relu(%x)
  %u: f32["batch",4] = my.domain::Strange(%x)
  output %y
  output %u
  output %z
}`
	g := parse(t, text)
	if err := Subst(g, map[string]int{"batch": 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := Infer(g); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"x": "f32[3,4]", "z": "f32[6,4]", "y": "f32[3,4]", "u": "f32[3,4]"} {
		if got := g.Value(name).Type.String(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for dims, want := range map[string]string{"size": "no graph input has a dimension named", "batch": "cannot be 0"} {
		if err := Subst(parse(t, text), map[string]int{dims: 0}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", dims, err, want)
		}
	}
}

func TestMACs(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[2,17,96]
  input %i: f32[1,3,32,32]
  input %d: f32[batch,96]
  const %w: f32[96,288] = fill(0)
  const %k: f32[48,3,8,8] = fill(0)
  const %s: f32[96] = fill(1)
  %a = MatMul(%x, %w)
  %c = Conv(%i, %k) {strides=[8,8]}
  %l = LayerNormalization(%x, %s)
  %r = Relu(%x)
  %u = MatMul(%d, %w)
  output %a
  output %c
  output %l
  output %r
  output %u
}`)
	if _, err := Infer(g); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"a": 2 * 17 * 96 * 288, "c": 48 * 16 * 192, "l": 2 * 2 * 17 * 96, "r": 0} {
		if got, ok := MACs(g.Value(name).Def); !ok || got != want {
			t.Errorf("%s: %d %v, want %d", name, got, ok, want)
		}
	}
	if n, ok := MACs(g.Value("u").Def); ok {
		t.Errorf("a symbolic batch gives %d", n)
	}
}

// BenchmarkInfer is one run over residual blocks with a symbolic batch.
func BenchmarkInfer(b *testing.B) {
	g := ir.New("blocks")
	v := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(17), ir.D(96)}))
	scale := g.AddConst("scale", ir.Of(make([]float32, 96), 96))
	for k := range 2500 {
		n := g.Add("LayerNormalization", fmt.Sprint("n", k), nil, v, scale).Out()
		r := g.Add("Relu", fmt.Sprint("r", k), nil, n).Out()
		t := g.Add("Transpose", fmt.Sprint("t", k), ir.Attrs{"perm": []int64{0, 2, 1}}, r).Out()
		u := g.Add("Transpose", fmt.Sprint("u", k), ir.Attrs{"perm": []int64{0, 2, 1}}, t).Out()
		v = g.Add("Add", fmt.Sprint("a", k), nil, v, u).Out()
	}
	g.AddOutput(v)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Infer(g); err != nil {
			b.Fatal(err)
		}
	}
}
