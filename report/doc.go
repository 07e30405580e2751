// Package report describes models and runs: what architecture a graph is, what
// it costs at each bit width, and what a compression run did.
//
// Describe reads a graph whose roles the Clean passes have recognised:
//
//	arch, err := report.Describe(g)
//	fmt.Println(arch.Name, arch.Blocks, arch.Heads, arch.Params) // DeiT-S 12 [6] 22050664
//
// Sizes follow the counting rule of the Q-ViT authors (32 bits a float
// parameter, b bits a quantised one, 8 bits for the first and the last layer);
// the operation count is their convention of FP MACs plus b-bit MACs scaled by
// 1/8, 1/16 and 1/32, and BOPs are printed beside it.
//
// Diff runs two models on the same images and pairs their layers, float or
// quantised, by name:
//
//	c, err := report.Diff(ctx, float, packed, batches, report.DiffOptions{Name: passes.LayerName})
//	c.WriteTable(os.Stdout) // blocks.3.mlp.fc2  linear  f32>w4a4  10.2 dB ..., the worst first
package report
