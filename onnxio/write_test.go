package onnxio

import (
	"math"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// chosen gives the opset and IR version that a one-node graph is written at.
func chosen(t *testing.T, o WriteOptions, build func(g *ir.Graph, x *ir.Value) *ir.Value) (opset, irv int, p *onnxpb.ModelProto) {
	t.Helper()
	g := ir.New("g")
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(2, 3, 4)))
	g.AddOutput(build(g, x))
	p, err := ToProto(g, o)
	must(t, err)
	return int(p.OpsetImport[0].GetVersion()), int(p.GetIrVersion()), p
}

// The lowest opset whose forms say what the graph means is chosen.
func TestLowestVersions(t *testing.T) {
	ints := func(g *ir.Graph, v ...int64) *ir.Value { return g.AddConst("c", ir.Of(v, len(v))) }
	scalar := func(g *ir.Graph, v float32) *ir.Value { return g.AddConst("s", ir.Scalar(v)) }
	for _, c := range []struct {
		name       string
		opset, irv int
		build      func(g *ir.Graph, x *ir.Value) *ir.Value
	}{
		{"matmul", 11, 6, func(g *ir.Graph, x *ir.Value) *ir.Value { return g.Add("Relu", "y", nil, x).Out() }},
		{"mean over constant axes", 11, 6, func(g *ir.Graph, x *ir.Value) *ir.Value { return g.Add("ReduceMean", "y", nil, x, ints(g, 1)).Out() }},
		{"mean over computed axes", 18, 8, func(g *ir.Graph, x *ir.Value) *ir.Value {
			a := g.AddInput("a", ir.TensorType(ir.Int64, ir.Known(1)))
			return g.Add("ReduceMean", "y", nil, x, a).Out()
		}},
		{"mean over no axes", 18, 8, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("ReduceMean", "y", ir.Attrs{"noop_with_empty_axes": int64(1)}, x).Out()
		}},
		{"sum over computed axes", 13, 7, func(g *ir.Graph, x *ir.Value) *ir.Value {
			a := g.AddInput("a", ir.TensorType(ir.Int64, ir.Known(1)))
			return g.Add("ReduceSum", "y", nil, x, a).Out()
		}},
		{"softmax on the last axis", 11, 6, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("Softmax", "y", ir.Attrs{"axis": int64(-1)}, x).Out()
		}},
		{"softmax on another", 13, 7, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("Softmax", "y", ir.Attrs{"axis": int64(1)}, x).Out()
		}},
		{"even split", 11, 6, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.InsertBefore(nil, "", "Split", ir.Attrs{"axis": int64(1), "num_outputs": int64(3)}, []*ir.Value{x}, "p", "q", "r").Out()
		}},
		{"uneven split", 18, 8, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.InsertBefore(nil, "", "Split", ir.Attrs{"axis": int64(1), "num_outputs": int64(2)}, []*ir.Value{x}, "p", "q").Out()
		}},
		{"layer normalisation", 17, 8, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("LayerNormalization", "y", nil, x, g.AddConst("w", ir.Of(make([]float32, 4), 4))).Out()
		}},
		{"GELU", 20, 9, func(g *ir.Graph, x *ir.Value) *ir.Value { return g.Add("Gelu", "y", nil, x).Out() }},
		{"reshape", 11, 6, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("Reshape", "y", ir.Attrs{"allowzero": int64(0)}, x, ints(g, 0, -1)).Out()
		}},
		{"reshape with real zeros", 14, 7, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("Reshape", "y", ir.Attrs{"allowzero": int64(1)}, x, ints(g, 2, 12)).Out()
		}},
		{"cast to bfloat16", 13, 7, func(g *ir.Graph, x *ir.Value) *ir.Value {
			n := g.Add("Cast", "y", ir.Attrs{"to": int64(ir.BFloat16)}, x)
			n.Out().Type.Elem = ir.BFloat16
			return n.Out()
		}},
		{"int8 addition", 14, 7, func(g *ir.Graph, x *ir.Value) *ir.Value {
			a := g.AddConst("a", ir.Of([]int8{1}, 1))
			return g.Add("Add", "y", nil, a, a).Out()
		}},
		{"bitwise and", 18, 8, func(g *ir.Graph, x *ir.Value) *ir.Value {
			a := g.AddConst("a", ir.Of([]uint8{1}, 1))
			return g.Add("BitwiseAnd", "y", nil, a, a).Out()
		}},
		{"quantise per tensor", 11, 6, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("QuantizeLinear", "y", nil, x, scalar(g, 1)).Out()
		}},
		{"quantise per axis", 13, 7, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("QuantizeLinear", "y", nil, x, g.AddConst("s", ir.Of([]float32{1, 1, 1}, 3))).Out()
		}},
		{"4-bit weights", 21, 10, func(g *ir.Graph, x *ir.Value) *ir.Value {
			w, _ := ir.NewTensor(ir.Int4, 4)
			return g.Add("DequantizeLinear", "y", nil, g.AddConst("w", w), scalar(g, 1)).Out()
		}},
		{"2-bit weights", 25, 13, func(g *ir.Graph, x *ir.Value) *ir.Value {
			w, _ := ir.NewTensor(ir.Int2, 4)
			return g.Add("DequantizeLinear", "y", nil, g.AddConst("w", w), scalar(g, 1)).Out()
		}},
		{"scatter", 11, 6, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("ScatterND", "y", nil, x, g.AddConst("i", ir.Of([]int64{0}, 1, 1)), g.AddConst("u", ir.Of(make([]float32, 12), 1, 3, 4))).Out()
		}},
		{"scatter with max", 18, 8, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("ScatterND", "y", ir.Attrs{"reduction": "max"}, x, g.AddConst("i", ir.Of([]int64{0}, 1, 1)), g.AddConst("u", ir.Of(make([]float32, 12), 1, 3, 4))).Out()
		}},
		{"pad that wraps", 19, 9, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("Pad", "y", ir.Attrs{"mode": "wrap"}, x, ints(g, 0, 0, 1, 0, 0, 1)).Out()
		}},
		{"argmax", 11, 6, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.Add("ArgMax", "y", ir.Attrs{"axis": int64(1), "select_last_index": int64(0)}, x).Out()
		}},
		{"own operator", 11, 6, func(g *ir.Graph, x *ir.Value) *ir.Value {
			return g.InsertBefore(nil, ir.Domain, "FakeQuant", ir.Attrs{"bits": int64(4), "signed": int64(1)}, []*ir.Value{x, scalar(g, 1)}, "y").Out()
		}},
	} {
		opset, irv, _ := chosen(t, WriteOptions{}, c.build)
		if opset != c.opset || irv != c.irv {
			t.Errorf("%s: opset %d IR %d, want opset %d IR %d", c.name, opset, irv, c.opset, c.irv)
		}
		if opset, irv, _ := chosen(t, WriteOptions{MinOpset: 18, MinIR: 8}, c.build); opset != max(18, c.opset) || irv != max(8, c.irv) {
			t.Errorf("%s with a floor: opset %d IR %d", c.name, opset, irv)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	g := ir.New("g")
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(2)))
	n := g.Add("Gelu", "y", ir.Attrs{"no_such": int64(1)}, x)
	g.AddOutput(n.Out())
	if _, err := Encode(g, WriteOptions{}); err == nil || !strings.Contains(err.Error(), "no_such") {
		t.Error(err)
	}
	n.Op = "NoSuchOp"
	if _, err := Encode(g, WriteOptions{}); err == nil {
		t.Error("an unknown operator was written")
	}
	if _, err := Encode(g, WriteOptions{MinOpset: MaxOpset + 1}); err == nil {
		t.Error("an unknown opset was written")
	}
}

