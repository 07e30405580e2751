package onnxio

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"google.golang.org/protobuf/proto"
)

// WholeOp is the operator of domain ai.qvitc that stands for a whole graph: its
// function body is the graph, its inputs are those of the graph and then the
// initializers in their order, and its attribute "graph" is the ModelProto once
// more, its initializers without data, in gzip, for a library that runs it in one
// piece.
const WholeOp = "Model"

// wrapWhole moves the nodes of the graph into a function that one node calls.
func wrapWhole(p *onnxpb.ModelProto) error {
	g := p.Graph
	bare := &onnxpb.ModelProto{IrVersion: p.IrVersion, OpsetImport: p.OpsetImport,
		Graph: &onnxpb.GraphProto{Node: g.Node, Name: g.Name, Input: g.Input, Output: g.Output}}
	for _, t := range g.Initializer {
		bare.Graph.Initializer = append(bare.Graph.Initializer, &onnxpb.TensorProto{Name: t.Name, Dims: t.Dims, DataType: t.DataType})
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(bare)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(raw); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	f := &onnxpb.FunctionProto{
		Domain: new(ir.Domain), Name: new(WholeOp), Attribute: []string{"graph"}, Node: g.Node, OpsetImport: p.OpsetImport,
		DocString: new("The graph as one operator, which the custom-operator library runs in one piece."),
	}
	imported := false
	for _, o := range p.OpsetImport {
		imported = imported || o.GetDomain() == ir.Domain
	}
	if !imported {
		p.OpsetImport = append(p.OpsetImport, opsetID(ir.Domain, 1))
		f.OpsetImport = p.OpsetImport
	}
	call := &onnxpb.NodeProto{
		Domain: new(ir.Domain), OpType: new(WholeOp), Name: new("model"),
		Attribute: []*onnxpb.AttributeProto{{Name: new("graph"), Type: onnxpb.AttributeProto_STRING.Enum(), S: packed.Bytes()}},
	}
	for _, v := range g.Input {
		call.Input = append(call.Input, v.GetName())
	}
	for _, t := range g.Initializer {
		call.Input = append(call.Input, t.GetName())
	}
	for _, v := range g.Output {
		call.Output = append(call.Output, v.GetName())
	}
	f.Input, f.Output = call.Input, call.Output
	p.Functions = append(p.Functions, f)
	g.Node, g.ValueInfo = []*onnxpb.NodeProto{call}, nil
	return nil
}

// DecodeWhole gives the graph of a node WholeOp from its attribute and its
// constants: number i is the input behind those of the graph.
func DecodeWhole(attribute []byte, constants func(i int) (*ir.Tensor, error)) (*ir.Graph, error) {
	damaged := func(err error) error { return fmt.Errorf("the attribute \"graph\" is damaged: %w", err) }
	z, err := gzip.NewReader(bytes.NewReader(attribute))
	if err != nil {
		return nil, damaged(err)
	}
	raw, err := io.ReadAll(io.LimitReader(z, wholeLimit))
	if err != nil {
		return nil, damaged(err)
	}
	p := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(raw, p); err != nil {
		return nil, damaged(err)
	}
	if p.Graph == nil {
		return nil, damaged(fmt.Errorf("it has no graph"))
	}
	for i, stub := range p.Graph.Initializer {
		t, err := constants(i)
		if err != nil {
			return nil, fmt.Errorf("constant %s: %w", ir.Quote(stub.GetName()), err)
		}
		p.Graph.Initializer[i] = tensorOut(stub.GetName(), t)
	}
	return decodeModel(p, Options{})
}

// wholeLimit bounds the unpacked attribute: nodes without weights.
const wholeLimit = 64 << 20
