package onnxgo

import (
	"errors"
	"math"
	"path/filepath"
	"testing"

	"github.com/owulveryck/onnx-go"
	"google.golang.org/protobuf/proto"
	"gorgonia.org/tensor"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"github.com/qvitc/qvitc/ops"
)

// The traps of onnx-go's decoder that Lower works around. bites says what goes
// wrong with the same graph as onnxio writes it.
var traps = []struct {
	name, graph string
	batch       int
	in          []*ir.Tensor
	bites       func(c *collector, m *onnx.Model, err error) bool
}{
	{"symbolic dimensions are dropped from shapes", `graph "g" {
  input %x: f32[batch,3]
  %y = Neg(%x)
  output %y
}`, 2, []*ir.Tensor{ir.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3)},
		func(c *collector, m *onnx.Model, err error) bool { return m.GetInputTensors()[0].Shape().Dims() == 1 }},

	{"one edge of a repeated operand survives", `graph "g" {
  input %x: f32[batch,2]
  %y = Mul(%x, %x)
  output %y
}`, 1, []*ir.Tensor{ir.Of([]float32{3, -2}, 1, 2)},
		func(c *collector, m *onnx.Model, err error) bool { return c.edges(0) == 1 }},

	{"an operand left out becomes a shared tensor", `graph "g" {
  input %x: f32[batch,3]
  const %max: f32[] = [2]
  %y = Clip(%x, _, %max)
  output %y
}`, 1, []*ir.Tensor{ir.Of([]float32{1, 3, float32(math.Inf(-1))}, 1, 3)},
		func(c *collector, m *onnx.Model, err error) bool { return c.has("") }},

	{"so do axes of Slice and the fill of Pad", `graph "g" {
  input %x: f32[batch,3]
  const %from: i32[1] = [0]
  const %to: i32[1] = [1]
  const %one: i32[1] = [1]
  const %pads: i64[2] = [1, 0]
  const %axis: i64[1] = [1]
  %a = Slice(%x, %from, %to, _, %one)
  %y = Pad(%a, %pads, _, %axis) {mode="constant"}
  output %y
}`, 2, []*ir.Tensor{ir.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3)},
		func(c *collector, m *onnx.Model, err error) bool { return c.has("") }},

	{"a result left out becomes a shared tensor", `graph "g" {
  input %x: f32[batch,4]
  const %k: i64[1] = [2]
  _, %i = TopK(%x, %k)
  output %i
}`, 1, []*ir.Tensor{ir.Of([]float32{1, 7, 3, 5}, 1, 4)},
		func(c *collector, m *onnx.Model, err error) bool { return c.has("") }},

	{"8-bit initializers are refused", `graph "g" {
  input %x: f32[batch,2]
  const %w: i8[2,3] = [1, -2, 3, -128, 127, 0]
  const %s: f32[] = [0.5]
  const %z: u8[] = [200]
  %d = DequantizeLinear(%w, %s)
  %q = QuantizeLinear(%x, %s, %z)
  %e = DequantizeLinear(%q, %s, %z)
  %y = MatMul(%e, %d)
  output %y
}`, 2, []*ir.Tensor{ir.Of([]float32{1, -90, 3.3, 4}, 2, 2)},
		func(c *collector, m *onnx.Model, err error) bool { return errorHas(err, "Unknown type") }},

	{"half-precision initializers are refused", `graph "g" {
  input %x: f32[batch,2]
  const %h: f16[2] = [1.5, -2]
  %f = Cast(%h) {to=1}
  %y = Add(%x, %f)
  output %y
}`, 1, []*ir.Tensor{ir.Of([]float32{1, 2}, 1, 2)},
		func(c *collector, m *onnx.Model, err error) bool { return errorHas(err, "FLOAT16") }},

	{"4-bit initializers are refused", `graph "g" {
  input %x: f32[batch,3]
  const %w: i4[3] = [7, -8, 3]
  const %s: f32[] = [0.5]
  %f = DequantizeLinear(%w, %s)
  %y = Add(%x, %f)
  output %y
}`, 1, []*ir.Tensor{ir.Of([]float32{1, 2, 3}, 1, 3)},
		func(c *collector, m *onnx.Model, err error) bool { return errorHas(err, "Unknown input type: 22") }},

	{"Boolean raw data is misread", `graph "g" {
  input %x: f32[batch,3]
  const %mask: bool[3] = [1, 0, 1]
  const %none: f32[] = [-100]
  %y = Where(%mask, %x, %none)
  output %y
}`, 1, []*ir.Tensor{ir.Of([]float32{1, 2, 3}, 1, 3)},
		func(c *collector, m *onnx.Model, err error) bool { return err != nil }},

	{"empty tensors make it panic", `graph "g" {
  input %x: f32[1]
  const %none: i64[0] = []
  %y = Reshape(%x, %none)
  output %y
}`, 0, []*ir.Tensor{ir.Of([]float32{5}, 1)},
		func(c *collector, m *onnx.Model, err error) bool { return err != nil }},

	{"an output that is an input gets a second node", `graph "g" {
  input %x: f32[batch,2]
  %y = Neg(%x)
  output %y
  output %x
}`, 1, []*ir.Tensor{ir.Of([]float32{1, 2}, 1, 2)},
		func(c *collector, m *onnx.Model, err error) bool { return c.To(m.Input[0]).Len() == 0 }},

	{"an output that is given twice gets a second node", `graph "g" {
  input %x: f32[batch,2]
  %y = Neg(%x)
  output %y
  output %y
}`, 1, []*ir.Tensor{ir.Of([]float32{1, 2}, 1, 2)},
		func(c *collector, m *onnx.Model, err error) bool { return c.From(m.Output[0]).Len() == 0 }},

	{"declared intermediate results take memory", `graph "g" {
  input %x: f32[batch,2]
  const %s: f32[] = [0.5]
  %y = ai.qvitc::FakeQuant(%x, %s) {bits=4, signed=1}
  %z = Neg(%y)
  output %z
}`, 1, []*ir.Tensor{ir.Of([]float32{1, 2.3}, 1, 2)},
		func(c *collector, m *onnx.Model, err error) bool {
			n, _ := m.GetNodeByName("y")
			return n.(*collected).t != nil
		}},
}