// Zero-valued attributes are written: readers of proto2 tell absent from zero.
func TestZeroAttributesAreWritten(t *testing.T) {
	_, _, p := chosen(t, WriteOptions{Version: "v1"}, func(g *ir.Graph, x *ir.Value) *ir.Value {
		return g.InsertBefore(nil, "acme", "Op", ir.Attrs{"f": float32(0), "i": int64(0), "s": ""}, []*ir.Value{x}, "y").Out()
	})
	for i, a := range p.Graph.Node[0].Attribute {
		if [...]bool{a.F == nil, a.I == nil, a.S == nil}[i] {
			t.Errorf("attribute %s has no value", a.GetName())
		}
	}
	if p.GetProducerName() != "qvitc" || p.GetProducerVersion() != "v1" {
		t.Error("producer", p.GetProducerName(), p.GetProducerVersion())
	}
}

// Node names are made unique in the file; the graph keeps its own.
func TestNodeNamesAreUnique(t *testing.T) {
	_, _, p := chosen(t, WriteOptions{}, func(g *ir.Graph, x *ir.Value) *ir.Value {
		for range 3 {
			n := g.Add("Relu", "r", nil, x)
			n.Name = "relu"
			x = n.Out()
		}
		return x
	})
	seen := map[string]bool{}
	for _, n := range p.Graph.Node {
		if seen[n.GetName()] {
			t.Errorf("name %q twice", n.GetName())
		}
		seen[n.GetName()] = true
	}
}

