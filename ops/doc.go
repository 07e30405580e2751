// Package ops is the table of operators: what each one means.
//
// An Op states its signature (inputs, outputs, type variables, attributes and
// their defaults), the rule for result types and shapes, its multiply-
// accumulate count and a slow, exact evaluation, the oracle that every fast
// path is checked against. Operators stand in their newest ONNX form; the
// domain ai.qvitc holds this tool's own.
//
// Infer follows not only shapes but also the content of the small integer
// tensors that carry shapes, with symbolic dimensions in them:
//
//	%s = Shape(%x)           [batch,17,96]
//	%b = Gather(%s, 0)       batch
//	%t = Concat(%b, 17, 3, 32)
//	%y = Reshape(%x, %t)     f32[batch,17,3,32]
//
// Integers are polynomials over the symbols (4*batch+1), so a -1 in Reshape
// resolves where the symbols cancel.
//
// Evaluation runs the same shape rule on the concrete tensors first. Sizes are
// therefore checked before anything is allocated: a bad or hostile node is an
// error that names it.
package ops
