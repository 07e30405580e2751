// Package onnxpb holds the ONNX messages, generated from qvitc_onnx.proto.
//
// The schema is proto2: scalars are pointers (read them with the getters), and
// a field that was present with its zero value stays present, which makes
//
//	proto.MarshalOptions{Deterministic: true}.Marshal(model)
//
// give back the bytes of a file that the official tools wrote. Nothing but
// package onnxio should need these types.
package onnxpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative qvitc_onnx.proto
