package onnxio

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// registerResize: the ways of resampling and of scattering that changed names.
func registerResize() {
	register(9, upsampleScales, "Upsample")
	register(10, upsampleToResize, "Upsample")
	register(11, resizeOld, "Resize")
	register(13, resizeEmpty, "Resize")
	register(11, renameTo("ScatterElements"), "Scatter")
	register(16, roiAlignMode, "RoiAlign")
	register(20, gridSampleMode, "GridSample")
}

func upsampleScales(u *upgrade, n *ir.Node) error {
	scales := n.Attrs.Floats("scales")
	if u.opset < 7 {
		h, w := n.Attrs.Float("height_scale", 0), n.Attrs.Float("width_scale", 0)
		delete(n.Attrs, "height_scale")
		delete(n.Attrs, "width_scale")
		scales = []float32{1, 1, h, w}
	}
	if len(scales) == 0 {
		return fmt.Errorf("attribute scales is missing")
	}
	delete(n.Attrs, "scales")
	n.SetInput(1, u.g.AddConst(fresh(n, "scales"), ir.Of(scales, len(scales))))
	return nil
}

// upsampleToResize: Upsample was Resize under another name, with the oldest of
// its coordinate rules.
func upsampleToResize(u *upgrade, n *ir.Node) error {
	n.Op = "Resize"
	return resizeOld(u, n)
}

func resizeOld(_ *upgrade, n *ir.Node) error {
	if m := n.Attrs.Str("mode", "nearest"); m == "bilinear" {
		n.Attrs["mode"] = "linear"
	}
	scales := n.Input(1)
	n.SetInput(1, nil)
	n.SetInput(2, scales)
	n.Attrs["coordinate_transformation_mode"] = "asymmetric"
	if n.Attrs.Str("mode", "nearest") == "nearest" {
		n.Attrs["nearest_mode"] = "floor"
	}
	return nil
}

// resizeEmpty: an empty tensor was the way to leave an input out.
func resizeEmpty(_ *upgrade, n *ir.Node) error {
	for i := 1; i < len(n.Inputs); i++ {
		if v := n.Input(i); v.IsConst() && v.Const.Len() == 0 {
			n.SetInput(i, nil)
		}
	}
	for len(n.Inputs) > 0 && n.Inputs[len(n.Inputs)-1] == nil {
		n.TrimInputs(len(n.Inputs) - 1)
	}
	return nil
}

func renameTo(op string) upgrader {
	return func(_ *upgrade, n *ir.Node) error {
		n.Op = op
		return nil
	}
}

func roiAlignMode(_ *upgrade, n *ir.Node) error {
	n.Attrs["coordinate_transformation_mode"] = "output_half_pixel"
	return nil
}

var gridModes = map[string]string{"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}

func gridSampleMode(_ *upgrade, n *ir.Node) error {
	mode, ok := gridModes[n.Attrs.Str("mode", "bilinear")]
	if !ok {
		return fmt.Errorf("unknown mode %s", ir.Quote(n.Attrs.Str("mode", "")))
	}
	n.Attrs["mode"] = mode
	return nil
}
