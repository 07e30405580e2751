// Package onnxio is the door between ONNX files and the graph of package ir.
//
//	g, err := onnxio.Load("deit.onnx", onnxio.Options{})     // checked, canonical
//	err = onnxio.Save("out.onnx", g, onnxio.WriteOptions{})  // lowest opset that fits
//
// Loading is validating. A graph that comes back has sound wire format and
// sizes, exactly as much data as its shapes say, unique names, no cycle, the
// attributes that its operators ask for, types and shapes that infer without
// contradiction, no recursive function, and nothing outside the model's folder
// was opened for it. Anything else is one line that names what is at fault:
//
//	deit.onnx: tensor "W": want 128 bytes, have 124
//	deit.onnx: node "cat" (Concat): attribute "axis": want INT, have STRING
//
// Opsets end here. upgrade*.go brings every operator of opsets 1 to 28 into its
// newest form (axes as inputs, Softmax along one axis, Upsample as Resize, ...)
// and downgrade*.go writes it in the form of the lowest opset that can say the
// same; opsets.tsv holds the facts. Constant nodes and sparse initializers
// become constants, attributes of calls are put into the functions they call,
// and every node keeps its Origin.
//
// Values that a subgraph (If, Loop, Scan) takes from the graph around it are
// trailing inputs of the subgraph and of its node, in the same order; Encode
// turns them back into names.
//
// A Model is the file as it stands: ReadModel then Bytes gives the same bytes.
package onnxio
