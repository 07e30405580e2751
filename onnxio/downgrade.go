package onnxio

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// lower writes a canonical node in the form of an opset. Whether the opset has
// such a form at all is for fits to say.
func (e *encoder) lower(n *ir.Node, opset int) (written, error) {
	w := written{op: n.Op, attrs: n.Attrs, inputs: n.Inputs}
	if n.Domain != "" {
		return w, nil
	}
	if down := downgrades[n.Op]; down != nil {
		w.attrs = w.attrs.Clone()
		if err := down(n, &w, opset); err != nil {
			return w, err
		}
	}
	w.dropDefaults(opset)
	for len(w.inputs) > 0 && w.inputs[len(w.inputs)-1] == nil {
		w.inputs = w.inputs[:len(w.inputs)-1]
	}
	return w, nil
}

// dropDefaults leaves out attributes that the opset does not know and whose
// value is the one it implies.
func (w *written) dropDefaults(opset int) {
	f, newest := activeForm(w.op, opset), activeForm(w.op, MaxOpset)
	if f == nil || newest == nil || f == newest {
		return
	}
	drop := func(name string) bool {
		a := newest.attr(name)
		return f.attr(name) == nil && a != nil && a.isDefault(w.attrs[name])
	}
	for _, name := range w.attrs.Names() {
		if drop(name) {
			w.attrs = w.attrs.Clone()
			delete(w.attrs, name)
		}
	}
}

// downgrades holds, by operator, what differs from the newest form in older
// opsets. A function reads n and changes w.
var downgrades = map[string]func(n *ir.Node, w *written, opset int) error{}

func init() {
	for _, op := range reduceOps {
		downgrades[op] = axesDown(18)
	}
	downgrades["ReduceSum"] = axesDown(13)
	downgrades["Squeeze"] = axesDown(13)
	downgrades["Unsqueeze"] = axesDown(13)
	downgrades["Split"] = splitDown
	for _, op := range softmaxOps {
		downgrades[op] = softmaxDown
	}
	downgrades["Pad"] = padDown
	downgrades["Dropout"] = dropoutDown
	downgrades["GridSample"] = gridSampleDown
	downgrades["GroupNormalization"] = only(21)
	downgrades["DFT"] = only(20)
	downgrades["Resize"] = only(13)
	downgrades["RoiAlign"] = only(16)
	downgrades["QuantizeLinear"] = perAxisDown
	downgrades["DequantizeLinear"] = perAxisDown
	downgrades["ScatterND"] = reductionDown
	downgrades["ScatterElements"] = reductionDown
}

// axesDown turns the axes input back into an attribute below the opset that
// made it an input.
func axesDown(since int) func(*ir.Node, *written, int) error {
	return func(n *ir.Node, w *written, opset int) error {
		if opset >= since {
			return nil
		}
		if w.attrs.Int("noop_with_empty_axes", 0) != 0 {
			if a := n.Input(1); a == nil || !a.IsConst() || a.Const.Len() == 0 {
				return fmt.Errorf("noop_with_empty_axes needs opset %d", since)
			}
		}
		delete(w.attrs, "noop_with_empty_axes")
		axes := n.Input(1)
		if axes == nil {
			return nil
		}
		if !axes.IsConst() {
			return fmt.Errorf("axes that are computed need opset %d", since)
		}
		if axes.Const.Len() > 0 {
			w.attrs["axes"] = ir.Int64s(axes.Const.Ints()...)
		}
		w.inputs = w.inputs[:1]
		return nil
	}
}

func splitDown(n *ir.Node, w *written, opset int) error {
	if opset < 18 && w.attrs.Has("num_outputs") {
		x := n.Input(0).Type
		axis := w.attrs.Int("axis", 0)
		if axis < 0 {
			axis += len(x.Shape)
		}
		if !x.Ranked || axis < 0 || axis >= len(x.Shape) || !x.Shape[axis].Known() || int(x.Shape[axis].Size)%len(n.Outputs) != 0 {
			return fmt.Errorf("parts that may differ in size need opset 18")
		}
		delete(w.attrs, "num_outputs")
	}
	if opset >= 13 || n.Input(1) == nil {
		return nil
	}
	if !n.Input(1).IsConst() {
		return fmt.Errorf("sizes that are computed need opset 13")
	}
	w.attrs["split"] = ir.Int64s(n.Input(1).Const.Ints()...)
	w.inputs = w.inputs[:1]
	return nil
}

// softmaxDown: below opset 13 the operator flattens to 2-D at axis, which is
// the same thing on the last axis only.
func softmaxDown(n *ir.Node, w *written, opset int) error {
	if opset >= 13 {
		return nil
	}
	rank := n.Input(0).Type.Rank()
	axis := w.attrs.Int("axis", -1)
	if axis < 0 {
		axis += rank
	}
	if rank < 1 || axis != rank-1 {
		return fmt.Errorf("softmax over an axis that is not known to be the last needs opset 13")
	}
	w.attrs["axis"] = int64(axis)
	return nil
}
