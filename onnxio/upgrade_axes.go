package onnxio

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// registerAxes: lists that were attributes and became inputs.
func registerAxes() {
	for _, op := range reduceOps {
		register(op, 18, listToInput("axes", 1))
	}
	register("ReduceSum", 13, listToInput("axes", 1))
	register("Squeeze", 13, listToInput("axes", 1))
	register("Unsqueeze", 13, listToInput("axes", 1))
	register("Split", 13, listToInput("split", 1))
	register("Split", 18, splitEven)
}

// listToInput moves an integer list from an attribute to input i.
func listToInput(name string, i int) upgrader {
	return func(u *upgrade, n *ir.Node) error {
		v, ok := n.Attrs[name].([]int64)
		if !ok {
			return nil
		}
		delete(n.Attrs, name)
		if len(v) == 0 && name == "axes" && n.Op != "Unsqueeze" {
			return nil // an empty list has always meant all axes
		}
		if i < len(n.Inputs) {
			return fmt.Errorf("%s is given twice", name)
		}
		n.SetInput(i, u.ints(n, name, v...))
		return nil
	}
}

// splitEven: a Split without sizes cuts into as many parts as it has outputs,
// which the newest form says in num_outputs.
func splitEven(u *upgrade, n *ir.Node) error {
	if n.Input(1) == nil && !n.Attrs.Has("num_outputs") {
		n.Attrs["num_outputs"] = int64(len(n.Outputs))
	}
	return nil
}
