package onnxio

import (
	"fmt"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"github.com/qvitc/qvitc/ops"
)

func functionProto(name string, in, out string, nodes ...*onnxpb.NodeProto) *onnxpb.FunctionProto {
	return &onnxpb.FunctionProto{Name: &name, Domain: ptr("acme"), Input: strings.Fields(in), Output: strings.Fields(out), Node: nodes,
		OpsetImport: []*onnxpb.OperatorSetIdProto{opsetID("", 17), opsetID("acme", 1)}}
}

func call(op, in, out string, attrs ...any) *onnxpb.NodeProto {
	n := node("call "+out, op, in, out, attrs...)
	n.Domain = ptr("acme")
	return n
}

func ref(n *onnxpb.NodeProto, attr, caller string, t onnxpb.AttributeProto_AttributeType) *onnxpb.NodeProto {
	n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: &attr, RefAttrName: &caller, Type: &t})
	return n
}

// withFunctions is y = acme::Op(x) of shape [1,4].
func withFunctions(nodes []*onnxpb.NodeProto, funcs ...*onnxpb.FunctionProto) *onnxpb.ModelProto {
	m := mlp()
	m.OpsetImport = append(m.OpsetImport, opsetID("acme", 1))
	m.Graph.Node, m.Functions = nodes, funcs
	m.Graph.Output = []*onnxpb.ValueInfoProto{valueInfo("y", ir.TensorType(ir.Float32, ir.Known(1, 4)))}
	return m
}

// Each model computes y from x = [1 2 3 4]; kept and inlined functions alike,
// before writing and after.
func TestFunctions(t *testing.T) {
	const floatKind, intsKind = onnxpb.AttributeProto_FLOAT, onnxpb.AttributeProto_INTS
	double := functionProto("Double", "a", "b", node("d", "Add", "a a", "b"))
	quad := functionProto("Quad", "a", "c", call("Double", "a", "b"), call("Double", "b", "c"))
	shift := functionProto("Shift", "a", "b", ref(&onnxpb.NodeProto{OpType: ptr("Constant"), Output: []string{"k"}}, "value_float", "by", floatKind), node("s", "Add", "a k", "b"))
	shift.Attribute = []string{"by"}
	dflt := functionProto("Shift", "a", "b", shift.Node...)
	a, err := attrOut("by", float32(10))
	must(t, err)
	dflt.AttributeProto = append(dflt.AttributeProto, a)
	outer := functionProto("Outer", "a", "b", call("Shift", "a", "m", "by", float32(1)), call("Shift", "m", "b", "by", float32(2)))
	overload := functionProto("Double", "a", "b", node("t", "Sum", "a a a", "b"))
	overload.Overload = ptr("triple")
	overCall := call("Double", "x", "y")
	overCall.Overload = ptr("triple")
	old := functionProto("OldSum", "a", "b", ref(node("s", "ReduceSum", "a", "b", "keepdims", int64(1)), "axes", "over", intsKind))
	old.OpsetImport, old.Attribute = []*onnxpb.OperatorSetIdProto{opsetID("", 11)}, []string{"over"}
	pass := functionProto("Pass", "a b", "p q", ref(node("n", "LeakyRelu", "b", "unused"), "alpha", "al", floatKind), node("i", "Identity", "a", "q"))
	pass.Output = []string{"a", "q"}
	pass.Attribute = []string{"al"}
	for _, c := range []struct {
		name string
		m    *onnxpb.ModelProto
		kept int
		want []float32
	}{
		{"kept", withFunctions([]*onnxpb.NodeProto{call("Double", "x", "y")}, double), 1, []float32{2, 4, 6, 8}},
		{"nested", withFunctions([]*onnxpb.NodeProto{call("Quad", "x", "y")}, quad, double), 2, []float32{4, 8, 12, 16}},
		{"attribute", withFunctions([]*onnxpb.NodeProto{call("Shift", "x", "y", "by", float32(3))}, shift), 0, []float32{4, 5, 6, 7}},
		{"default attribute", withFunctions([]*onnxpb.NodeProto{call("Shift", "x", "y")}, dflt), 0, []float32{11, 12, 13, 14}},
		{"default overridden", withFunctions([]*onnxpb.NodeProto{call("Shift", "x", "y", "by", float32(3))}, dflt), 0, []float32{4, 5, 6, 7}},
		{"inlined twice in a kept one", withFunctions([]*onnxpb.NodeProto{call("Outer", "x", "y")}, shift, outer), 1, []float32{4, 5, 6, 7}},
		{"overload", withFunctions([]*onnxpb.NodeProto{overCall}, double, overload), 1, []float32{3, 6, 9, 12}},
		{"own opset", withFunctions([]*onnxpb.NodeProto{call("OldSum", "x", "s", "over", ir.Int64s(1)), node("e", "Sub", "x s", "y")}, old), 0, []float32{-9, -8, -7, -6}},
		{"input passed through", withFunctions([]*onnxpb.NodeProto{call("Pass", "x x", "p q", "al", float32(1)), node("e", "Add", "p q", "y")}, pass), 0, []float32{2, 4, 6, 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := Decode(protoBytes(t, c.m), Options{Name: "m.onnx"})
			must(t, err)
			if len(g.Functions) != c.kept {
				t.Errorf("%d functions are kept, want %d", len(g.Functions), c.kept)
			}
			b, err := Encode(g, WriteOptions{})
			must(t, err)
			h, err := Decode(b, Options{Name: "written.onnx"})
			must(t, err)
			for _, g := range []*ir.Graph{g, h} {
				out, err := ops.EvalGraph(g, map[string]*ir.Tensor{"x": ir.Of([]float32{1, 2, 3, 4}, 1, 4)})
				must(t, err)
				if got := out["y"].F32(); fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("y = %v, want %v", got, c.want)
				}
			}
			again, err := Encode(h, WriteOptions{})
			must(t, err)
			if string(again) != string(b) {
				t.Error("the second writing differs")
			}
		})
	}
}

