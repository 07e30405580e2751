package bench

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"strconv"
)

//go:embed ort.py
var ortScript string

//go:embed ort.cjs
var nodeScript string

// ORTOptions say what ONNX Runtime is to run.
type ORTOptions struct {
	Python  string // interpreter with the package onnxruntime; "python3"
	Node    string // Node with onnxruntime-node, to be used instead; "": Python is
	Model   string // ONNX file
	Int8    bool   // quantise it to 8 bits first (dynamic, per channel); needs the package onnx
	Batch   int    // 1
	Threads int    // 1
}

// StartORT starts ONNX Runtime as a child: all graph optimisations, sequential
// execution, the given number of threads, inputs drawn from a normal
// distribution. The error says what is missing.
func StartORT(ctx context.Context, o ORTOptions) (*Child, error) {
	batch, threads := strconv.Itoa(max(1, o.Batch)), strconv.Itoa(max(1, o.Threads))
	if o.Node != "" {
		if o.Int8 {
			return nil, errors.New("Node's package cannot quantise a model")
		}
		return Start(ctx, o.Node, "-e", nodeScript, "--", o.Model, batch, threads)
	}
	if o.Python == "" {
		o.Python = "python3"
	}
	form := "as-is"
	if o.Int8 {
		form = "int8"
	}
	return Start(ctx, o.Python, "-c", ortScript, "serve", o.Model, form, batch, threads)
}
