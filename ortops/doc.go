// Command ortops is a shared library of custom operators for ONNX Runtime: the
// packed operators of domain ai.qvitc (docs/formats.md) on qvitc's own kernels.
//
//	make ortops            # needs a C compiler; writes out/ortops/libqvitc_ortops.so
//
//	options = onnxruntime.SessionOptions()
//	options.register_custom_ops_library("out/ortops/libqvitc_ortops.so")
//	session = onnxruntime.InferenceSession("deit.w4a4.onnx", options)
//
// A registered operator takes precedence over the function body that the file
// carries; without the library the same file runs on the bodies. The operators
// hold to the formulas exactly, so both give the same codes.
//
// The operator Model, which qvitc export --whole writes, is a graph in one piece: it
// runs on qvitc's runtime, which hands codes from operator to operator.
//
// An operator is cut into parts, of rows or of heads, that the session's own threads
// share (ONNX Runtime 1.17 and newer): at most as many as there are processors, or
// as the environment variable QVITC_THREADS says. With 1 nothing is cut.
//
// ops.c fills the tables of the C API, which ask Go for three things: to make an
// operator from its constants, the shape of its result, and a part of the result.
package main
