package onnxio

import (
	"math"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// mlp is the sound model that the table below breaks:
// y = Relu(MatMul(x, W) + b), x of shape [1,4], W [4,8].
func mlp() *onnxpb.ModelProto {
	f := func(name string, dims ...int) *onnxpb.ValueInfoProto {
		return valueInfo(name, ir.TensorType(ir.Float32, ir.Known(dims...)))
	}
	return &onnxpb.ModelProto{
		IrVersion: ptr(int64(8)), OpsetImport: []*onnxpb.OperatorSetIdProto{opsetID("", 17)},
		Graph: &onnxpb.GraphProto{
			Name: ptr("g"), Input: []*onnxpb.ValueInfoProto{f("x", 1, 4)}, Output: []*onnxpb.ValueInfoProto{f("y", 1, 8)},
			Initializer: []*onnxpb.TensorProto{tensorOut("W", ir.Of(make([]float32, 32), 4, 8)), tensorOut("b", ir.Of(make([]float32, 8), 8))},
			Node:        []*onnxpb.NodeProto{node("fc", "MatMul", "x W", "h"), node("bias", "Add", "h b", "s"), node("act", "Relu", "s", "y")},
		},
	}
}

func node(name, op, in, out string, attrs ...any) *onnxpb.NodeProto {
	split := func(s string) []string {
		list := strings.Fields(s)
		for i := range list {
			list[i] = strings.ReplaceAll(list[i], "-", "")
		}
		return list
	}
	n := &onnxpb.NodeProto{Name: &name, OpType: &op, Input: split(in), Output: split(out)}
	for i := 0; i < len(attrs); i += 2 {
		a, err := attrOut(attrs[i].(string), attrs[i+1])
		if err != nil {
			panic(err)
		}
		n.Attribute = append(n.Attribute, a)
	}
	return n
}

// single replaces the nodes by one whose output has no declared shape.
func single(n *onnxpb.NodeProto, consts ...*onnxpb.TensorProto) func(*onnxpb.ModelProto) {
	return func(m *onnxpb.ModelProto) {
		m.Graph.Node = []*onnxpb.NodeProto{n}
		m.Graph.Initializer = append(m.Graph.Initializer, consts...)
		m.Graph.Output = []*onnxpb.ValueInfoProto{{Name: ptr(n.Output[0])}}
	}
}

// body makes a subgraph of Relus of x.
func body(outs string) func(*onnxpb.GraphProto) {
	return func(g *onnxpb.GraphProto) {
		g.Name = ptr("body")
		for _, o := range strings.Fields(outs) {
			g.Node = append(g.Node, node("", "Relu", "x", o))
			g.Output = append(g.Output, &onnxpb.ValueInfoProto{Name: &o})
		}
	}
}

func subgraph(name string, g *onnxpb.GraphProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: ptr(onnxpb.AttributeProto_GRAPH), G: g}
}

// ifNode has the two branches.
func ifNode(yes, no func(*onnxpb.GraphProto)) func(*onnxpb.ModelProto) {
	then, other := &onnxpb.GraphProto{}, &onnxpb.GraphProto{}
	yes(then)
	no(other)
	n := node("choice", "If", "t", "y")
	n.Attribute = []*onnxpb.AttributeProto{subgraph("then_branch", then), subgraph("else_branch", other)}
	return single(n, tensorOut("t", ir.Scalar(true)))
}

// withBody gives n a subgraph that passes values on.
func withBody(n *onnxpb.NodeProto, attr, in, out string) func(*onnxpb.ModelProto) {
	g := &onnxpb.GraphProto{Name: ptr("body")}
	for _, s := range strings.Fields(in) {
		g.Input = append(g.Input, &onnxpb.ValueInfoProto{Name: &s})
	}
	for _, s := range strings.Fields(out) {
		g.Node = append(g.Node, node("", "Identity", strings.Fields(in)[0], s+"'"))
		g.Output = append(g.Output, &onnxpb.ValueInfoProto{Name: ptr(s + "'")})
	}
	n.Attribute = append(n.Attribute, subgraph(attr, g))
	return single(n, tensorOut("n", ir.Scalar(int64(3))))
}