func TestBrokenFunctions(t *testing.T) {
	double := functionProto("Double", "a", "b", node("d", "Add", "a a", "b"))
	self := functionProto("Self", "a", "b", call("Self", "a", "b"))
	var bomb []*onnxpb.FunctionProto
	for i := range 40 {
		next := fmt.Sprintf("F%d", i+1)
		bomb = append(bomb, functionProto(fmt.Sprintf("F%d", i), "a", "c",
			ref(call(next, "a", "b"), "k", "k", onnxpb.AttributeProto_INT), ref(call(next, "b", "c"), "k", "k", onnxpb.AttributeProto_INT)))
	}
	bomb = append(bomb, functionProto("F40", "a", "c", ref(node("l", "Softmax", "a", "c"), "axis", "k", onnxpb.AttributeProto_INT)))
	for _, c := range []struct {
		name, words string
		m           *onnxpb.ModelProto
	}{
		{"calls itself", "Self", withFunctions([]*onnxpb.NodeProto{call("Self", "x", "y")}, self)},
		{"twice", "twice", withFunctions([]*onnxpb.NodeProto{call("Double", "x", "y")}, double, double)},
		{"too many inputs", "2 inputs", withFunctions([]*onnxpb.NodeProto{call("Double", "x x", "y")}, double)},
		{"too many outputs", "2 outputs", withFunctions([]*onnxpb.NodeProto{call("Double", "x", "y z")}, double)},
		{"undefined name", "nowhere", withFunctions([]*onnxpb.NodeProto{call("Double", "x", "y")}, functionProto("Double", "a", "b", node("d", "Add", "a nowhere", "b")))},
		{"undefined output", "never", withFunctions([]*onnxpb.NodeProto{call("Double", "x", "y")}, functionProto("Double", "a", "never", node("d", "Add", "a a", "b")))},
		{"bad body", "perm", withFunctions([]*onnxpb.NodeProto{call("Double", "x", "y")}, functionProto("Double", "a", "b", node("d", "Transpose", "a", "b", "perm", ir.Int64s(0, 0))))},
		{"attribute of another type", "FLOAT", withFunctions([]*onnxpb.NodeProto{call("L", "x", "y", "al", int64(1))},
			functionProto("L", "a", "b", ref(node("l", "LeakyRelu", "a", "b"), "alpha", "al", onnxpb.AttributeProto_FLOAT)))},
		{"exponential", "more than 1000 nodes", withFunctions([]*onnxpb.NodeProto{call("F0", "x", "y", "k", int64(1))}, bomb...)},
	} {
		_, err := Decode(protoBytes(t, c.m), Options{Name: "m.onnx", Limits: Limits{Nodes: 1000}})
		if err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: want %q, have %v", c.name, c.words, err)
			continue
		}
		checkMessage(t, err)
	}
}

// A long chain of functions that call one another is no recursion, and checking
// it does not recurse either.
func TestDeepFunctionChain(t *testing.T) {
	var funcs []*onnxpb.FunctionProto
	const n = 5000
	for i := range n {
		funcs = append(funcs, functionProto(fmt.Sprint("F", i), "a", "b", call(fmt.Sprint("F", i+1), "a", "b")))
	}
	funcs = append(funcs, functionProto(fmt.Sprint("F", n), "a", "b", node("i", "Identity", "a", "b")))
	_, err := Decode(protoBytes(t, withFunctions([]*onnxpb.NodeProto{call("F0", "x", "y")}, funcs...)), Options{})
	must(t, err)
}
