package doctor_test

import (
	"fmt"

	"github.com/qvitc/qvitc/doctor"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
)

func Example() {
	g, err := ir.Parse(`graph "head" {
  input %x: f32[m,64]
  const %w: i4[64,8] = rand(1)
  const %s: f32[8] = fill(0.07)
  %wf: f32[64,8] = DequantizeLinear(%w, %s) {axis=1}
  %y: f32[m,8] = MatMul(%x, %wf) #"fc"
  output %y
}`, ir.ParseOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := ops.Infer(g); err != nil {
		fmt.Println(err)
		return
	}
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
	for _, target := range []string{"ort=1.20", "ort=1.30"} {
		to, err := doctor.ParseTarget(target)
		if err != nil {
			fmt.Println(err)
			return
		}
		found, needs, err := doctor.Check(m, to)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(to, "found", len(found), "needs", needs.ORT)
		for _, f := range found {
			fmt.Println(f.Hazard, "|", f.Effect, "|", f.Versions, "|", f.Node)
		}
	}
	// Output:
	// ort=1.20 found 0 needs 1.20
	// ort=1.30 found 1 needs 1.20
	// dq-matmul | wrong answers | 1.25 and newer | fc
}