func ints(name string, v ...int64) *onnxpb.TensorProto { return tensorOut(name, ir.Of(v, len(v))) }

// Each case is one fault; the message must name it.
func TestBrokenModels(t *testing.T) {
	type edit = func(m *onnxpb.ModelProto)
	weight := func(f func(w *onnxpb.TensorProto)) edit {
		return func(m *onnxpb.ModelProto) { f(m.Graph.Initializer[0]) }
	}
	first := func(f func(n *onnxpb.NodeProto)) edit {
		return func(m *onnxpb.ModelProto) { f(m.Graph.Node[0]) }
	}
	for _, c := range []struct {
		name  string
		edit  edit
		words string
	}{
		// the model
		{"opset twice", func(m *onnxpb.ModelProto) { m.OpsetImport = append(m.OpsetImport, opsetID("ai.onnx", 13)) }, "imported"},
		{"no opset", func(m *onnxpb.ModelProto) { m.OpsetImport = nil }, "import"},
		{"IR 0", func(m *onnxpb.ModelProto) { m.IrVersion = ptr(int64(0)) }, "ir_version"},
		{"IR from the future", func(m *onnxpb.ModelProto) { m.IrVersion = ptr(int64(99)) }, "99"},
		{"metadata twice", func(m *onnxpb.ModelProto) { m.MetadataProps = append(entries("k", "1"), entries("k", "2")...) }, "k"},
		{"foreign domain", first(func(n *onnxpb.NodeProto) { n.Domain = ptr("acme") }), "acme"},
		// the graph
		{"cycle of one", first(func(n *onnxpb.NodeProto) { n.Input[0] = "h" }), "cycle"},
		{"cycle of three", first(func(n *onnxpb.NodeProto) { n.Input[0] = "y" }), "cycle"},
		{"input twice", func(m *onnxpb.ModelProto) { m.Graph.Input = append(m.Graph.Input, m.Graph.Input[0]) }, "x"},
		{"input unnamed", func(m *onnxpb.ModelProto) { m.Graph.Input[0].Name = nil }, "input 0"},
		{"undefined input", first(func(n *onnxpb.NodeProto) { n.Input[1] = "V" }), "V"},
		{"output is an input", first(func(n *onnxpb.NodeProto) { n.Output[0] = "x" }), "x"},
		{"output is an initializer", first(func(n *onnxpb.NodeProto) { n.Output[0] = "W" }), "W"},
		{"output listed twice", func(m *onnxpb.ModelProto) { m.Graph.Output = append(m.Graph.Output, m.Graph.Output[0]) }, "y"},
		{"no outputs of a node", first(func(n *onnxpb.NodeProto) { n.Output = nil }), "output"},
		{"one output twice in a node", single(node("cut", "Split", "W", "a a", "axis", int64(0))), "a"},
		{"too many inputs", first(func(n *onnxpb.NodeProto) { n.Input = append(n.Input, "b") }), "3 inputs"},
		{"too few inputs", first(func(n *onnxpb.NodeProto) { n.Input = n.Input[:1] }), "1 inputs"},
		{"left-out input", first(func(n *onnxpb.NodeProto) { n.Input[1] = "" }), "input 1"},
		{"too many outputs", first(func(n *onnxpb.NodeProto) { n.Output = append(n.Output, "h2") }), "2 outputs"},
		{"sequence input", func(m *onnxpb.ModelProto) {
			m.Graph.Input[0].Type = &onnxpb.TypeProto{Value: &onnxpb.TypeProto_SequenceType{SequenceType: &onnxpb.TypeProto_Sequence{}}}
		}, "sequence"},
		{"input without type", func(m *onnxpb.ModelProto) { m.Graph.Input[0].Type = nil }, "x"},
		{"negative dimension of an input", func(m *onnxpb.ModelProto) {
			m.Graph.Input[0].Type.GetTensorType().Shape.Dim[0].Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: -7}
		}, "-7"},
		{"element type of an output", func(m *onnxpb.ModelProto) { m.Graph.Output[0].Type.GetTensorType().ElemType = ptr(int32(7)) }, "y"},
		{"initializer does not fit its input", func(m *onnxpb.ModelProto) {
			m.Graph.Input = append(m.Graph.Input, valueInfo("W", ir.TensorType(ir.Float32, ir.Known(4, 9))))
		}, "W"},
		{"newer operator", single(node("n", "Gelu", "x", "y")), "opset 20"},
		{"operator gone", single(node("n", "Upsample", "x b", "y")), "Upsample"},
		{"control character in an operator", first(func(n *onnxpb.NodeProto) { n.OpType = ptr("Mat\x1bMul") }), `Mat\x1bMul`},
		// attributes
		{"attribute twice", single(node("t", "Transpose", "x", "y", "perm", ir.Int64s(1, 0), "perm", ir.Int64s(1, 0))), "perm"},
		{"attribute unnamed", single(node("t", "Transpose", "x", "y", "", ir.Int64s(1, 0))), "no name"},
		{"attribute unknown", single(node("t", "Transpose", "x", "y", "perms", ir.Int64s(1, 0))), "perms"},
		{"attribute of no type", first(func(n *onnxpb.NodeProto) { n.Attribute = []*onnxpb.AttributeProto{{Name: ptr("a")}} }), "a"},
		{"attribute in the wrong field", single(&onnxpb.NodeProto{Name: ptr("t"), OpType: ptr("Softmax"), Input: []string{"x"}, Output: []string{"y"},
			Attribute: []*onnxpb.AttributeProto{{Name: ptr("axis"), Type: ptr(onnxpb.AttributeProto_INT), S: []byte("1")}}}), "axis"},
		{"attribute of the caller", single(&onnxpb.NodeProto{Name: ptr("t"), OpType: ptr("Softmax"), Input: []string{"x"}, Output: []string{"y"},
			Attribute: []*onnxpb.AttributeProto{{Name: ptr("axis"), Type: ptr(onnxpb.AttributeProto_INT), RefAttrName: ptr("a")}}}), "axis"},
		{"perm twice", single(node("t", "Transpose", "x", "y", "perm", ir.Int64s(0, 0))), "perm"},
		{"perm short", single(node("t", "Transpose", "x", "y", "perm", ir.Int64s(0))), "perm"},
		{"axis too large", single(node("cat", "Concat", "x x", "y", "axis", int64(2))), "axis"},
		{"axis least int64", single(node("cat", "Concat", "x x", "y", "axis", int64(math.MinInt64))), "axis"},
		{"softmax axis", single(node("sm", "Softmax", "x", "y", "axis", int64(-3))), "axis"},
		{"gather axis", single(node("ga", "Gather", "x i", "y", "axis", int64(5)), ints("i", 0)), "axis"},
		{"flatten axis", single(node("fl", "Flatten", "x", "y", "axis", int64(3))), "axis"},
		{"layernorm axis", single(node("ln", "LayerNormalization", "x b", "y", "axis", int64(4))), "axis"},
		{"reduce axis", single(node("rm", "ReduceMean", "x", "y", "axes", ir.Int64s(2))), "rm"},
		{"concat ranks", single(node("cat", "Concat", "x b", "y", "axis", int64(0))), "cat"},
		{"concat sizes", single(node("cat", "Concat", "x W", "y", "axis", int64(0))), "cat"},
		{"broadcast", single(node("add", "Add", "x b", "y")), "add"},
		{"element types differ", single(node("add", "Add", "x i", "y"), ints("i", 1)), "add"},
		{"cast to nothing", single(node("c", "Cast", "x", "y", "to", int64(99))), "99"},
		{"cast to 0", single(node("c", "Cast", "x", "y", "to", int64(0))), "to"},
		{"gemm inner", single(node("ge", "Gemm", "x b", "y")), "ge"},
		{"split sum", single(node("sp", "Split", "W s", "p q", "axis", int64(0)), ints("s", 1, 2)), "sp"},
		{"split negative", single(node("sp", "Split", "W s", "p q", "axis", int64(0)), ints("s", 5, -1)), "sp"},
		{"split uneven before opset 18", single(node("sp", "Split", "W", "p q r", "axis", int64(0))), "sp"},
		{"squeeze of 4", single(node("sq", "Squeeze", "x a", "y"), ints("a", 1)), "sq"},
		{"unsqueeze twice", single(node("un", "Unsqueeze", "x a", "y"), ints("a", 0, 0)), "un"},
		{"unsqueeze far", single(node("un", "Unsqueeze", "x a", "y"), ints("a", 9)), "un"},
		{"expand", single(node("ex", "Expand", "x s", "y"), ints("s", 3, 5)), "ex"},
		{"expand bomb", single(node("ex", "Expand", "o s", "y"), ints("s", 1<<20, 1<<20, 1<<10), tensorOut("o", ir.Of([]float32{1}, 1))), "too large"},
		{"reshape -2", single(node("re", "Reshape", "x s", "y"), ints("s", -2, 2)), "re"},
		{"reshape rank", single(node("re", "Reshape", "x s", "y"), ints("s", make([]int64, 20)...)), "re"},
		{"slice lengths", single(node("sl", "Slice", "x a b2", "y"), ints("a", 0), ints("b2", 1, 1)), "sl"},
		{"slice axis", single(node("sl", "Slice", "x a a c", "y"), ints("a", 0), ints("c", 7)), "sl"},
		{"pad count", single(node("pa", "Pad", "x p", "y"), ints("p", 1, 1)), "pa"},
		{"pad bomb", single(node("pa", "Pad", "x p", "y"), ints("p", 0, 0, 1<<40, 1<<40)), "pa"},
		{"negative shape", single(node("co", "ConstantOfShape", "s", "y"), ints("s", -4)), "co"},
		{"range bomb", single(node("ra", "Range", "a z c", "y"), tensorOut("a", ir.Scalar(int64(0))), tensorOut("z", ir.Scalar(int64(math.MaxInt64))), tensorOut("c", ir.Scalar(int64(1)))), "ra"},
		{"range of step 0", single(node("ra", "Range", "a a c", "y"), tensorOut("a", ir.Scalar(int64(0))), tensorOut("c", ir.Scalar(int64(0)))), "ra"},
		{"einsum equation", single(node("ei", "Einsum", "x W", "y", "equation", "ij,kl->im")), "ei"},
		{"gather below", single(node("ga", "Gather", "x i", "y", "axis", int64(1)), ints("i", -5)), "ga"},
		{"layernorm scale", single(node("ln", "LayerNormalization", "x b", "y")), "ln"},
		{"where condition", single(node("wh", "Where", "x x x", "y")), "wh"},
		{"gather by tuples", single(node("ga", "GatherND", "x i", "y"), tensorOut("i", ir.Of([]int64{0, 4}, 1, 2))), "index 4"},
		{"scatter by tuples", single(node("sc", "ScatterND", "x i u", "y"), tensorOut("i", ir.Of([]int64{0, -5}, 1, 2)), tensorOut("u", ir.Of([]float32{1}, 1))), "index -5"},
		{"indices of floats", single(node("ga", "Gather", "x b", "y")), "input 1 is f32, which Gather"},
		// subgraphs
		{"branches of two counts", ifNode(body("p"), body("p q")), "else_branch has 2 outputs"},
		{"branches of one output too many", ifNode(body("p q"), body("p q")), "then_branch has 2 outputs"},
		{"branch with an input", ifNode(func(g *onnxpb.GraphProto) { body("p")(g); g.Input = []*onnxpb.ValueInfoProto{{Name: ptr("i")}} }, body("p")), "then_branch has 1 inputs"},
		{"branches of two types", ifNode(body("p"), func(g *onnxpb.GraphProto) { body("p")(g); g.Node[0] = node("", "Shape", "x", "p") }), "output 0 is f32 in then_branch and i64 in else_branch"},
		{"loop body of one input", withBody(node("lp", "Loop", "n - x", "y"), "body", "i", "c v"), "body has 1 inputs, want 3"},
		{"loop body without the condition", withBody(node("lp", "Loop", "n - x", "y"), "body", "i c v", "v"), "body has 1 outputs, the node needs 2"},
		{"loop that drops a value", withBody(node("lp", "Loop", "n - x x", "y"), "body", "i c v w", "c v w"), "has 1 outputs for 2 values"},
		{"scan of none", withBody(node("sc", "Scan", "x", "y", "num_scan_inputs", int64(2)), "body", "v", "v"), "num_scan_inputs is 2"},
		{"scan body", withBody(node("sc", "Scan", "x", "y", "num_scan_inputs", int64(1)), "body", "v w", "v"), "body has 2 inputs, want 1"},
		// tensors
		{"no element type", weight(func(w *onnxpb.TensorProto) { w.DataType = nil }), "W"},
		{"unknown element type", weight(func(w *onnxpb.TensorProto) { w.DataType = ptr(int32(77)) }), "77"},
		{"complex", weight(func(w *onnxpb.TensorProto) { w.DataType = ptr(int32(14)) }), "COMPLEX64"},
		{"float8", weight(func(w *onnxpb.TensorProto) { w.DataType = ptr(int32(17)) }), "FLOAT8E4M3FN"},
		{"raw short", weight(func(w *onnxpb.TensorProto) { w.RawData = w.RawData[1:] }), "want 128 bytes, have 127"},
		{"dimensions overflow", weight(func(w *onnxpb.TensorProto) { w.Dims = []int64{1 << 30, 1 << 30, 1 << 30} }), "W"},
		{"huge dimension", weight(func(w *onnxpb.TensorProto) { w.Dims = []int64{math.MaxInt64} }), "W"},
		{"string in raw data", weight(func(w *onnxpb.TensorProto) { w.DataType, w.Dims = ptr(int32(8)), []int64{1} }), "W"},
		{"two typed fields", weight(func(w *onnxpb.TensorProto) {
			w.RawData, w.FloatData, w.Int32Data = nil, make([]float32, 32), make([]int32, 32)
		}), "two places"},
		{"value out of range", weight(func(w *onnxpb.TensorProto) {
			w.RawData, w.DataType, w.Int32Data, w.Dims = nil, ptr(int32(3)), []int32{128}, []int64{1}
		}), "128"},
		{"half out of range", weight(func(w *onnxpb.TensorProto) {
			w.RawData, w.DataType, w.Int32Data, w.Dims = nil, ptr(int32(10)), []int32{65536}, []int64{1}
		}), "65536"},
		{"location of another kind", weight(func(w *onnxpb.TensorProto) { w.DataLocation = ptr(onnxpb.TensorProto_DataLocation(9)) }), "data_location"},
		{"external entries without external", weight(func(w *onnxpb.TensorProto) { w.ExternalData = entries("location", "w.bin") }), "external"},
		{"external beside raw", weight(func(w *onnxpb.TensorProto) { w.DataLocation = ptr(onnxpb.TensorProto_EXTERNAL) }), "two places"},
		{"sparse descending", func(m *onnxpb.ModelProto) {
			m.Graph.SparseInitializer = []*onnxpb.SparseTensorProto{{Dims: []int64{8}, Values: tensorOut("S", ir.Of([]float32{1, 2}, 2)), Indices: ints("", 3, 1)}}
		}, "ascending"},
		{"sparse count", func(m *onnxpb.ModelProto) {
			m.Graph.SparseInitializer = []*onnxpb.SparseTensorProto{{Dims: []int64{8}, Values: tensorOut("S", ir.Of([]float32{1, 2}, 2)), Indices: ints("", 3)}}
		}, "S"},
		{"constant of two values", single(node("k", "Constant", "", "y", "value_int", int64(1), "value_float", float32(1))), "k"},
		{"constant of none", single(node("k", "Constant", "", "y")), "k"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mlp()
			if _, err := Decode(protoBytes(t, m), Options{}); err != nil {
				t.Fatal(err)
			}
			c.edit(m)
			_, err := Decode(protoBytes(t, m), Options{Name: "m.onnx"})
			if err == nil {
				t.Fatal("accepted")
			}
			checkMessage(t, err)
			if !strings.Contains(err.Error(), c.words) {
				t.Errorf("want %q in: %v", c.words, err)
			}
		})
	}
}

