package onnxio

import (
	"fmt"
	"os"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// BenchmarkDecode reads the shipped model and a file of 90 MB.
func BenchmarkDecode(b *testing.B) {
	shipped, err := os.ReadFile("../testdata/onnx/deit-fmnist.onnx")
	must(b, err)
	g := ir.New("big")
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(1, 1024)))
	for i := range 22 {
		x = g.Add("MatMul", fmt.Sprint("y", i), nil, x, g.AddConst(fmt.Sprint("w", i), ir.Of(make([]float32, 1<<20), 1024, 1024))).Out()
	}
	g.AddOutput(x)
	big, err := Encode(g, WriteOptions{})
	must(b, err)
	for name, data := range map[string][]byte{"deit-fmnist": shipped, "90MB": big} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				g, err := Decode(data, Options{})
				must(b, err)
				if g.Len() == 0 {
					b.Fatal("empty")
				}
			}
		})
	}
}
