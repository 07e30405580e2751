package kernel_test

import (
	"fmt"

	"github.com/qvitc/qvitc/internal/kernel"
)

func ExampleWorkspace_Gemm() {
	var w kernel.Workspace
	c := make([]float32, 4)
	w.Gemm(false, false, 2, 2, 3, 1,
		[]float32{1, 2, 3, 4, 5, 6}, 3,
		[]float32{1, 0, 0, 1, 1, 1}, 2,
		0, c, 2)
	fmt.Println(c)
	// Output: [4 5 10 11]
}

func ExampleFakeQuant() {
	// A 2-bit signed grid with step 0.5: codes -2..1.
	x := []float32{-2, -0.3, 0.25, 0.3, 9}
	y := make([]float32, len(x))
	kernel.FakeQuant(y, x, 0.5, 0, -2, 1)
	fmt.Println(y)
	// Output: [-1 -0.5 0 0.5 0.5]
}

func ExampleWorkspace_Tile() {
	// Two outputs of three inputs, 4-bit weights and 4-bit activations.
	b := kernel.NewWeights(4, 4, 2, 3, []int8{1, -2, 3, 7, 0, -8})
	a := []uint8{1, 2, 3, 0} // a row of whole words of four codes
	f := kernel.Affine{Factor: []float32{0.5, 0.5}, Bias: []float32{1, 1}}

	var w kernel.Workspace
	tile, y := make([]int32, kernel.PanelWidth), make([]float32, 2)
	w.Panel(b, 0)
	w.Tile(1, a, 4, tile, kernel.PanelWidth)
	kernel.DequantTile(y, 2, tile, kernel.PanelWidth, 1, 2, &f, 0)
	fmt.Println(tile[:2], y)
	// Output: [6 -17] [4 -7.5]
}