func TestTraps(t *testing.T) {
	for _, tc := range traps {
		t.Run(tc.name, func(t *testing.T) {
			g := parse(t, tc.graph)
			if _, err := ops.Infer(g); err != nil {
				t.Fatal(err)
			}
			plain, err := onnxio.Encode(g, onnxio.WriteOptions{MinOpset: 21})
			must(t, err)
			if c, m, err := collect(plain); !tc.bites(c, m, err) {
				t.Errorf("the trap does not bite (%v): is the workaround still needed?", err)
			}
			b, err := Lower(g, tc.batch)
			must(t, err)
			checkDecodes(t, b)
			compare(t, g, b, tc.in...)
		})
	}
}

// Initializers that a file lists among its inputs: onnx-go's SetInput(i) sets
// node i, whatever it is.
func TestTrapInitializerAmongInputs(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[2]
  const %w: f32[2] = [10, 20]
  %y = Sub(%x, %w)
  output %y
}`)
	b, err := onnxio.Encode(g, onnxio.WriteOptions{})
	must(t, err)
	f, err := onnxio.ReadModel(b, onnxio.Options{})
	must(t, err)
	w := proto.Clone(f.Proto.Graph.Input[0]).(*onnxpb.ValueInfoProto)
	w.Name = proto.String("w")
	f.Proto.Graph.Input = append([]*onnxpb.ValueInfoProto{w}, f.Proto.Graph.Input...)
	old, err := f.Bytes()
	must(t, err)

	x := tensor.New(tensor.WithShape(2), tensor.WithBacking([]float32{1, 2}))
	c, m, err := collect(old)
	must(t, err)
	must(t, m.SetInput(0, x))
	if n, _ := m.GetNodeByName("w"); c == nil || n.(*collected).t != x {
		t.Error("the trap does not bite: is the workaround still needed?")
	}
	m = onnx.NewModel(NewBackend())
	must(t, m.UnmarshalBinary(old))
	if err := m.SetInput(0, x); !errorHas(err, `"w"`) || !errorHas(err, "onnxgo.Lower") {
		t.Errorf("our backend took an input for a weight: %v", err)
	}

	g, err = onnxio.Decode(old, onnxio.Options{})
	must(t, err)
	b, err = Lower(g, 0)
	must(t, err)
	checkDecodes(t, b)
	compare(t, g, b, ir.Of([]float32{1, 2}, 2))
}

// External data: the decoder finds none.
func TestTrapExternalData(t *testing.T) {
	g := ir.New("g")
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(1, 512)))
	w := make([]float32, 512)
	for i := range w {
		w[i] = float32(i)
	}
	g.AddOutput(g.Add("Add", "y", nil, x, g.AddConst("w", ir.Of(w, 512))).Out())
	path := filepath.Join(t.TempDir(), "m.onnx")
	must(t, onnxio.Save(path, g, onnxio.WriteOptions{External: true}))
	f, err := onnxio.LoadModel(path, onnxio.Options{})
	must(t, err)
	plain, err := f.Bytes()
	must(t, err)
	if _, _, err := collect(plain); !errorHas(err, "No data found") {
		t.Errorf("the trap does not bite: %v", err)
	}
	loaded, err := onnxio.Load(path, onnxio.Options{})
	must(t, err)
	b, err := Lower(loaded, 1)
	must(t, err)
	checkDecodes(t, b)
	compare(t, g, b, ir.Of(w, 1, 512))
}

// Functions: the decoder drops their bodies.
func TestTrapFunction(t *testing.T) {
	body := ir.New("Twice")
	in := body.AddInput("v", ir.Type{})
	body.AddOutput(body.Add("Mul", "w", nil, in, body.AddConst("two", ir.Scalar(float32(2)))).Out())
	outer := ir.New("Four")
	u := outer.AddInput("v", ir.Type{})
	one := outer.InsertBefore(nil, "com.acme", "Twice", nil, []*ir.Value{u}, "w")
	outer.AddOutput(outer.InsertBefore(nil, "com.acme", "Twice", nil, one.Outputs, "z").Out())
	g := ir.New("g")
	g.Functions = []*ir.Function{{Domain: "com.acme", Name: "Twice", Body: body}, {Domain: "com.acme", Name: "Four", Body: outer}}
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(2)))
	y := g.InsertBefore(nil, "com.acme", "Four", nil, []*ir.Value{x}, "y").Out()
	y.Type = x.Type
	g.AddOutput(y)

	plain, err := onnxio.Encode(g, onnxio.WriteOptions{})
	must(t, err)
	if c, _, err := collect(plain); err != nil || c.ops[0].Name != "Four" {
		t.Errorf("the trap does not bite: %v", err)
	}
	var missing *onnx.ErrNotImplemented
	if err := onnx.NewModel(NewBackend()).UnmarshalBinary(plain); !errors.As(err, &missing) || missing.Operator != "Four" {
		t.Errorf("our backend should not know the operator: %v", err)
	}
	b, err := Lower(g, 0)
	must(t, err)
	checkDecodes(t, b)
	compare(t, g, b, ir.Of([]float32{1, 2}, 2))

	g.Functions = g.Functions[:1]
	g.Functions[0].Body = outer // calls itself
	g.Functions[0].Name = "Twice"
	g.First().Op = "Twice"
	if _, err := Lower(g, 0); !errorHas(err, "calls itself") {
		t.Errorf("a function that calls itself: %v", err)
	}
}

// Domains are lost: a Softmax of another domain must not run as ONNX's.
func TestTrapDomain(t *testing.T) {
	g := parse(t, `graph "g" {
  input %x: f32[2]
  %y: f32[2] = com.acme::Softmax(%x)
  output %y
}`)
	plain, err := onnxio.Encode(g, onnxio.WriteOptions{})
	must(t, err)
	if c, _, err := collect(plain); err != nil || c.ops[0].Name != "Softmax" {
		t.Errorf("the trap does not bite: %v", err)
	}
	if _, err := Lower(g, 0); !errorHas(err, `"com.acme"`) || !errorHas(err, `"y"`) {
		t.Errorf("want the node and the domain named: %v", err)
	}
}

// Opsets are lost: the same Softmax node means two things.
func TestTrapOpset(t *testing.T) {
	const rows, cols = 2, 3
	in := ir.Of([]float32{1, 2, 3, 4, 5, 6}, 1, rows, cols)
	text := `graph "g" {
  input %x: f32[1,2,3]
  %y = Softmax(%x) {axis=1}
  output %y
}`
	g := parse(t, text)
	plain, err := onnxio.Encode(g, onnxio.WriteOptions{MinOpset: 13})
	must(t, err)
	if _, err := through(plain, in); !errorHas(err, "opset") || !errorHas(err, "onnxgo.Lower") {
		t.Errorf("a Softmax of unknown opset ran: %v", err)
	}
	f, err := onnxio.ReadModel(plain, onnxio.Options{})
	must(t, err)
	f.Proto.OpsetImport[0].Version = proto.Int64(11) // now over both axes together
	old, err := f.Bytes()
	must(t, err)
	g11, err := onnxio.Decode(old, onnxio.Options{})
	must(t, err)
	for _, g := range []*ir.Graph{g, g11} {
		b, err := Lower(g, 0)
		must(t, err)
		checkDecodes(t, b)
		compare(t, g, b, in)
	}
	// an attribute of an older form cannot be mistaken
	sum := parse(t, `graph "g" {
  input %x: f32[1,2,3]
  const %a: i64[1] = [2]
  %y = ReduceSum(%x, %a)
  output %y
}`)
	plain, err = onnxio.Encode(sum, onnxio.WriteOptions{})
	must(t, err)
	if _, err := through(plain, in); !errorHas(err, "axes") || !errorHas(err, "onnxgo.Lower") {
		t.Errorf("ReduceSum of opset 11: %v", err)
	}
}

// What has no form in onnx-go is named.
func TestLowerRefuses(t *testing.T) {
	branch := func(op string) *ir.Graph {
		b := ir.New(op)
		b.AddOutput(b.Add(op, "r", ir.Attrs{"value": ir.Of([]float32{1}, 1)}, b.AddConst("n", ir.Of([]int64{1}, 1))).Out())
		return b
	}
	withIf := ir.New("g")
	cond := withIf.AddInput("c", ir.TensorType(ir.Bool, ir.Shape{}))
	withIf.AddOutput(withIf.Add("If", "y", ir.Attrs{"then_branch": branch("ConstantOfShape"), "else_branch": branch("ConstantOfShape")}, cond).Out())
	for _, tc := range []struct {
		name  string
		g     *ir.Graph
		batch int
		want  []string
	}{
		{"subgraph", withIf, 0, []string{`"y"`, "subgraph"}},
		{"no batch", parse(t, "graph g { input %x: f32[n,2] %y = Neg(%x) output %y }"), 0, []string{`"x"`, "batch"}},
		{"second symbol", parse(t, "graph g { input %x: f32[n,m] %y = Neg(%x) output %y }"), 2, []string{`"x"`, "dimension 1"}},
		{"other fixed batch", parse(t, "graph g { input %x: f32[3,2] %y = Neg(%x) output %y }"), 2, []string{`"x"`, "3", "2"}},
		{"no shape", parse(t, "graph g { input %x: f32 %y = Neg(%x) output %y }"), 2, []string{`"x"`, "shape"}},
		{"half input", parse(t, "graph g { input %x: f16[2] %y = Neg(%x) output %y }"), 0, []string{`"x"`, "f16"}},
		{"data-dependent output", parse(t, "graph g { input %x: f32[2] %y = NonZero(%x) output %y }"), 0, []string{`"y"`, "not known"}},
		{"empty output", parse(t, "graph g { input %x: f32[2] const %n: i64[1] = [2] const %e: i64[1] = [5] %y = Slice(%x, %n, %e) output %y }"), 0, []string{`"y"`, "no elements"}},
		{"strings", parse(t, `graph g { input %x: str[2] const %s: str[1] = ["a"] %y = Equal(%x, %s) output %y }`), 0, []string{`"s"`, "strings"}},
		{"tensor attribute", parse(t, "graph g { const %n: i64[1] = [2] %y = ConstantOfShape(%n) {value=u8[1] = [3]} output %y }"), 0, []string{`"y"`, `"value"`, "u8"}},
		{"name of the marker", parse(t, "graph g { input %x: f32[2] %ai.qvitc.opset = Neg(%x) output %ai.qvitc.opset }"), 0, []string{marker}},
	} {
		before := tc.g.String()
		_, err := Lower(tc.g, tc.batch)
		for _, w := range tc.want {
			if !errorHas(err, w) {
				t.Errorf("%s: want %s named: %v", tc.name, w, err)
			}
		}
		if tc.g.String() != before {
			t.Errorf("%s: the graph was changed", tc.name)
		}
	}
}
