package passes

import (
	"math"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// The input is read twice and padded with zeros: the answers for an image of one
// normalisation are those for the same image of the other, borders included.
func TestRenormalise(t *testing.T) {
	const text = `graph "g" {
  input %x: f32[b,2,3,3]
  const %w: f32[1,2,3,3] = rand(1)
  %conv = Conv(%x, %w) {pads=[1, 1, 1, 1]i}
  %sum = Add(%conv, %x)
  output %sum
}`
	typed := func() *ir.Graph {
		g := parse(t, text)
		if _, err := ops.Infer(g); err != nil {
			t.Fatal(err)
		}
		return g
	}
	meanA, stdA := []float32{0.5, 0.25}, []float32{0.25, 0.5}
	meanB, stdB := []float32{0.125, 0.75}, []float32{0.75, 0.2}
	xa, xb := make([]float32, 18), make([]float32, 18)
	for i := range xa {
		p, c := float32(i)/18, i/9
		xa[i], xb[i] = (p-meanA[c])/stdA[c], (p-meanB[c])/stdB[c]
	}
	b, a := typed(), typed()
	if err := Renormalise(a, []float32{stdA[0] / stdB[0], stdA[1] / stdB[1]}, []float32{(meanA[0] - meanB[0]) / stdB[0], (meanA[1] - meanB[1]) / stdB[1]}); err != nil {
		t.Fatal(err)
	}
	if err := a.Check(); err != nil {
		t.Fatal(err)
	}
	eval := func(g *ir.Graph, x []float32) []float32 {
		out, err := ops.EvalGraph(g, map[string]*ir.Tensor{"x": ir.Of(x, 1, 2, 3, 3)})
		if err != nil {
			t.Fatal(err)
		}
		return out[g.Outputs[0].Name].F32()
	}
	want := eval(b, xb)
	for i, got := range eval(a, xa) {
		if math.Abs(float64(got-want[i])) > 1e-5 {
			t.Errorf("%d: %v, want %v", i, got, want[i])
		}
	}
	if err := Renormalise(typed(), []float32{1, 2, 3}, []float32{0}); err == nil {
		t.Error("three values for two channels are taken")
	}
}
