package onnxio

import (
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// registerNormalization: normalisations whose parameters changed.
func registerNormalization() {
	register(9, batchNormSpatial, "BatchNormalization")
	register(14, batchNormOutputs, "BatchNormalization")
	register(21, groupNormChannels, "GroupNormalization")
}

func batchNormSpatial(u *upgrade, n *ir.Node) error {
	if n.Attrs.Int("spatial", 1) != 1 {
		return fmt.Errorf("spatial=0 is not supported")
	}
	if u.opset < 7 && n.Attrs.Int("is_test", 0) == 0 {
		return fmt.Errorf("training mode is not supported")
	}
	delete(n.Attrs, "spatial")
	delete(n.Attrs, "is_test")
	return nil
}

// batchNormOutputs: the further outputs belonged to training and must be unused.
func batchNormOutputs(u *upgrade, n *ir.Node) error {
	for _, o := range n.Outputs[1:] {
		if o != nil && (len(o.Uses()) > 0 || u.g.IsOutput(o)) {
			return fmt.Errorf("training outputs are not supported")
		}
	}
	n.Outputs = n.Outputs[:1]
	return nil
}

// groupNormChannels: scale and bias were per group and became per channel.
func groupNormChannels(u *upgrade, n *ir.Node) error {
	groups := n.Attrs.Int("num_groups", 0)
	for i := 1; i <= 2; i++ {
		what := [...]string{"", "scale", "bias"}[i]
		v, x := n.Input(i), n.Input(0).Type
		if !v.IsConst() || len(v.Const.Shape) != 1 || v.Const.Shape[0] != groups {
			return fmt.Errorf("%s must be a constant of %d values", what, groups)
		}
		if len(x.Shape) < 2 || !x.Shape[1].Known() || groups < 1 || int(x.Shape[1].Size)%groups != 0 {
			return fmt.Errorf("the number of channels is not known or not a multiple of %d", groups)
		}
		per := int(x.Shape[1].Size) / groups
		data := v.Const.F32()
		if data == nil {
			return fmt.Errorf("%s of type %v is not supported", what, v.Const.Elem)
		}
		out := make([]float32, 0, per*groups)
		for _, f := range data {
			out = append(out, slices.Repeat([]float32{f}, per)...)
		}
		n.SetInput(i, u.g.AddConst(fresh(n, what), ir.Of(out, len(out))))
	}
	return nil
}
