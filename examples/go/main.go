// Command go classifies one image with a compressed model on qvitc's own runtime.
//
//	go run ./examples/go deit.w4a4.onnx examples/boot.f32
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"os"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/runtime"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: go MODEL.onnx IMAGE.f32")
	}
	g, err := onnxio.Load(os.Args[1], onnxio.Options{})
	check(err)
	raw, err := os.ReadFile(os.Args[2])
	check(err)
	pixels := make([]float32, len(raw)/4)
	for i := range pixels {
		pixels[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	session, err := runtime.NewSession(g, runtime.Options{})
	check(err)
	out, err := session.Run(context.Background(), map[string]*ir.Tensor{g.Inputs[0].Name: ir.Of(pixels, 1, 1, 28, 28)})
	check(err)
	logits := out[g.Outputs[0].Name].F32()
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
