package onnxio

import (
	"fmt"
	"math"

	"github.com/qvitc/qvitc/ir"
)

// registerInputs: numbers that were attributes and became inputs.
func registerInputs() {
	register(11, clipInputs, "Clip")
	register(11, padInputs, "Pad")
	register(12, dropoutInputs, "Dropout")
	register(10, topKInput, "TopK")
	register(5, reshapeInput, "Reshape")
	register(20, dftInput, "DFT")
}

// clipInputs: bounds that are not given are those of float32, which is none.
func clipInputs(u *upgrade, n *ir.Node) error {
	for i, name := range []string{"min", "max"} {
		x, ok := n.Attrs[name].(float32)
		delete(n.Attrs, name)
		if !ok || x == -math.MaxFloat32 && i == 0 || x == math.MaxFloat32 && i == 1 {
			continue
		}
		v, err := u.number(n, name, n.Input(0), x)
		if err != nil {
			return err
		}
		n.SetInput(i+1, v)
	}
	return nil
}

func padInputs(u *upgrade, n *ir.Node) error {
	name := "pads"
	if u.opset < 2 {
		name = "paddings"
	}
	pads, ok := n.Attrs[name].([]int64)
	if !ok {
		return fmt.Errorf("attribute %s is missing", name)
	}
	delete(n.Attrs, name)
	n.SetInput(1, u.ints(n, "pads", pads...))
	if x := n.Attrs.Float("value", 0); x != 0 {
		v, err := u.number(n, "value", n.Input(0), x)
		if err != nil {
			return err
		}
		n.SetInput(2, v)
	}
	delete(n.Attrs, "value")
	return nil
}

// dropoutInputs: before opset 12 the operator did nothing at inference, and the
// newest form without training_mode does the same. The old mask was not a bool.
func dropoutInputs(u *upgrade, n *ir.Node) error {
	if u.opset < 7 && n.Attrs.Int("is_test", 0) == 0 {
		return fmt.Errorf("Dropout in training mode is not supported")
	}
	delete(n.Attrs, "is_test")
	if u.opset < 10 && len(n.Outputs) > 1 {
		if m := n.Outputs[1]; m != nil && (len(m.Uses()) > 0 || u.g.IsOutput(m)) {
			return fmt.Errorf("the mask of Dropout is used")
		} else if m != nil {
			m.Type = ir.Type{}
		}
	}
	if ratio, ok := n.Attrs["ratio"].(float32); ok {
		delete(n.Attrs, "ratio")
		n.SetInput(1, u.g.AddConst(fresh(n, "ratio"), ir.Scalar(ratio)))
	}
	return nil
}

func topKInput(u *upgrade, n *ir.Node) error {
	n.SetInput(1, u.ints(n, "k", int64(n.Attrs.Int("k", 0))))
	delete(n.Attrs, "k")
	return nil
}

func reshapeInput(u *upgrade, n *ir.Node) error {
	shape, ok := n.Attrs["shape"].([]int64)
	if !ok {
		return fmt.Errorf("attribute shape is missing")
	}
	delete(n.Attrs, "shape")
	n.SetInput(1, u.ints(n, "shape", shape...))
	return nil
}

// dftInput: the axis was an attribute, with another default.
func dftInput(u *upgrade, n *ir.Node) error {
	axis := int64(n.Attrs.Int("axis", 1))
	delete(n.Attrs, "axis")
	n.SetInput(2, u.g.AddConst(fresh(n, "axis"), ir.Scalar(axis)))
	return nil
}
