package onnxgo

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/tensor"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"github.com/qvitc/qvitc/runtime"
)

// collector is a backend that keeps what the decoder of onnx-go hands over and
// nothing else: it shows what a file loses there.
type collector struct {
	*simple.WeightedDirectedGraph
	ops   []onnx.Operation
	outs  [][]graph.Node
	count int64
}

type collected struct {
	id   int64
	name string
	t    tensor.Tensor
}

func (n *collected) ID() int64                       { return n.id }
func (n *collected) SetName(s string)                { n.name = s }
func (n *collected) GetName() string                 { return n.name }
func (n *collected) SetTensor(t tensor.Tensor) error { n.t = t; return nil }
func (n *collected) GetTensor() tensor.Tensor        { return n.t }

func (c *collector) NewNode() graph.Node { c.count++; return &collected{id: c.count - 1} }

func (c *collector) ApplyOperation(o onnx.Operation, outs ...graph.Node) error {
	c.ops, c.outs = append(c.ops, o), append(c.outs, outs)
	return nil
}

// edges is the number of operands that operation i is left with.
func (c *collector) edges(i int) int { return c.From(c.outs[i][0].ID()).Len() }

func (c *collector) has(name string) bool {
	for it := c.Nodes(); it.Next(); {
		if it.Node().(*collected).name == name {
			return true
		}
	}
	return false
}

// collect decodes b; a panic of the decoder is an error.
func collect(b []byte) (c *collector, m *onnx.Model, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	c = &collector{WeightedDirectedGraph: simple.NewWeightedDirectedGraph(0, math.Inf(1))}
	m = onnx.NewModel(c)
	return c, m, m.UnmarshalBinary(b)
}

func errorHas(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

func parse(t *testing.T, text string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse(text, ir.ParseOptions{})
	must(t, err)
	return g
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// checkDecodes proves that a lowered file is free of every trap: by its messages
// and by what the decoder makes of it.
func checkDecodes(t *testing.T, b []byte) {
	t.Helper()
	f, err := onnxio.ReadModel(b, onnxio.Options{})
	must(t, err)
	p := f.Proto
	if len(p.Functions) > 0 || len(p.Graph.ValueInfo) > 0 || len(p.Graph.SparseInitializer) > 0 {
		t.Errorf("%d functions, %d declared values, %d sparse tensors are left", len(p.Functions), len(p.Graph.ValueInfo), len(p.Graph.SparseInitializer))
	}
	if v := p.OpsetImport[0]; v.GetDomain() != "" || v.GetVersion() != canonicalOpset {
		t.Errorf("opset %v", v)
	}
	names := map[string]bool{}
	for _, v := range append(slices.Clone(p.Graph.Input), p.Graph.Output...) {
		if names[v.GetName()] {
			t.Errorf("%q is declared twice", v.GetName())
		}
		names[v.GetName()] = true
		for _, d := range v.Type.GetTensorType().Shape.Dim {
			if d.GetDimValue() < 1 {
				t.Errorf("%q has dimension %v", v.GetName(), d)
			}
		}
	}
	for _, x := range p.Graph.Initializer {
		if names[x.GetName()] {
			t.Errorf("initializer %q is declared", x.GetName())
		}
		e := onnxpb.TensorProto_DataType(x.GetDataType())
		if !slices.Contains([]string{"FLOAT", "DOUBLE", "INT32", "INT64"}, e.String()) || len(x.RawData) == 0 || len(x.ExternalData) > 0 {
			t.Errorf("initializer %q of type %v has %d bytes inside the file", x.GetName(), e, len(x.RawData))
		}
	}
	for _, n := range p.Graph.Node {
		for i, in := range n.Input {
			if slices.Contains(n.Input[:i], in) {
				t.Errorf("node %q reads %q twice", n.GetName(), in)
			}
		}
		if slices.Contains(n.Input, "") || slices.Contains(n.Output, "") {
			t.Errorf("node %q (%s) has an empty name: %q, %q", n.GetName(), n.GetOpType(), n.Input, n.Output)
		}
		for _, a := range n.Attribute {
			if a.G != nil || len(a.Graphs) > 0 {
				t.Errorf("node %q has a subgraph", n.GetName())
			}
		}
	}
	c, m, err := collect(b)
	must(t, err)
	if len(m.Input) != len(p.Graph.Input) || len(m.Output) != len(p.Graph.Output) || len(c.ops) != len(p.Graph.Node) {
		t.Errorf("the decoder found %d inputs, %d outputs, %d operations of %d, %d, %d", len(m.Input), len(m.Output), len(c.ops), len(p.Graph.Input), len(p.Graph.Output), len(p.Graph.Node))
	}
	for i, id := range m.Input {
		if id != int64(i) {
			t.Errorf("input %d is node %d, SetInput sets node %d", i, id, i)
		}
	}
	for i, n := range p.Graph.Node {
		if c.edges(i) != len(n.Input) {
			t.Errorf("node %q has %d operands, the decoder left %d", n.GetName(), len(n.Input), c.edges(i))
		}
	}
}

// through runs a file in onnx-go on our backend.
func through(b []byte, in ...*ir.Tensor) ([]*ir.Tensor, error) {
	backend := NewBackend()
	m := onnx.NewModel(backend)
	if err := m.UnmarshalBinary(b); err != nil {
		return nil, err
	}
	for i, x := range in {
		y, err := toTensor(x)
		if err != nil {
			return nil, err
		}
		if err := m.SetInput(i, y); err != nil {
			return nil, err
		}
	}
	if err := backend.Run(); err != nil {
		return nil, err
	}
	out, err := m.GetOutputTensors()
	if err != nil {
		return nil, err
	}
	var got []*ir.Tensor
	for _, x := range out {
		y, err := fromTensor(x)
		if err != nil {
			return nil, err
		}
		got = append(got, y)
	}
	return got, nil
}

// compare runs g by runtime.Session and its lowered form b through onnx-go: the
// outputs must be equal, bit for bit.
func compare(t *testing.T, g *ir.Graph, b []byte, in ...*ir.Tensor) {
	t.Helper()
	s, err := runtime.NewSession(g, runtime.Options{})
	must(t, err)
	feed := map[string]*ir.Tensor{}
	for i, v := range g.Inputs {
		feed[v.Name] = in[i]
	}
	want, err := s.Run(context.Background(), feed)
	must(t, err)
	got, err := through(b, in...)
	must(t, err)
	for i, v := range g.Outputs {
		w := want[v.Name]
		if got[i].Elem != w.Elem || !slices.Equal(got[i].Shape, w.Shape) {
			t.Errorf("output %d is %v%v, want %v%v", i, got[i].Elem, got[i].Shape, w.Elem, w.Shape)
		}
		if d := cmp.Diff(w.Raw(), got[i].Raw(), cmp.Comparer(func(x, y float32) bool { return x == y || x != x && y != y })); d != "" {
			t.Errorf("output %d differs (-want +got):\n%.500s", i, d)
		}
	}
}
