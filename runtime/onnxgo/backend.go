package onnxgo

import (
	"math"

	"github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/tensor"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// Backend is an onnx-go computation backend: the decoder fills it, Run computes
// the model's outputs from its inputs. Graph nodes are tensors; an edge leads
// from a result to an operand and weighs the operand's position. The embedded
// graph is for queries, such as drawing it; it holds one edge where an operation
// reads a tensor twice.
type Backend struct {
	*simple.WeightedDirectedGraph

	nodes  []*node
	values []*value // in the order of their nodes
	byName map[string]*value
	edges  []graph.WeightedEdge // of the operation that comes next
	ops    []operation
	sorted bool
	plan   *plan
}

var (
	_ backend.ComputationBackend = (*Backend)(nil)
	_ onnx.Namer                 = (*node)(nil)
	_ onnx.DataCarrier           = (*node)(nil)
)

// NewBackend makes an empty backend for one onnx.Model.
func NewBackend() *Backend {
	return &Backend{
		WeightedDirectedGraph: simple.NewWeightedDirectedGraph(0, math.Inf(1)),
		byName:                map[string]*value{},
	}
}

// operation is one node of the model. A nil operand or result is left out.
type operation struct {
	domain, name string
	attrs        ir.Attrs
	ins, outs    []*value
}

// value is one tensor of the model. Graph nodes of the same name share it: the
// decoder makes a second node for a name that is declared twice.
type value struct {
	name     string
	t        tensor.Tensor // declared placeholder, weight, input or result
	computed bool          // an operation makes it
	read     bool          // an operation reads it
	declared bool          // the decoder gave it a type
	input    bool          // the caller provides it
	given    bool          // the caller has
	asked    bool          // GetTensor wanted it
}

// node is a value as onnx-go sees it.
type node struct {
	b       *Backend
	id      int64
	name    string
	v       *value
	tensors int // tensors that the decoder has set
}

// NewNode makes a node; ids count up from 0, which is what onnx-go's SetInput
// takes for granted.
func (b *Backend) NewNode() graph.Node {
	n := &node{b: b, id: int64(len(b.nodes)), v: &value{}}
	b.nodes = append(b.nodes, n)
	b.values = append(b.values, n.v)
	return n
}

// SetWeightedEdge notes that the result e.From reads e.To at position e.Weight.
func (b *Backend) SetWeightedEdge(e graph.WeightedEdge) {
	b.edges = append(b.edges, e)
	if e.From().ID() != e.To().ID() { // a cycle is for Run to report
		b.WeightedDirectedGraph.SetWeightedEdge(e)
	}
}

// ApplyOperation takes the operation that computes outs from the operands whose
// edges were set last. The error is an *onnx.ErrNotImplemented for operators
// that package ops does not know.
func (b *Backend) ApplyOperation(op onnx.Operation, outs ...graph.Node) error {
	edges := b.edges
	b.edges = nil
	domain, ok := domainOf(op.Name)
	if !ok {
		return &onnx.ErrNotImplemented{Operator: op.Name, Message: "it is no operator of ai.onnx or " + ir.Domain}
	}
	o := operation{domain: domain, name: op.Name}
	for i, out := range outs {
		n, ok := out.(*node)
		if !ok {
			return o.errorf("result %d is a %T, no node of this backend", i, out)
		}
		o.outs = append(o.outs, n.v)
		n.v.computed = n.v.name != ""
	}
	if len(outs) == 0 {
		return o.errorf("the operation has no results")
	}
	for _, e := range edges {
		if e.From().ID() != outs[0].ID() {
			continue
		}
		n, ok := e.To().(*node)
		if !ok {
			return o.errorf("an operand is a %T, no node of this backend", e.To())
		}
		i := int(e.Weight())
		for len(o.ins) <= i {
			o.ins = append(o.ins, nil)
		}
		o.ins[i] = n.v
		n.v.read = true
	}
	var err error
	if o.attrs, err = attrsOf(op.Attributes); err != nil {
		return o.errorf("%v", err)
	}
	b.ops = append(b.ops, o)
	return nil
}

// domainOf finds the domain of an operator, which onnx-go does not tell.
func domainOf(op string) (domain string, ok bool) {
	switch {
	case op == "Constant" || ops.Lookup("", op) != nil:
		return "", true
	case op == unpackOp || ops.Lookup(ir.Domain, op) != nil:
		return ir.Domain, true
	}
	return "", false
}

// label names the operation in messages: onnx-go drops node names.
func (o *operation) label() string {
	for _, v := range o.outs {
		if v.name != "" {
			return v.name
		}
	}
	return ""
}

func (o *operation) errorf(format string, args ...any) *ir.Error {
	n := ir.Node{Op: o.name, Name: o.label()}
	return n.Errorf(format, args...)
}

// ID is the node's number in the graph.
func (n *node) ID() int64 { return n.id }

// GetName is the tensor's name in the file; empty for an operand left out.
func (n *node) GetName() string { return n.name }

// SetName names the node. Nodes of one name are one tensor.
func (n *node) SetName(name string) {
	n.name = name
	if v := n.b.byName[name]; v != nil {
		n.v = v
		return
	}
	n.v.name = name
	n.b.byName[name] = n.v
}

// SetTensor sets a weight while the model is decoded, and an input afterwards.
// The tensor is not copied: Run reads it as it then is.
func (n *node) SetTensor(t tensor.Tensor) error {
	if t == nil {
		return &ir.Error{Tensor: n.name, Msg: "the tensor given is nil"}
	}
	if len(n.b.ops) == 0 {
		n.tensors++
		n.v.declared = true
		n.v.t = t
		return nil
	}
	n.b.sortSources()
	if !n.v.input {
		return &ir.Error{Tensor: n.name, Msg: "is not an input of the model: onnx-go counts the initializers that a file lists among its inputs; rewrite the file with onnxgo.Lower"}
	}
	n.v.t, n.v.given = t, true
	return nil
}

// GetTensor is a placeholder of the declared type before Run and the data
// afterwards. A result that Run had no need to keep is computed by running the
// model once more; it is nil when that fails.
func (n *node) GetTensor() tensor.Tensor {
	b, v := n.b, n.v
	if v.computed && b.plan != nil && !b.plan.holds(v) {
		v.asked = true
		if b.Run() != nil {
			v.asked = false
			return nil
		}
	}
	return v.t
}

// sortSources tells inputs from weights. The decoder makes nodes for the graph
// inputs, then for declared results, then for weights; a weight that is also
// listed as an input or declared has been given a type and then a tensor.
func (b *Backend) sortSources() {
	if b.sorted {
		return
	}
	b.sorted = true
	for _, n := range b.nodes {
		if n.v.computed {
			break
		}
		n.v.input = true
	}
	for _, n := range b.nodes {
		if n.tensors > 1 {
			n.v.input = false
		}
	}
}
