// Package doctor finds, in an ONNX file, forms that ONNX Runtime is known to
// refuse, to answer wrongly or to run slowly, and says what to do.
//
//	m, err := onnxio.LoadModel("model.onnx", onnxio.Options{})
//	to, err := doctor.ParseTarget("ort>=1.20")
//	found, needs, err := doctor.Check(m, to)
//	for _, f := range found {
//		fmt.Println(f)          // dq-matmul (wrong answers, ONNX Runtime 1.25 and newer): node "fc": ...
//		fmt.Println(f.Fix)      // ... use Gemm with transB=1 ...
//	}
//
// Each hazard holds for a range of versions, which was measured by running the
// crafted files of testdata on them (make matrix, docs/matrix.md). Low-bit files meet most
// of them: a 4-bit weight that is dequantised in front of MatMul loads everywhere,
// and from some version on has its activations rounded to 8 bits in silence.
//
// Look describes the machine: processor, kernels, memory, ONNX Runtimes found.
package doctor
