package passes_test

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
)

// A program outside this module adds a pass of its own to the list.
func Example() {
	g, err := ir.Parse(`graph "mlp" {
  input %x: f32[batch,4]
  const %w: f32[3,4] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
  const %b: f32[3] = [0, 0.5, 1]
  %y = Gemm(%x, %w, %b) {transB=1} #"/head/Gemm"
  %z = Relu(%y)
  output %z
}`, ir.ParseOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	leaky := passes.Pass{
		Name: "relu-to-leaky",
		Doc:  "make every Relu a LeakyRelu",
		Run: func(g *ir.Graph, r *passes.Report) (bool, error) {
			for n := range g.Nodes() {
				if n.Is("Relu") {
					l := g.InsertBefore(n, "", "LeakyRelu", ir.Attrs{"alpha": float32(0.125)}, n.Inputs, "leaky")
					g.ReplaceUses(n.Out(), l.Out())
					g.Remove(n)
					r.Count("made leaky", 1)
				}
			}
			return r.Get("made leaky") > 0, nil
		},
	}
	d := passes.Driver{Check: true}
	res, err := d.Run(g, append(passes.Clean, leaky))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(res.Step("relu-to-leaky").Report)
	fmt.Print(g)
	// Output:
	// made leaky 1
	// graph "mlp" {
	//   input %x: f32[batch,4]
	//   const %w: f32[4,3] = [1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12]
	//   const %b: f32[3] = [0, 0.5, 1]
	//   %y.matmul: f32[batch,3] = MatMul(%x, %w) #"/head/Gemm"
	//   %y: f32[batch,3] = Add(%y.matmul, %b) #"/head/Gemm/bias"
	//   %z = LeakyRelu(%y) {alpha=0.125f}
	//   output %z
	// }
}

// What each layer of a model gets from a plan.
func ExamplePlan_Describe() {
	g, err := ir.Parse(`graph "mlp" {
  input %x: f32[batch,4]
  const %w1: f32[4,8] = rand(1)
  const %w2: f32[8,4] = rand(2)
  %a = MatMul(%x, %w1) #"/blocks/blocks.0/mlp/fc1/MatMul"
  %h = Gelu(%a)
  %b = MatMul(%h, %w2) #"/blocks/blocks.0/mlp/fc2/MatMul"
  %y = Add(%x, %b)
  output %y
}`, ir.ParseOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	d := passes.Driver{Check: true}
	if _, err := d.Run(g, passes.Clean); err != nil {
		fmt.Println(err)
		return
	}
	plan := passes.DefaultPlan(4, 4)
	plan.Overrides = []passes.Override{{Match: "**.fc2", Acts: 8}}
	text, err := plan.Describe(g)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(text)
	// Output:
	// layer             role         block  weights   acts
	// blocks.0.mlp.fc1  fc1              -        4      4
	// blocks.0.mlp.fc2  fc2              -        4      8
	// irm off, 2 layers, 0 of them in float
}
