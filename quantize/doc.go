// Package quantize is the mathematics of the Q-ViT quantiser and everything
// that is measured with it: the reference grid with its gradients, streaming
// observers, the choice of scales, and the entropy of what attention carries.
//
// A Quantiser is a grid of integers with a step alpha between them; a value
// becomes a code and the code stands for a value again, in the order that ONNX
// QuantizeLinear rounds:
//
//	code = clip(round(x/alpha)+zp, Qn, Qp)    half to even, float32 division
//	fake = (code-zp) * alpha
//
// For 3 bits, signed, alpha 0.5 and zp 1 the codes run from -4 to 3:
//
//	x     -1.7  -0.6  -0.25  0.4  2.3
//	code    -2     0      1    2    3
//	fake  -1.5  -0.5      0  0.5    1
//
// A Histogram watches a stream of activations in fixed memory, so that its
// content depends on the values alone, not on their order or on the number of
// goroutines. Fit chooses alpha and zp from it by one of five methods; the
// default is least squared error. Calibrate does this for every FakeQuant node
// of a graph: weights from their values, activations from the float model run
// on images. Equalise, before it, moves unequal channels of a LayerNormalization
// into the weights that read them. MeasureEntropy reports, head by head, how much
// of the b bits the codes of q, k, v and the attention map carry, before and
// after the Information Rectification Module.
package quantize
