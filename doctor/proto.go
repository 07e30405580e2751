package doctor

import (
	"fmt"

	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// builtIn lists the domains whose operators ONNX Runtime brings along.
var builtIn = map[string]bool{
	"": true, "ai.onnx": true, "ai.onnx.ml": true, "ai.onnx.training": true, "ai.onnx.preview.training": true,
	microsoft: true, "com.microsoft.experimental": true, "com.microsoft.nchwc": true, "com.ms.internal.nhwc": true, "org.pytorch.aten": true,
}

// proto checks what the canonical graph no longer shows: overloads of functions
// and attributes as they are stored.
func (c *checker) proto(p *onnxpb.ModelProto) {
	functions := map[string]string{} // domain and name to overload
	for _, f := range p.Functions {
		key := f.GetDomain() + "::" + f.GetName()
		if first, twice := functions[key]; twice && first != f.GetOverload() {
			c.at(overload, span{until: 1024}, "", "", fmt.Sprintf("function %q has the overloads %q and %q", key, first, f.GetOverload()))
		}
		functions[key] = f.GetOverload()
	}
	missing := map[string]bool{}
	eachNode(p, func(n *onnxpb.NodeProto, inFunction bool) {
		key := n.GetDomain() + "::" + n.GetOpType()
		if _, ok := functions[key]; !ok && !builtIn[n.GetDomain()] && !missing[key] {
			missing[key] = true
			c.at(noFunction, span{}, protoName(n), "", fmt.Sprintf("operator %s is not one of ONNX Runtime's and the file has no function body for it", key))
		}
		for _, a := range n.Attribute {
			if a.GetRefAttrName() == "" && valueless(a) {
				c.at(noValue, span{}, protoName(n), "", fmt.Sprintf("attribute %q is an %s without a value", a.GetName(), a.GetType()))
			}
		}
	})
}

// irVersion notes an IR version that alone keeps the file from the target, or,
// without a target, that keeps it from older versions.
func (c *checker) irVersion(p *onnxpb.ModelProto) {
	need := lowestIR(p)
	now, then := oldestFor(c.needs.Opset, c.needs.IR), oldestFor(c.needs.Opset, need)
	if c.needs.IR <= need || then == 0 || now == then {
		return
	}
	c.needs.Why += fmt.Sprintf(" (IR version %d is enough for what the file holds)", need)
	if from := c.target.From; from != 0 && (now == 0 || from < now) {
		s := span{until: now - 1}
		if now == 0 {
			s = span{}
		}
		c.at(irTooHigh, s, "", "", fmt.Sprintf("IR version %d, where %d is enough for what the file holds", c.needs.IR, need))
	}
}

// valueless reports a scalar attribute whose field is absent. Readers of proto2
// tell that from zero.
func valueless(a *onnxpb.AttributeProto) bool {
	switch a.GetType() {
	case onnxpb.AttributeProto_INT:
		return a.I == nil
	case onnxpb.AttributeProto_FLOAT:
		return a.F == nil
	case onnxpb.AttributeProto_STRING:
		return a.S == nil
	}
	return false
}

// eachNode calls fn for every node of the graph, its subgraphs and the functions.
func eachNode(p *onnxpb.ModelProto, fn func(n *onnxpb.NodeProto, inFunction bool)) {
	var walk func(nodes []*onnxpb.NodeProto, in bool)
	walk = func(nodes []*onnxpb.NodeProto, in bool) {
		for _, n := range nodes {
			fn(n, in)
			for _, a := range n.Attribute {
				if a.G != nil {
					walk(a.G.Node, in)
				}
				for _, g := range a.Graphs {
					walk(g.Node, in)
				}
			}
		}
	}
	walk(p.Graph.Node, false)
	for _, f := range p.Functions {
		walk(f.Node, true)
	}
}

func protoName(n *onnxpb.NodeProto) string {
	if n.GetName() != "" || len(n.Output) == 0 {
		return n.GetName()
	}
	return n.Output[0]
}

// lowestIR is the lowest IR version that has all features of the file.
func lowestIR(p *onnxpb.ModelProto) int {
	need := 3
	ask := func(v int) { need = max(need, v) }
	if len(p.Functions) > 0 {
		ask(8)
	}
	for _, f := range p.Functions {
		if len(f.AttributeProto) > 0 {
			ask(9)
		}
		if f.GetOverload() != "" || len(f.ValueInfo) > 0 || len(f.MetadataProps) > 0 {
			ask(10)
		}
	}
	eachNode(p, func(n *onnxpb.NodeProto, _ bool) {
		if n.GetOverload() != "" || len(n.MetadataProps) > 0 {
			ask(10)
		}
	})
	elem := func(e int32) {
		switch onnxpb.TensorProto_DataType(e) {
		case onnxpb.TensorProto_UINT2, onnxpb.TensorProto_INT2:
			ask(13)
		case onnxpb.TensorProto_FLOAT8E8M0:
			ask(12)
		case onnxpb.TensorProto_FLOAT4E2M1:
			ask(11)
		case onnxpb.TensorProto_UINT4, onnxpb.TensorProto_INT4:
			ask(10)
		case onnxpb.TensorProto_FLOAT8E4M3FN, onnxpb.TensorProto_FLOAT8E4M3FNUZ, onnxpb.TensorProto_FLOAT8E5M2, onnxpb.TensorProto_FLOAT8E5M2FNUZ:
			ask(9)
		}
	}
	for _, t := range p.Graph.Initializer {
		elem(t.GetDataType())
	}
	for _, v := range p.Graph.ValueInfo {
		elem(v.GetType().GetTensorType().GetElemType())
	}
	inputs := map[string]bool{}
	for _, v := range p.Graph.Input {
		inputs[v.GetName()] = true
	}
	for _, t := range p.Graph.Initializer {
		if !inputs[t.GetName()] {
			ask(4) // before, every initializer had to be an input
		}
	}
	for _, o := range p.OpsetImport {
		if o.GetDomain() == "" || o.GetDomain() == "ai.onnx" {
			ask(pairedIR(int(o.GetVersion())))
		}
	}
	return need
}

// pairedIR is the IR version of the ONNX release that brought an opset.
func pairedIR(opset int) int {
	for _, p := range [][2]int{{28, 14}, {25, 13}, {24, 12}, {23, 11}, {21, 10}, {19, 9}, {15, 8}, {12, 7}, {11, 6}, {10, 5}, {9, 4}} {
		if opset >= p[0] {
			return p[1]
		}
	}
	return 3
}
