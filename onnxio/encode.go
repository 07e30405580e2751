package onnxio

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"google.golang.org/protobuf/proto"
)

// WriteOptions say how a graph is written. The zero value asks for the lowest
// opset and IR version that the graph can be written in.
type WriteOptions struct {
	MinOpset int    // write at least this opset of ai.onnx
	MinIR    int    // write at least this IR version
	Version  string // producer_version; the producer is qvitc
	External bool   // Save: put large constants into a file of their own
	Whole    bool   // one node of operator WholeOp calls the graph, which is its function body
}

// LowestOpset is the oldest opset that is written: below it hardly a runtime in
// use is left, and most operators have older forms still.
const LowestOpset = 11

// Encode writes the graph as an ONNX model: the same graph gives the same bytes.
// Operators are written in the form that the chosen opset asks for, constants
// as initializers with raw_data, functions with their bodies. The graph is not
// changed.
func Encode(g *ir.Graph, o WriteOptions) ([]byte, error) {
	p, err := ToProto(g, o)
	if err != nil {
		return nil, err
	}
	return marshal(p)
}

func marshal(p *onnxpb.ModelProto) ([]byte, error) {
	if size := proto.Size(p); size > MaxFileBytes {
		return nil, fmt.Errorf("the model takes %d bytes, a file can have %d", size, MaxFileBytes)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(p)
}

// ToProto is Encode up to the bytes.
func ToProto(g *ir.Graph, o WriteOptions) (*onnxpb.ModelProto, error) {
	v, err := chooseVersions(g, o)
	if err != nil {
		return nil, err
	}
	e := &encoder{opset: v.opset}
	irVersion, producer := int64(v.ir), "qvitc"
	p := &onnxpb.ModelProto{IrVersion: &irVersion, ProducerName: &producer}
	if o.Version != "" {
		p.ProducerVersion = &o.Version
	}
	p.OpsetImport = importsOut(v.opset, v.domains)
	if p.Graph, err = e.graph(g, nil); err != nil {
		return nil, err
	}
	for _, k := range slices.Sorted(maps.Keys(g.Meta)) {
		val := g.Meta[k]
		p.MetadataProps = append(p.MetadataProps, &onnxpb.StringStringEntryProto{Key: &k, Value: &val})
	}
	for _, f := range g.Functions {
		fp, err := e.function(f)
		if err != nil {
			return nil, err
		}
		p.Functions = append(p.Functions, fp)
	}
	if o.Whole {
		p.IrVersion = new(max(p.GetIrVersion(), 8)) // functions
		return p, wrapWhole(p)
	}
	return p, nil
}

func importsOut(opset int, domains []string) []*onnxpb.OperatorSetIdProto {
	out := []*onnxpb.OperatorSetIdProto{opsetID("", opset)}
	for _, d := range domains {
		out = append(out, opsetID(d, 1))
	}
	return out
}

func opsetID(domain string, version int) *onnxpb.OperatorSetIdProto {
	v := int64(version)
	return &onnxpb.OperatorSetIdProto{Domain: &domain, Version: &v}
}

// encoder writes graphs at one opset.
type encoder struct{ opset int }

// names gives the values of one graph their names in the file. A subgraph's
// captured inputs carry the outer names, its own values avoid them.
type names struct {
	of     map[*ir.Value]string
	outer  *names // of the graph around this one: its names are taken too
	values uniqueNames
	nodes  uniqueNames

	consts []*ir.Value // those that the written nodes read, in order
	listed map[*ir.Value]bool
}

func newNames(outer *names) *names {
	return &names{of: map[*ir.Value]string{}, outer: outer, values: uniqueNames{}, nodes: uniqueNames{}, listed: map[*ir.Value]bool{}}
}

func (n *names) taken(name string) bool {
	for ; n != nil; n = n.outer {
		if n.values[name] > 0 {
			return true
		}
	}
	return false
}

// uniqueNames holds the names given out, each with the last suffix that was
// tried to make others of it.
type uniqueNames map[string]int

// pick gives base, or base with the next suffix _2, _3, ... that is not taken.
func (u uniqueNames) pick(base string, taken func(string) bool) string {
	name := base
	for i := max(2, u[base]+1); taken(name); i++ {
		name = base + "_" + strconv.Itoa(i)
		u[base] = i
	}
	u[name] = max(1, u[name])
	return name
}

func (n *names) add(v *ir.Value) string {
	name, ok := n.of[v]
	if !ok {
		name = n.values.pick(v.Name, n.taken)
		n.of[v] = name
	}
	return name
}

// read is add for a value that is read: a constant is listed.
func (n *names) read(v *ir.Value) string {
	if v.IsConst() && !n.listed[v] {
		n.listed[v] = true
		n.consts = append(n.consts, v)
	}
	return n.add(v)
}

// node makes a node name unique: the format asks for it.
func (n *names) node(name string) string {
	if name == "" {
		return ""
	}
	return n.nodes.pick(name, func(s string) bool { return n.nodes[s] > 0 })
}

func (e *encoder) graph(g *ir.Graph, n *names) (*onnxpb.GraphProto, error) {
	if n == nil {
		n = newNames(nil)
	}
	p := &onnxpb.GraphProto{Name: &g.Name}
	if g.Name == "" {
		name := "graph"
		p.Name = &name
	}
	captures, err := captureCount(g)
	if err != nil {
		return nil, err
	}
	for _, v := range g.Inputs[:len(g.Inputs)-captures] {
		p.Input = append(p.Input, valueInfo(n.add(v), v.Type))
	}
	for node := range g.Nodes() {
		for _, v := range node.Outputs {
			if v != nil {
				n.add(v)
			}
		}
	}
	for node := range g.Nodes() {
		list, err := e.node(node, n)
		if err != nil {
			return nil, err
		}
		p.Node = append(p.Node, list...)
		for _, v := range node.Outputs {
			if v != nil && node.Domain != "" && v.Type.Elem != ir.Undefined && !g.IsOutput(v) {
				p.ValueInfo = append(p.ValueInfo, valueInfo(n.add(v), v.Type))
			}
		}
	}
	for _, v := range g.Outputs {
		n.read(v)
		p.Output = append(p.Output, valueInfo(n.add(v), v.Type))
	}
	for _, v := range n.consts {
		p.Initializer = append(p.Initializer, tensorOut(n.add(v), v.Const))
	}
	return p, nil
}

// captureCount is the number of a subgraph's trailing inputs that stand for
// values of the graph around it.
func captureCount(g *ir.Graph) (int, error) {
	s, ok := g.Meta[capturesKey]
	if !ok {
		return 0, nil
	}
	k, err := strconv.Atoi(s)
	if err != nil || k < 0 || k > len(g.Inputs) {
		return 0, fmt.Errorf("subgraph %s: bad count of captured values %s", ir.Quote(g.Name), ir.Quote(s))
	}
	return k, nil
}

func valueInfo(name string, t ir.Type) *onnxpb.ValueInfoProto {
	p := &onnxpb.ValueInfoProto{Name: &name}
	if t.Elem != ir.Undefined {
		p.Type = typeOut(t)
	}
	return p
}

// node writes one node; an older opset may take more than one for it.
func (e *encoder) node(n *ir.Node, names *names) ([]*onnxpb.NodeProto, error) {
	w, err := e.lower(n, e.opset)
	if err != nil {
		return nil, n.Errorf("%v", err)
	}
	p := &onnxpb.NodeProto{OpType: &w.op}
	if name := names.node(n.Name); name != "" {
		p.Name = &name
	}
	if n.Domain != "" {
		p.Domain = &n.Domain
	}
	captures := 0
	for _, name := range w.attrs.Names() {
		body, ok := w.attrs[name].(*ir.Graph)
		if !ok {
			a, err := attrOut(name, w.attrs[name])
			if err != nil {
				return nil, n.Errorf("%v", err)
			}
			p.Attribute = append(p.Attribute, a)
			continue
		}
		if captures, err = captureCount(body); err != nil {
			return nil, n.Errorf("%v", err)
		}
		if captures > len(n.Inputs) {
			return nil, n.Errorf("the subgraph captures %d values, the node reads %d", captures, len(n.Inputs))
		}
		inner := newNames(names)
		for i, v := range body.Inputs[len(body.Inputs)-captures:] {
			if o := n.Inputs[len(n.Inputs)-captures+i]; o != nil {
				inner.of[v] = names.read(o)
			}
		}
		g, err := e.graph(body, inner)
		if err != nil {
			return nil, n.Errorf("attribute %s: %v", ir.Quote(name), err)
		}
		typ, attrName := onnxpb.AttributeProto_GRAPH, name
		p.Attribute = append(p.Attribute, &onnxpb.AttributeProto{Name: &attrName, Type: &typ, G: g})
	}
	inputs := w.inputs[:len(w.inputs)-captures]
	for _, v := range inputs {
		if v == nil {
			p.Input = append(p.Input, "")
		} else {
			p.Input = append(p.Input, names.read(v))
		}
	}
	for _, v := range n.Outputs {
		if v == nil {
			p.Output = append(p.Output, "")
		} else {
			p.Output = append(p.Output, names.add(v))
		}
	}
	return []*onnxpb.NodeProto{p}, nil
}

// function writes a model-local function. Functions have no initializers, so
// the body's constants become Constant nodes before the others.
func (e *encoder) function(f *ir.Function) (*onnxpb.FunctionProto, error) {
	p := &onnxpb.FunctionProto{Name: &f.Name, Domain: &f.Domain, Attribute: f.Attrs}
	if f.Doc != "" {
		p.DocString = &f.Doc
	}
	n := newNames(nil)
	for _, v := range f.Body.Inputs {
		p.Input = append(p.Input, n.add(v))
	}
	for _, v := range f.Body.Outputs {
		p.Output = append(p.Output, n.add(v))
	}
	body, err := e.graph(f.Body, n)
	if err != nil {
		return nil, fmt.Errorf("function %s::%s: %w", f.Domain, f.Name, err)
	}
	for _, t := range body.GetInitializer() {
		op, attr, typ, name := "Constant", "value", onnxpb.AttributeProto_TENSOR, t.GetName()
		t.Name = nil
		p.Node = append(p.Node, &onnxpb.NodeProto{OpType: &op, Output: []string{name},
			Attribute: []*onnxpb.AttributeProto{{Name: &attr, Type: &typ, T: t}}})
	}
	p.Node = append(p.Node, body.GetNode()...)
	p.OpsetImport = importsOut(e.opset, foreignDomains(f.Body))
	return p, nil
}
