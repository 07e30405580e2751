package onnxio

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// reduceOps are the reductions whose axes became an input with opset 18.
var reduceOps = []string{"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare"}

// registerAxes: lists that were attributes and became inputs.
func registerAxes() {
	register(18, listToInput("axes", 1), reduceOps...)
	register(13, listToInput("axes", 1), "ReduceSum", "Squeeze", "Unsqueeze")
	register(13, listToInput("split", 1), "Split")
	register(MaxOpset+1, splitEven, "Split")
	register(10, sliceInputs, "Slice")
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
// which the newest form says in num_outputs. It allows a smaller last part, which
// below opset 18 it did not.
func splitEven(u *upgrade, n *ir.Node) error {
	if n.Input(1) != nil {
		return nil
	}
	if !n.Attrs.Has("num_outputs") {
		n.Attrs["num_outputs"] = int64(len(n.Outputs))
	}
	if u.opset < 18 {
		u.even = append(u.even, n)
	}
	return nil
}

// checkEven refuses the splits that an old file could not mean; it needs shapes.
func checkEven(nodes []*ir.Node) error {
	for _, n := range nodes {
		x, axis := n.Input(0).Type, n.Attrs.Int("axis", 0)
		if axis < 0 {
			axis += x.Rank()
		}
		if !x.Ranked || axis < 0 || axis >= x.Rank() || !x.Shape[axis].Known() {
			continue
		}
		if size := x.Shape[axis].Size; size%int64(len(n.Outputs)) != 0 {
			return n.Errorf("dimension %d of size %d does not split into %d equal parts", axis, size, len(n.Outputs))
		}
	}
	return nil
}

// sliceInputs: starts, ends and axes were attributes.
func sliceInputs(u *upgrade, n *ir.Node) error {
	starts, ok := n.Attrs["starts"].([]int64)
	ends, ok2 := n.Attrs["ends"].([]int64)
	if !ok || !ok2 || len(starts) != len(ends) {
		return fmt.Errorf("starts and ends must have the same length, have %d and %d", len(starts), len(ends))
	}
	n.SetInput(1, u.ints(n, "starts", starts...))
	n.SetInput(2, u.ints(n, "ends", ends...))
	if axes, ok := n.Attrs["axes"].([]int64); ok {
		n.SetInput(3, u.ints(n, "axes", axes...))
	}
	delete(n.Attrs, "starts")
	delete(n.Attrs, "ends")
	delete(n.Attrs, "axes")
	return nil
}
