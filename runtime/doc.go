// Package runtime runs a graph in float32, and trains it.
//
// The idea. Shapes of a vision transformer are known before it runs, so all
// thinking happens once, in Compile: symbolic sizes are bound, everything that
// depends only on constants is computed, nodes that only rename elements
// (Reshape, Squeeze, Split of the first axis, ...) become views, a MatMul and
// the Add of its bias become one step, and every tensor gets its place in one
// arena in which tensors share memory when their lives do not overlap. What is
// left is a list of steps; Forward calls them in order and allocates nothing.
//
// Training is the same list walked backwards. Each kind of step has its gradient
// beside it, in one file per family. The plan knows which activations the
// gradients need and keeps only those, and knows who writes a gradient first, so
// nothing is cleared that would be overwritten.
//
//	p, err := runtime.Compile(g, runtime.Config{Batch: 2, Train: true, Params: params})
//	s := p.NewState()
//	copy(s.Input(g.Inputs[0]), images)
//	err = s.Forward()
//	logits := s.Value(g.Outputs[0])
//	seed := s.Seed(g.Outputs[0]) // += dLoss/dlogits
//	s.Backward(grads)            // grads[i] = dLoss/dparams[i]
//
// A State is single-threaded and gives the same bits for the same inputs;
// threads work on States of their own, on shards of a batch (Parallel).
// Quantisers (ai.qvitc FakeQuant) round in Forward and pass gradients straight
// through in Backward. A product of two quantised operands runs forward on their
// integer codes, with the bits of the packed operator that it is exported as
// (codes.go; trainconv.go for a patch embedding); what its gradients need is kept as codes, a byte each.
// Normalisations and GELUs, and below a memory limit whole segments of the graph,
// run forward twice instead of being kept (recompute.go). What lies between two
// products is joined where it can be, forward and backward: a quantiser with the GELU
// or the softmax before it, the softmax with its scale and rescaling (fuse_training.go).
//
// Packed operators (QLinearW4A4, QMatMulA4B4, ...) run on integer codes, and for
// inference chains of them become fused steps that hand codes on: a LayerNorm
// writes the codes of the linear layer behind it, a product ends with its bias,
// residual or GELU while its sums are in the cache, attention is one step per
// block (fuse.go). The answers are those of the single operators, bit for bit;
// Config.KeepCodes shows the codes of every quantiser (observe.go).
// Session is the simple door for inference: any batch, many goroutines, one image
// shared by several threads.
//
// For y = 3·x + 1, x = [1 2], package example prints y = [4 7] and, for the loss
// y₀ + y₁, the gradient dLoss/d(3) = 3.
package runtime