// Twenty doublings are fine, forty are a bomb.
func TestDoublingBomb(t *testing.T) {
	for n, ok := range map[int]bool{10: true, 60: false} {
		m := mlp()
		m.Graph.Node, m.Graph.Output = nil, []*onnxpb.ValueInfoProto{{Name: ptr("d")}}
		prev := "x"
		for i := range n {
			next := strings.Repeat("d", n-i)
			m.Graph.Node = append(m.Graph.Node, node("", "Concat", prev+" "+prev, next, "axis", int64(1)))
			prev = next
		}
		if _, err := Decode(protoBytes(t, m), Options{}); (err == nil) != ok {
			t.Errorf("%d doublings: %v", n, err)
		}
	}
}

// Odd but valid: accepted.
func TestSoundModels(t *testing.T) {
	for name, edit := range map[string]func(m *onnxpb.ModelProto){
		"old list of weights among the inputs": func(m *onnxpb.ModelProto) {
			m.Graph.Input = append(m.Graph.Input, valueInfo("W", ir.TensorType(ir.Float32, ir.Known(4, 8))), valueInfo("b", ir.Type{Elem: ir.Float32}))
		},
		"unused import":   func(m *onnxpb.ModelProto) { m.OpsetImport = append(m.OpsetImport, opsetID("ai.onnx.ml", 3)) },
		"ai.onnx by name": func(m *onnxpb.ModelProto) { m.Graph.Node[0].Domain = ptr("ai.onnx") },
		"domain of another runtime": func(m *onnxpb.ModelProto) {
			m.OpsetImport = append(m.OpsetImport, opsetID("com.microsoft", 1))
			m.Graph.Node[2].Domain = ptr("com.microsoft")
		},
		"node names twice": func(m *onnxpb.ModelProto) { m.Graph.Node[0].Name = ptr("act") },
		"no node names": func(m *onnxpb.ModelProto) {
			for _, n := range m.Graph.Node {
				n.Name = nil
			}
		},
		"rank unknown":      func(m *onnxpb.ModelProto) { m.Graph.Input[0].Type.GetTensorType().Shape = nil },
		"unknown dimension": func(m *onnxpb.ModelProto) { m.Graph.Input[0].Type.GetTensorType().Shape.Dim[0].Value = nil },
		"weights in pieces": func(m *onnxpb.ModelProto) {
			w := m.Graph.Initializer[0]
			w.RawData, w.FloatData = nil, make([]float32, 32)
		},
		"odd value names": func(m *onnxpb.ModelProto) { m.Graph.Node[0].Output[0], m.Graph.Node[1].Input[0] = "_", "_" },
		"output is a weight": func(m *onnxpb.ModelProto) {
			m.Graph.Output = append(m.Graph.Output, &onnxpb.ValueInfoProto{Name: ptr("W")})
		},
		"output is an input": func(m *onnxpb.ModelProto) {
			m.Graph.Output = append(m.Graph.Output, &onnxpb.ValueInfoProto{Name: ptr("x")})
		},
		"trailing left-out input": func(m *onnxpb.ModelProto) {
			m.Graph.Node[2] = node("act", "Clip", "s - -", "y")
		},
	} {
		m := mlp()
		edit(m)
		g, err := Decode(protoBytes(t, m), Options{Name: name})
		if err != nil {
			t.Error(err)
			continue
		}
		b, err := Encode(g, WriteOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := Decode(b, Options{Name: name + ", written"}); err != nil {
			t.Error(err)
		}
	}
}
