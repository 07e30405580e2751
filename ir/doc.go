// Package ir is the graph every other room works on: typed values, nodes in
// topological order, use lists, and the few edits that keep them true.
//
// A Graph holds canonical operators: ONNX names in their newest form, whatever
// opset the file had. A Value is defined once, by a node, as a graph input or
// as a constant; every value knows its users. A Node keeps its Origin, the way
// back to the file the user gave, and a Role, what it is in a transformer.
//
// Quantisation is an ordinary node in the domain ai.qvitc:
//
//	%y = ai.qvitc::FakeQuant(%x, %scale, %zero_point) {axis=1, bits=4, signed=1}
//
// Its scale and zero point are ordinary constants, so training, printing and
// exporting them need no second mechanism.
//
// The text form prints one node a line and parses back:
//
//	graph "mlp" {
//	  input %x: f32[batch,2]
//	  const %w: f32[2,1] = [1, 2]
//	  %y: f32[batch,1] = MatMul(%x, %w) #"fc"
//	  output %y
//	}
//
// Model-local functions stand behind the outputs, as "function my::Twice graph ...".
//
// Check proves every invariant; the pass driver runs it around each pass.
package ir
