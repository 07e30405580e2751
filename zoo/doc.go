// Package zoo draws vision transformers: float DeiT, ViT and Swin graphs of any
// size with seeded random weights, laid out and named as an exporter writes a
// trained network. They serve as starting points of training and as models of
// full size for measurements where trained weights do not matter.
//
//	g, err := zoo.DeiT{Dim: 192, Depth: 12, Heads: 3, Patch: 16, Image: 224, Channels: 3, Classes: 1000}.Graph(ctx)
//	m, err := zoo.Preset("swin-tiny")   // the same by name
//	g, err = m.Graph(ctx)
//	c, err := zoo.SizesOf(trained)          // of a clean graph with roles
//	c.Patch, c.Image = 4, 32
//	g, err = c.From(ctx, trained)                // its weights, for images of another size
//
// A block of a DeiT, printed:
//
//	%blocks.0.norm1 = LayerNormalization(...)
//	%blocks.0.attn.qkv = MatMul(%blocks.0.norm1, %blocks.0.attn.qkv.weight)
//	...
//
// The batch dimension is symbolic. Weights are drawn so that an untrained
// network behaves like a trained one in scale: every layer keeps the variance
// of a unit input, attention is neither uniform nor one-hot, logits have a
// deviation near 1. The same seed gives the same graph; every tensor has a
// generator of its own, so a deeper network begins with the same blocks.
package zoo
