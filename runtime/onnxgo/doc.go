// Package onnxgo lets a program written for github.com/owulveryck/onnx-go run
// vision transformers, in float and in packed low bits, on this module's
// runtime. It is the only package here that knows onnx-go, and nothing imports it.
//
// The idea. onnx-go reads a model and hands it over as a gonum graph of tensors
// and a series of operations; whoever takes them is a backend. NewBackend makes
// a backend that rebuilds the graph as an ir.Graph and runs it with package
// runtime:
//
//	g, err := onnxio.Load("deit.onnx", onnxio.Options{})
//	b, err := onnxgo.Lower(g, 8)          // once; the bytes can be kept in a file
//
//	backend := onnxgo.NewBackend()        // from here on it is plain onnx-go
//	model := onnx.NewModel(backend)
//	err = model.UnmarshalBinary(b)
//	err = model.SetInput(0, images)       // float32 [8,1,28,28]
//	err = backend.Run()
//	out, err := model.GetOutputTensors()  // logits [8,10], those of runtime.Session
//
// onnx-go v0.5.0 is of 2019 and archived by its author: its decoder forgets
// opsets, domains, functions and symbolic sizes, keeps one edge of Mul(x, x),
// and refuses 8-bit, half, Boolean, external and empty tensors. Lower rewrites a
// graph into what that decoder understands; it takes every graph of onnxio,
// cleaned by package passes or not, and the packed ones of package export. It
// refuses subgraphs (If, Loop), string tensors, operators of foreign domains
// without a function body, and inputs or outputs of half precision, because
// onnx-go has no form for them.
//
// A file that was not lowered runs too if its operators have the form and
// meaning of the newest opset; anything else is an error that says so. A packed
// file must be lowered. The backend runs what package runtime runs. One Backend
// holds one model and belongs to one goroutine.
//
// Example runs a DeiT both ways and prints that the logits are equal.
package onnxgo
