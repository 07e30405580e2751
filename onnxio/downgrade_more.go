package onnxio

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// only refuses the opsets below since, in which the operator meant another
// thing or said it in a way that is not written.
func only(since int) func(*ir.Node, *written, int) error {
	return func(_ *ir.Node, w *written, opset int) error {
		if opset < since {
			return fmt.Errorf("%s is written from opset %d on", w.op, since)
		}
		return nil
	}
}

// padDown: the mode wrap came with opset 19.
func padDown(_ *ir.Node, w *written, opset int) error {
	if opset < 19 && w.attrs.Str("mode", "constant") == "wrap" {
		return fmt.Errorf("the mode wrap needs opset 19")
	}
	return nil
}

// dropoutDown: below opset 12 the ratio was an attribute and there was no
// training mode.
func dropoutDown(n *ir.Node, w *written, opset int) error {
	if opset >= 12 {
		return nil
	}
	if n.Input(2) != nil {
		return fmt.Errorf("training_mode needs opset 12")
	}
	if r := n.Input(1); r != nil {
		if !r.IsConst() || r.Const.Len() != 1 {
			return fmt.Errorf("a computed ratio needs opset 12")
		}
		w.attrs["ratio"] = float32(r.Const.Float(0))
		w.inputs = w.inputs[:1]
	}
	return nil
}

func gridSampleDown(_ *ir.Node, w *written, opset int) error {
	if opset >= 20 {
		return nil
	}
	mode := w.attrs.Str("mode", "linear")
	for old, now := range gridModes {
		if now == mode {
			w.attrs["mode"] = old
		}
	}
	return nil
}

// perAxisDown: scales per axis came with opset 13, also where the axis is the
// default one and not written.
func perAxisDown(n *ir.Node, _ *written, opset int) error {
	if s := n.Input(1); opset < 13 && (s == nil || s.Type.Rank() != 0) {
		return fmt.Errorf("scales per axis need opset 13")
	}
	return nil
}

// reductionDown: add and mul came with opset 16, min and max with 18.
func reductionDown(_ *ir.Node, w *written, opset int) error {
	switch r := w.attrs.Str("reduction", "none"); {
	case opset < 18 && (r == "min" || r == "max"):
		return fmt.Errorf("the reduction %s needs opset 18", r)
	case opset < 16 && r != "none":
		return fmt.Errorf("the reduction %s needs opset 16", r)
	}
	return nil
}
