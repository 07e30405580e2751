package onnxio_test

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
)

// A graph is written at the lowest opset that has its operators.
func Example() {
	g := ir.New("mlp")
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(2)}))
	w := g.AddConst("w", ir.Of([]float32{1, 2}, 2, 1))
	g.AddOutput(g.Add("MatMul", "y", nil, x, w).Out())
	b, err := onnxio.Encode(g, onnxio.WriteOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := onnxio.ReadModel(b, onnxio.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("IR", m.Proto.GetIrVersion(), "opset", m.Proto.OpsetImport[0].GetVersion())
	h, err := onnxio.Decode(b, onnxio.Options{Name: "mlp.onnx"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Outputs[0].Def.Op, h.Outputs[0].Def.Input(1).Const.F32())
	// Output:
	// IR 6 opset 11
	// MatMul [1 2]
}
