package report

import (
	"fmt"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

func outName(n *ir.Node) string { return n.Out().Name }

func ExampleTree() {
	g, err := ir.Parse(block, ir.ParseOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	tree, err := Tree(g, outName)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(tree)
	// Output:
	// block 0                                                                 128
	//   attention                                                              64
	//     q                MatMul             3x4                              16  q0
	//     k                MatMul             3x4                              16  k0
	//     v                MatMul             3x4                              16  v0
	//     scores           MatMul             2x3x2 -> 2x3x3                       s0
	//     probs            Softmax            2x3x3                                p
	//     context          MatMul             2x3x3 -> 2x3x2                       c0
	//     proj             MatMul             3x4                              16  o
	//   mlp                                                                    64
	//     fc1              MatMul             3x4 -> 3x8                       32  h0
	//     act              Gelu               3x8                                  h1
	//     fc2              MatMul             3x8 -> 3x4                       32  h
	// head                 MatMul             3x4 -> 3x5                       25  l0
}

// The tree holds every parameter once, those of no layer under "other".
func TestTreeCountsEveryParameter(t *testing.T) {
	text := block[:len(block)-len("  output %l\n}\n")] + "  const %pos: f32[1,3,5] = rand(9)\n  %lp: f32[batch,3,5] = Add(%l, %pos)\n  output %lp\n}\n"
	g, err := ir.Parse(text, ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Tree(g, outName)
	if err != nil {
		t.Fatal(err)
	}
	if want := Params(g); tree.Params != want {
		t.Errorf("the tree has %d parameters, the graph %d", tree.Params, want)
	}
	other := tree.Parts[len(tree.Parts)-1]
	if other.Name != "other" || len(other.Parts) != 1 || other.Parts[0].Name != "pos" || other.Params != 15 {
		t.Errorf("other: %+v", other)
	}
}