// Every element type survives writing and reading, bit for bit.
func TestTensorRoundTrip(t *testing.T) {
	nan := math.Float32frombits(0x7fc12345)
	tensors := []*ir.Tensor{
		ir.Of([]float32{1, float32(math.Copysign(0, -1)), nan, float32(math.Inf(-1))}, 2, 2), ir.Of([]float64{math.Pi}, 1),
		ir.Of([]int8{-128, 127}, 2), ir.Of([]int16{-32768}, 1), ir.Of([]int32{math.MinInt32}, 1), ir.Of([]int64{math.MinInt64}, 1),
		ir.Of([]uint8{255}, 1), ir.Of([]uint16{65535}, 1), ir.Of([]uint32{math.MaxUint32}, 1), ir.Of([]uint64{math.MaxUint64}, 1),
		ir.Of([]bool{true, false, true}, 3), ir.Of([]string{"", "a\x00b", "é"}, 3), ir.Scalar(float32(7)), ir.Of([]float32{}, 0, 3), ir.Of([]string{}, 0),
	}
	for _, e := range []ir.Elem{ir.Float16, ir.BFloat16} {
		h, err := ir.Wrap(e, []int{2}, []uint16{0x3c00, 0xfc01})
		must(t, err)
		tensors = append(tensors, h)
	}
	for _, e := range []ir.Elem{ir.Uint4, ir.Int4, ir.Uint2, ir.Int2} {
		for n := range 10 {
			x, err := ir.NewTensor(e, n)
			must(t, err)
			d := ir.Data[uint8](x)
			for i := range d {
				d[i] = byte(0xb1 + 7*i)
			}
			if n > 0 {
				clearTail(d, n, e)
			}
			tensors = append(tensors, x)
		}
	}
	for _, x := range tensors {
		b, err := EncodeTensor(x, "t")
		must(t, err)
		y, name, err := DecodeTensor(b, Options{})
		must(t, err)
		again, err := EncodeTensor(y, name)
		must(t, err)
		if string(again) != string(b) || y.Elem != x.Elem || y.Type().String() != x.Type().String() {
			t.Errorf("%v became %v", x.Type(), y.Type())
		}
		if typed := typedCopy(x); typed != nil { // the same data in its typed field
			y, _, err := DecodeTensor(protoBytes(t, typed), Options{})
			if err != nil {
				t.Errorf("%v in its typed field: %v", x.Type(), err)
			} else if again, _ := EncodeTensor(y, "t"); string(again) != string(b) {
				t.Errorf("%v in its typed field reads otherwise", x.Type())
			}
		}
	}
}

func typedCopy(x *ir.Tensor) *onnxpb.TensorProto {
	p := tensorOut("t", x)
	raw := p.RawData
	p.RawData = nil
	switch d := x.Raw().(type) {
	case []float32:
		p.FloatData = d
	case []float64:
		p.DoubleData = d
	case []int64:
		p.Int64Data = d
	case []uint64:
		p.Uint64Data = d
	case []uint32:
		for _, v := range d {
			p.Uint64Data = append(p.Uint64Data, uint64(v))
		}
	case []int32:
		p.Int32Data = d
	case []uint16:
		for _, v := range d {
			p.Int32Data = append(p.Int32Data, int32(v))
		}
	case []int16:
		for _, v := range d {
			p.Int32Data = append(p.Int32Data, int32(v))
		}
	case []int8:
		for _, v := range d {
			p.Int32Data = append(p.Int32Data, int32(v))
		}
	case []uint8, []bool:
		for _, v := range raw {
			p.Int32Data = append(p.Int32Data, int32(v))
		}
	}
	return p
}

func TestCheckFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	build := func(op string, w *ir.Tensor) *ir.Graph {
		g := ir.New("g")
		x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(2, 2)))
		g.AddOutput(g.Add(op, "y", nil, x, g.AddConst("W", w)).Out())
		return g
	}
	for _, c := range []struct {
		name, words string
		g           *ir.Graph
	}{
		{"sound", "", build("MatMul", ir.Of([]float32{1, 2, 3, math.MaxFloat32}, 2, 2))},
		{"NaN", "1 NaN, the first at [1];", build("Add", ir.Of([]float32{1, nan}, 2))},
		{"Inf", "2 Inf, the first at [0 1];", build("MatMul", ir.Of([]float32{1, -inf, 1, inf}, 2, 2))},
		{"-Inf in a weight", "1 Inf", build("MatMul", ir.Of([]float32{-inf, 1, 1, 1}, 2, 2))},
		{"-Inf in a mask", "", build("Add", ir.Of([]float32{-inf, 0, 0, 0}, 2, 2))},
		{"an infinite bound", "", build("Min", ir.Scalar(inf))},
		{"a scalar NaN", "NaN", build("Mul", ir.Scalar(nan))},
	} {
		err := CheckFinite(c.g)
		if c.words == "" && err != nil || c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), `"W"`)) {
			t.Errorf("%s: want %q, have %v", c.name, c.words, err)
		}
	}
}
