package onnxio

import "github.com/qvitc/qvitc/ir"

// Limits of what a file may hold. A file past a limit is refused with a
// message that names the limit; zero fields of Limits take these defaults.
const (
	MaxFileBytes    = 1<<31 - 1 // a protobuf message cannot be larger; weights beyond it go to external data
	MaxNesting      = 64        // messages within messages
	MaxRank         = 16        // dimensions of a tensor or a type
	MaxDim          = 1<<31 - 1 // one dimension
	MaxNameBytes    = 4096      // a name of a node, tensor, attribute, operator or domain
	MaxNodes        = 1_000_000 // with the nodes of subgraphs and functions
	MaxTensors      = 1_000_000 // with the tensors in attributes
	MaxNodeAttrs    = 256       // attributes of one node
	MaxMessages     = 8_000_000 // protobuf messages of every kind
	MaxSparseDense  = 64 << 20  // bytes of a sparse initializer once dense
	MaxMessageBytes = ir.MaxMessageBytes

	MinIR    = 3  // older files do not say which opset they use
	MaxIR    = 14 // newest IR version that is understood
	MinOpset = 1
	MaxOpset = 28 // newest opset of ai.onnx that is understood
)

// Limits overrides the limits that a user may have to move. A zero field
// stands for the constant of the same name.
type Limits struct {
	FileBytes   int64
	Nesting     int
	Rank        int
	Dim         int64
	NameBytes   int
	Nodes       int
	Tensors     int
	NodeAttrs   int
	Messages    int
	SparseDense int64
}

func (l Limits) withDefaults() Limits {
	return Limits{
		FileBytes:   orElse(l.FileBytes, MaxFileBytes),
		Nesting:     orElse(l.Nesting, MaxNesting),
		Rank:        orElse(l.Rank, MaxRank),
		Dim:         orElse(l.Dim, MaxDim),
		NameBytes:   orElse(l.NameBytes, MaxNameBytes),
		Nodes:       orElse(l.Nodes, MaxNodes),
		Tensors:     orElse(l.Tensors, MaxTensors),
		NodeAttrs:   orElse(l.NodeAttrs, MaxNodeAttrs),
		Messages:    orElse(l.Messages, MaxMessages),
		SparseDense: orElse(l.SparseDense, MaxSparseDense),
	}
}

func orElse[T int | int64](v, def T) T {
	if v != 0 {
		return v
	}
	return def
}
