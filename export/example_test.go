package export_test

import (
	"fmt"

	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
)

// A quantised layer written in two forms, and the second read back.
func ExampleBuild() {
	student, err := ir.Parse(`graph "g" {
  input %x: f32[batch,4]
  const %w: f32[4,2] = rand(1)
  const %ws: f32[2] = [0.25, 0.25]
  const %xs: f32[] = [0.1]
  %xq: f32[batch,4] = ai.qvitc::FakeQuant(%x, %xs) {bits=3, signed=1}
  %wq: f32[4,2] = ai.qvitc::FakeQuant(%w, %ws) {axis=1, bits=3, signed=1}
  %y: f32[batch,2] = MatMul(%xq, %wq) #"head"
  output %y
}`, ir.ParseOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ops.Infer(student); err != nil {
		fmt.Println(err)
		return
	}
	var file []byte
	for _, f := range []export.Format{export.FormatPacked, export.FormatNBits} {
		b, err := export.Build(student, export.Target{Format: f})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: opset %d, IR %d, ONNX Runtime %s\n", f, b.Needs.Opset, b.Needs.IR, b.Needs.ORT)
		for _, n := range b.Notes {
			fmt.Println(" ", n)
		}
		if file, err = onnxio.Encode(b.Graph, b.Write); err != nil {
			fmt.Println(err)
			return
		}
	}
	back, err := onnxio.Decode(file, onnxio.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := export.Source(back); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(export.LayerBits(back)[0].Bits)
	// Output:
	// packed: opset 18, IR 8, ONNX Runtime 1.16
	// nbits: opset 11, IR 6, ONNX Runtime 1.17
	//   nbits holds weights only: 1 quantisers of activations are left out
	//   nbits has no 3-bit type here: 1 weights of 3 bits are stored in wider codes
	// w3f32
}
