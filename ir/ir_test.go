package ir

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

const sample = `graph "mlp" {
  meta "recipe" = "w4a4 \"x\""
  input %x: f32[batch,2]
  const %w: f32[2,3] = [1, 2, -0.5, 1e-10, inf, 3]
  const %idx: i64[2] = [-1, 9223372036854775807]
  const %q: i4[3] = [-8, 7, 0]
  const %"a b:c": str[1] = ["hi\n"]
  const %s: f32[] = [0.25]
  const %h: f16[2] = [0.5, -65504]
  %y: f32[batch,3] = MatMul(%x, %w) @fc1(2) #"blocks.0/fc1"
  %a, _, %b: f32 = my.dom::Split3(%y, _, %idx) {alpha=1f, axis=-1, e=[]f, l=[1, 2]i, name="q", t=i64[2] = [1, 2], z=[]s}
  %c = Foo(%a, %q, %"a b:c", %s, %h)
  output %b
  output %c
}
`

func TestPrintParsePrint(t *testing.T) {
	g, err := Parse(sample, ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := g.String(); got != sample {
		t.Errorf("print differs:\n%s\nwant\n%s", got, sample)
	}
	c, m := g.Clone()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if c.String() != sample {
		t.Error("clone prints differently")
	}
	w := m[g.Value("w")]
	w.Const.F32()[0] = 42
	if g.Value("w").Const.F32()[0] != 1 {
		t.Error("clone shares constant data")
	}
}

func TestDigestConstants(t *testing.T) {
	g, err := Parse("graph \"g\" {\n input %x: f32[40]\n const %w: f32[40] = rand(3)\n %y: f32[40] = Add(%x, %w)\n output %y\n}\n", ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text := g.String()
	if !strings.Contains(text, "sha256:") {
		t.Fatal("large constant printed in full:\n" + text)
	}
	if _, err := Parse(text, ParseOptions{}); err == nil || !strings.Contains(err.Error(), "not at hand") {
		t.Errorf("unknown digest: %v", err)
	}
	w := g.Value("w").Const
	h, err := Parse(text, ParseOptions{Consts: func(d string) *Tensor {
		if d == w.Digest() {
			return w
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if h.String() != text {
		t.Error("digest form does not round-trip")
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "want \"graph\""},
		{"graph \"g\" {", "want \"%\""},
		{"graph \"g\" {\n output %x\n}", "value \"x\" is not defined"},
		{"graph \"g\" { input %x: f99 }", "unknown element type"},
		{"graph \"g\" { const %x: f32[9999999999999] = iota }", "too large"},
		{"graph \"g\" { const %x: f32[2] = [1] }", "want \",\""},
		{"graph \"g\" { input %x: f32 input %x: f32 }", "defined twice"},
		{"graph \"g\" { input %x: f32 %y = (%x) }", "want a name"},
		{"graph \"g\" { } x", "after the graph"},
	} {
		if _, err := Parse(c.text, ParseOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

func TestEdits(t *testing.T) {
	g := New("e")
	x := g.AddInput("x", TensorType(Float32, Shape{Sym("n"), D(4)}))
	a := g.Add("Relu", "a", nil, x)
	b := g.Add("Neg", "b", nil, a.Out())
	g.AddOutput(b.Out())
	// insert between a and b
	m := g.InsertAfter(a, Domain, "Mark", nil, []*Value{a.Out()}, "m")
	b.SetInput(0, m.Out())
	check(t, g)
	// replace the output: the name stays
	r := g.Add("Abs", "r", nil, m.Out())
	g.ReplaceUses(b.Out(), r.Out())
	check(t, g)
	if g.Outputs[0] != r.Out() || r.Out().Name != "b" {
		t.Errorf("output is %q", g.Outputs[0].Name)
	}
	g.Remove(b)
	check(t, g)
	// replacing an output by an input puts an Identity between
	g.ReplaceUses(r.Out(), x)
	g.Remove(r)
	g.Remove(m)
	g.Remove(a)
	check(t, g)
	if g.Len() != 1 || !g.First().Is("Identity") || g.Outputs[0].Name != "b" {
		t.Error("want one Identity:\n" + g.String())
	}
	if g.Unique("x") != "x_3" || g.Unique("zz") != "zz" { // x_2 was the Identity before it took the output's name
		t.Error("Unique")
	}
}

func check(t *testing.T, g *Graph) {
	t.Helper()
	if err := g.Check(); err != nil {
		t.Fatalf("%v\n%s", err, g)
	}
}

func TestSort(t *testing.T) {
	g := New("s")
	x := g.AddInput("x", TensorType(Float32, Known(1)))
	var nodes []*Node
	v := x
	for i := range 50 {
		n := g.Add("Neg", fmt.Sprint("n", i), nil, v)
		nodes = append(nodes, n)
		v = n.Out()
	}
	g.AddOutput(v)
	want := g.String()
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		g.MoveBefore(nodes[r.IntN(50)], nodes[r.IntN(50)])
	}
	if g.Check() == nil {
		t.Fatal("shuffled graph passes Check")
	}
	if !g.Sort() || g.String() != want {
		t.Error("Sort does not restore the chain")
	}
	check(t, g)
	nodes[0].SetInput(0, nodes[3].Out())
	if g.Sort() {
		t.Error("Sort accepts a cycle")
	}
}

func TestCheckFinds(t *testing.T) {
	fresh := func() (*Graph, *Node, *Value) {
		g, err := Parse("graph \"g\" { input %x: f32[2] const %w: f32[2] = [1, 2] %y: f32[2] = Add(%x, %w) %z: f32[2] = Mul(%y, %w) output %z }", ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return g, g.First(), g.Value("w")
	}
	for name, broken := range map[string]func(g *Graph, n *Node, w *Value){
		"empty name":       func(g *Graph, n *Node, w *Value) { n.Out().Name = "" },
		"name twice":       func(g *Graph, n *Node, w *Value) { n.Out().Name = "x" },
		"no operator":      func(g *Graph, n *Node, w *Value) { n.Op = "" },
		"nil attrs":        func(g *Graph, n *Node, w *Value) { n.Attrs = nil },
		"attr kind":        func(g *Graph, n *Node, w *Value) { n.Attrs["a"] = 1 },
		"order":            func(g *Graph, n *Node, w *Value) { g.MoveBefore(n, nil) },
		"const type":       func(g *Graph, n *Node, w *Value) { w.Type.Elem = Int64 },
		"const shape":      func(g *Graph, n *Node, w *Value) { w.Type.Shape = Known(3) },
		"const data":       func(g *Graph, n *Node, w *Value) { w.Const.Shape = []int{5}; w.Type = w.Const.Type() },
		"lost use":         func(g *Graph, n *Node, w *Value) { w.uses = w.uses[:1] },
		"extra use":        func(g *Graph, n *Node, w *Value) { w.uses = append(w.uses, Use{n, 7}) },
		"stale input":      func(g *Graph, n *Node, w *Value) { n.Inputs[0] = w },
		"def pointer":      func(g *Graph, n *Node, w *Value) { n.Out().Def = nil },
		"const and def":    func(g *Graph, n *Node, w *Value) { w.Def = n },
		"no outputs":       func(g *Graph, n *Node, w *Value) { n.Outputs = nil },
		"input with const": func(g *Graph, n *Node, w *Value) { g.Inputs = append(g.Inputs, w) },
		"nil graph output": func(g *Graph, n *Node, w *Value) { g.Outputs[0] = nil },
		"undefined output": func(g *Graph, n *Node, w *Value) { g.Outputs[0] = &Value{Name: "q"} },
		"length":           func(g *Graph, n *Node, w *Value) { g.len++ },
		"list link":        func(g *Graph, n *Node, w *Value) { n.next.prev = nil },
		"name table":       func(g *Graph, n *Node, w *Value) { delete(g.names, "w") },
		"function body":    func(g *Graph, n *Node, w *Value) { g.Functions = []*Function{{Domain: "d", Name: "f"}} },
		"bad function graph": func(g *Graph, n *Node, w *Value) {
			b := New("b")
			b.Outputs = []*Value{{Name: "q"}}
			g.Functions = []*Function{{Domain: "d", Name: "f", Body: b}}
		},
	} {
		g, n, w := fresh()
		check(t, g)
		broken(g, n, w)
		if g.Check() == nil {
			t.Errorf("%s: Check finds nothing", name)
		}
	}
}

func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		f := HalfToFloat(uint16(h))
		if f != f {
			continue
		}
		if got := FloatToHalf(f); got != uint16(h) {
			t.Fatalf("%#04x -> %g -> %#04x", h, f, got)
		}
	}
	for _, c := range []struct {
		f float32
		h uint16
	}{{1 + 1.0/2048, 0x3c00}, {1 + 3.0/2048, 0x3c02}, {65520, 0x7c00}, {65519, 0x7bff}, {1e-9, 0}, {float32(math.Inf(-1)), 0xfc00}, {2.98e-8, 0}, {2.99e-8, 1}} {
		if got := FloatToHalf(c.f); got != c.h {
			t.Errorf("%g -> %#04x, want %#04x", c.f, got, c.h)
		}
	}
}

func TestSizes(t *testing.T) {
	if _, err := NumElems([]int{1 << 30, 1 << 30, 1 << 10}); err == nil {
		t.Error("overflow not seen")
	}
	if n, err := ByteSize([]int{3, 3}, Int2); err != nil || n != 3 {
		t.Errorf("ByteSize = %d, %v", n, err)
	}
	if _, err := NewTensor(Float32, -1); err == nil {
		t.Error("negative dimension accepted")
	}
}

// nested is a graph within a graph, so many in all, by attributes or as bodies of functions.
func nested(graphs int, function bool) string {
	open, end := "%y = If() {a=graph g {", "}}"
	if function {
		open, end = "function d::f graph g {", "}"
	}
	return "graph g {" + strings.Repeat(open, graphs-1) + strings.Repeat(end, graphs-1) + "}"
}

func TestParseNesting(t *testing.T) {
	for _, function := range []bool{false, true} {
		if _, err := Parse(nested(MaxNesting, function), ParseOptions{}); err != nil && strings.Contains(err.Error(), "nest") {
			t.Errorf("%d graphs: %v", MaxNesting, err)
		}
		for _, n := range []int{MaxNesting + 1, 1 << 20} {
			if _, err := Parse(nested(n, function), ParseOptions{}); err == nil || err.Error() != "line 1: graphs nest deeper than 64" {
				t.Errorf("%d graphs: %v", n, err)
			}
		}
	}
	g, err := Parse(nested(MaxNesting, false), ParseOptions{})
	if err != nil || g.Len() != 1 {
		t.Errorf("%d graphs: %v", MaxNesting, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(nested(MaxNesting, false))
	f.Add(nested(MaxNesting+1, true))
	f.Add(sample)
	f.Add("graph \"g\" { const %x: f32[2] = rand(1) output %x }")
	f.Add("graph g { input %x: f32 %y = my::Twice(%x) {by=2} output %y function my::Twice {by} \"doubles\" graph Twice { input %a %b = Add(%a, %a) {k=@\"by\"} output %b } }")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := Parse(text, ParseOptions{})
		if err != nil {
			return
		}
		var b strings.Builder
		if err := g.Print(&b, PrintOptions{MaxElems: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		h, err := Parse(b.String(), ParseOptions{})
		if err != nil {
			t.Fatalf("printed form does not parse: %v\n%s", err, b.String())
		}
		var c strings.Builder
		_ = h.Print(&c, PrintOptions{MaxElems: 1 << 20})
		if b.String() != c.String() {
			t.Fatalf("not stable:\n%s\n%s", b.String(), c.String())
		}
	})
}

func ExampleGraph() {
	g := New("mlp")
	x := g.AddInput("x", TensorType(Float32, Shape{Sym("batch"), D(2)}))
	w := g.AddConst("w", Of([]float32{1, 2}, 2, 1))
	y := g.Add("MatMul", "y", nil, x, w)
	y.Name = "fc"
	g.AddOutput(y.Out())
	if err := g.Check(); err != nil {
		fmt.Println(err)
	}
	fmt.Print(g)
	// Output:
	// graph "mlp" {
	//   input %x: f32[batch,2]
	//   const %w: f32[2,1] = [1, 2]
	//   %y = MatMul(%x, %w) #"fc"
	//   output %y
	// }
}

// TestUniqueIsLinear makes many values of one base name.
func TestUniqueIsLinear(t *testing.T) {
	g := New("u")
	v := g.AddInput("v", TensorType(Float32, Known(1)))
	for range 50_000 {
		v = g.Add("Neg", "v", nil, v).Out()
	}
	if v.Name != "v_50001" {
		t.Errorf("last name %q", v.Name)
	}
}

// A message fills its limit and is cut past it.
func TestMessageLimit(t *testing.T) {
	for n, want := range map[int]int{MaxMessageBytes: MaxMessageBytes, MaxMessageBytes + 1: MaxMessageBytes} {
		e := &Error{File: "m.onnx", Msg: strings.Repeat("x", n-len("m.onnx: "))}
		if got := e.Error(); len(got) != want || strings.HasSuffix(got, "...") != (n > MaxMessageBytes) {
			t.Errorf("%d bytes are printed as %d", n, len(got))
		}
	}
	if got := (&Error{Msg: strings.Repeat("é", MaxMessageBytes)}).Error(); len(got) > MaxMessageBytes || strings.ContainsRune(got, '\ufffd') {
		t.Errorf("a rune was cut: %d bytes", len(got))
	}
}
