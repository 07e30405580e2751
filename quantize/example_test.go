package quantize_test

import (
	"context"
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/quantize"
)

// The grid of three signed bits, with an odd zero point: 0.25 and -0.25 lie
// half-way between two codes and go to the even one.
func ExampleQuantiser() {
	q := quantize.Quantiser{Bits: 3, Signed: true}
	for _, x := range []float32{-1.7, -0.6, -0.25, 0.25, 0.4, 2.3} {
		fmt.Printf("%5.2f -> code %2d -> %4.1f\n", x, q.Code(x, 0.5, 1), q.Fake(x, 0.5, 1))
	}
	// Output:
	// -1.70 -> code -2 -> -1.5
	// -0.60 -> code  0 -> -0.5
	// -0.25 -> code  1 ->  0.0
	//  0.25 -> code  1 ->  0.0
	//  0.40 -> code  2 ->  0.5
	//  2.30 -> code  3 ->  1.0
}

// Error and entropy ask for different steps: calibration minimises the error.
func ExampleQuantiser_OptimalStep() {
	for bits := 2; bits <= 4; bits++ {
		q := quantize.Quantiser{Bits: bits, Signed: true}
		e := q.OptimalStep(quantize.MinError)
		h := q.OptimalStep(quantize.MaxEntropy)
		fmt.Printf("%d bits: least error at %.2f sigma (%.2f bits of entropy), most entropy at %.2f sigma (%.2f bits)\n",
			bits, e, q.Gaussian(0, 1, e, 0).Entropy, h, q.Gaussian(0, 1, h, 0).Entropy)
	}
	// Output:
	// 2 bits: least error at 1.05 sigma (1.78 bits of entropy), most entropy at 0.62 sigma (1.93 bits)
	// 3 bits: least error at 0.60 sigma (2.72 bits of entropy), most entropy at 0.37 sigma (2.96 bits)
	// 4 bits: least error at 0.34 sigma (3.59 bits of entropy), most entropy at 0.20 sigma (3.94 bits)
}

// A linear layer with a quantised weight and input gets its scales from its own
// values and from two images.
func ExampleCalibrate() {
	g, err := ir.Parse(`graph "layer" {
  input %x: f32[batch,2]
  const %w: f32[2,2] = [0.7, -0.1, -0.3, 0.3]
  const %ws: f32[2] = fill(0)
  const %xs: f32[] = [0]
  %xq = ai.qvitc::FakeQuant(%x, %xs) {bits=4, signed=1}
  %wq = ai.qvitc::FakeQuant(%w, %ws) {axis=0, bits=4, signed=1}
  %y = MatMul(%xq, %wq)
  output %y
}`, ir.ParseOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(quantize.Calibrated(g) != nil)
	images := []float32{3.5, -1, 0.5, 2}
	c, err := quantize.Calibrate(context.Background(), g, quantize.SliceBatches(images, 2, 1), quantize.CalibrateOptions{Method: quantize.MinMax, Weights: quantize.MinMax})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range c.Layers {
		fmt.Printf("%s: %.3f\n", l.Tensor, l.Scale)
	}
	fmt.Println(quantize.Calibrated(g))
	// Output:
	// true
	// x: [0.500]
	// w: [0.100 0.043]
	// <nil>
}
