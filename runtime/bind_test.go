package runtime

import (
	"slices"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

func TestBind(t *testing.T) {
	g, err := ir.Parse(`graph "g" {
  input %x: f32[2,3]
  const %w: f32[3,2] = rand(1)
  %m: f32[2,2] = MatMul(%x, %w)
  %y: f32[2,2] = Relu(%m)
  output %y
}`, ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(g, Config{})
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{1, -2, 3, 0.5, 4, -1}
	plain := p.NewState()
	copy(plain.Input(g.Inputs[0]), x)
	if err := plain.Forward(); err != nil {
		t.Fatal(err)
	}
	st, y := p.NewState(), make([]float32, 4)
	if !st.Bind(g.Inputs[0], x) || !st.Bind(g.Outputs[0], y) {
		t.Fatal("not bound")
	}
	for range 2 {
		if err := st.Forward(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(y, plain.Value(g.Outputs[0])) {
			t.Errorf("%v, want %v", y, plain.Value(g.Outputs[0]))
		}
		x[0] += 1
		copy(plain.Input(g.Inputs[0]), x)
		if err := plain.Forward(); err != nil {
			t.Fatal(err)
		}
	}
	if st.Bind(g.Outputs[0], y[:3]) {
		t.Error("bound to memory of another length")
	}
}
