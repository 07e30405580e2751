package runtime_test

import (
	"context"
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// line is y = 3·x + 1.
func line() (g *ir.Graph, slope *ir.Value) {
	g = ir.New("line")
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("n")}))
	slope = g.AddConst("slope", ir.Scalar(float32(3)))
	m := g.Add("Mul", "scaled", nil, x, slope)
	g.AddOutput(g.Add("Add", "y", nil, m.Out(), g.AddConst("one", ir.Scalar(float32(1)))).Out())
	return g, slope
}

// Training: one step forward and backward for the loss y[0] + y[1].
func ExampleCompile() {
	g, slope := line()
	p, err := runtime.Compile(g, runtime.Config{Batch: 2, Train: true, Params: []*ir.Value{slope}})
	if err != nil {
		fmt.Println(err)
		return
	}
	s := p.NewState()
	copy(s.Input(g.Inputs[0]), []float32{1, 2})
	if err := s.Forward(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("y =", s.Value(g.Outputs[0]))
	for i := range s.Seed(g.Outputs[0]) {
		s.Seed(g.Outputs[0])[i] += 1
	}
	grad := make([]float32, 1)
	s.Backward([][]float32{grad})
	fmt.Println("dLoss/dslope =", grad[0])
	// Output:
	// y = [4 7]
	// dLoss/dslope = 3
}

// Inference on any batch.
func ExampleSession() {
	g, _ := line()
	s, err := runtime.NewSession(g, runtime.Options{Threads: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := s.Run(context.Background(), map[string]*ir.Tensor{"x": ir.Of([]float32{0, 1, 2}, 3)})
	fmt.Println(out["y"].F32(), err)
	// Output: [1 4 7] <nil>
}
