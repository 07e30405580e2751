package onnxgo_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/runtime"
	"github.com/qvitc/qvitc/runtime/onnxgo"
)

// A DeiT through onnx-go, and the same by this module's own door.
func Example() {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	dir := filepath.Join("..", "..", "testdata", "onnx")
	g, err := onnxio.Load(filepath.Join(dir, "deit-fmnist.onnx"), onnxio.Options{})
	must(err)
	images, _, err := onnxio.ReadTensor(filepath.Join(dir, "deit-fmnist", "test_data_set_0", "input_0.pb"))
	must(err)
	lowered, err := onnxgo.Lower(g, images.Shape[0])
	must(err)

	// what follows is a program for onnx-go
	backend := onnxgo.NewBackend()
	model := onnx.NewModel(backend)
	must(model.UnmarshalBinary(lowered))
	must(model.SetInput(0, tensor.New(tensor.WithShape(8, 1, 28, 28), tensor.WithBacking(images.F32()))))
	must(backend.Run())
	out, err := model.GetOutputTensors()
	must(err)
	logits := out[0].Data().([]float32)
	fmt.Println("logits", out[0].Shape())

	session, err := runtime.NewSession(g, runtime.Options{})
	must(err)
	want, err := session.Run(context.Background(), map[string]*ir.Tensor{g.Inputs[0].Name: images})
	must(err)
	fmt.Println("equal", slices.Equal(logits, want[g.Outputs[0].Name].F32()))
	// Output:
	// logits (8, 10)
	// equal true
}
