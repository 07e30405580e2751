// Package qvitc runs vision transformers, float or quantised to 2, 3 or 4 bits, in
// a Go program:
//
//	m, err := qvitc.Load("deit.w4a4.onnx", qvitc.Options{Threads: 2})
//	classes, err := m.Classify(ctx, img, 5)
//	fmt.Println(classes[0].Index, classes[0].Probability)
//
// prints the class of the picture, such as 281 0.71. A packed file says how
// pictures become its input; for others Options.Preprocess does.
//
// A Model may be used by many goroutines at once. Its Session runs tensors, in
// batches of any size and without allocating. A packed model runs as one planned
// integer program: see package runtime. Files quantised in other forms
// (QuantizeLinear and DequantizeLinear, MatMulNBits, QONNX) are packed when they
// are loaded and run the same way.
//
// The compiler that makes packed models is the command cmd/qvitc and the packages
// passes, quantize, distill and export.
package qvitc
