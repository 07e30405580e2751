package ops_test

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// The shape arithmetic of a dynamic batch is followed symbolically, and the
// same graph runs on real data.
func Example() {
	g, err := ir.Parse(`graph "heads" {
  input %x: f32[batch,2,6]
  const %zero: i64[1] = [0]
  const %rest: i64[3] = [2,3,-1]
  %s = Shape(%x)
  %b = Gather(%s, %zero)
  %t = Concat(%b, %rest) {axis=0}
  %y = Reshape(%x, %t)
  output %y
}`, ir.ParseOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	facts, err := ops.Infer(g)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(facts[g.Value("b")].Ints, facts[g.Value("y")].Type)

	x := ir.Of(make([]float32, 5*2*6), 5, 2, 6)
	out, err := ops.EvalGraph(g, map[string]*ir.Tensor{"x": x})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(out["y"].Type())

	// Output:
	// [batch] f32[batch,2,3,2]
	// f32[5,2,3,2]
}
