// Package onnxio reads and writes ONNX files.
package onnxio
