// Command onnxgo classifies one image in a program written for
// github.com/owulveryck/onnx-go, with qvitc's runtime as its backend.
//
//	go run ./examples/onnxgo deit.w4a4.onnx examples/boot.f32
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"os"

	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/runtime/onnxgo"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: onnxgo MODEL.onnx IMAGE.f32")
	}
	g, err := onnxio.Load(os.Args[1], onnxio.Options{})
	check(err)
	lowered, err := onnxgo.Lower(g, 1) // what onnx-go's decoder understands; can be kept in a file
	check(err)
	raw, err := os.ReadFile(os.Args[2])
	check(err)
	pixels := make([]float32, len(raw)/4)
	for i := range pixels {
		pixels[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}

	backend := onnxgo.NewBackend()
	model := onnx.NewModel(backend)
	check(model.UnmarshalBinary(lowered))
	check(model.SetInput(0, tensor.New(tensor.WithShape(1, 1, 28, 28), tensor.WithBacking(pixels))))
	check(backend.Run())
	out, err := model.GetOutputTensors()
	check(err)
	logits := out[0].Data().([]float32)
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	fmt.Printf("class %d, logit %.3f\n", best, logits[best])
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
