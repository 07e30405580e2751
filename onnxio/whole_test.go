package onnxio

import (
	"slices"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// A graph written as one operator reads back as the graph it was, and comes out
// of the operator's attribute with its constants in order.
func TestWhole(t *testing.T) {
	g, err := ir.Parse(`graph "g" {
  input %x: f32[batch,3]
  const %w: f32[3,2] = rand(1)
  const %shape: i64[2] = [-1, 1]
  %m = MatMul(%x, %w) #"fc"
  %y: f32["2*batch",1] = Reshape(%m, %shape) #"out"
  output %y
}`, ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ops.Infer(g); err != nil {
		t.Fatal(err)
	}
	b, err := Encode(g, WriteOptions{MinOpset: 18, Whole: true})
	if err != nil {
		t.Fatal(err)
	}
	m, err := ReadModel(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	call := m.Proto.Graph.Node
	if len(call) != 1 || call[0].GetOpType() != WholeOp || m.Proto.GetIrVersion() < 8 {
		t.Fatalf("%d nodes, IR %d", len(call), m.Proto.GetIrVersion())
	}
	back, err := m.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var consts []*ir.Tensor
	for _, p := range m.Proto.Graph.Initializer {
		consts = append(consts, back.Value(p.GetName()).Const)
	}
	again, err := DecodeWhole(call[0].Attribute[0].S, func(i int) (*ir.Tensor, error) { return consts[i], nil })
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]*ir.Tensor{"x": ir.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3)}
	want, err := ops.EvalGraph(g, in)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*ir.Graph{back, again} {
		got, err := ops.EvalGraph(h, in)
		if err != nil {
			t.Fatal(err)
		}
		if h.Len() != g.Len() || !slices.Equal(got["y"].F32(), want["y"].F32()) {
			t.Errorf("%v, want %v\n%s", got["y"], want["y"], h)
		}
	}
	if _, err := DecodeWhole([]byte("no gzip"), nil); err == nil {
		t.Error("a damaged attribute, no error")
	}
}
