package onnxio

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// registerAncient: forms of opsets 1 to 6, as far as they have one meaning in
// the newest form. The old broadcasting with an axis has not.
func registerAncient() {
	register(6, func(_ *upgrade, n *ir.Node) error {
		delete(n.Attrs, "consumed_inputs")
		return nil
	}, "Abs", "Add", "BatchNormalization", "Ceil", "Clip", "Div", "Dropout", "Elu", "Exp", "Floor", "HardSigmoid",
		"InstanceNormalization", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mul", "Neg", "PRelu", "Reciprocal", "Relu",
		"Reshape", "Selu", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh")
	register(7, oldBroadcast, "Add", "And", "Div", "Equal", "Gemm", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")
	register(7, func(*upgrade, *ir.Node) error {
		return fmt.Errorf("the operator is only supported since opset 7")
	}, "PRelu", "RNN", "GRU", "LSTM")
	register(6, castByName, "Cast")
	register(6, seluDefaults, "Selu")
	register(4, func(_ *upgrade, n *ir.Node) error {
		if !n.Attrs.Has("axis") {
			n.Attrs["axis"] = int64(1)
		}
		return nil
	}, "Concat")
	register(9, func(*upgrade, *ir.Node) error {
		return fmt.Errorf("the operator is only supported since opset 9")
	}, "Scan")
}

func oldBroadcast(_ *upgrade, n *ir.Node) error {
	if n.Attrs.Has("axis") {
		return fmt.Errorf("broadcasting with an axis (below opset 7) is not supported")
	}
	delete(n.Attrs, "broadcast")
	return nil
}

func castByName(_ *upgrade, n *ir.Node) error {
	t, ok := onnxpb.TensorProto_DataType_value[n.Attrs.Str("to", "")]
	if !ok {
		return fmt.Errorf("unknown element type %s", ir.Quote(n.Attrs.Str("to", "")))
	}
	n.Attrs["to"] = int64(t)
	return nil
}

func seluDefaults(_ *upgrade, n *ir.Node) error {
	if !n.Attrs.Has("alpha") {
		n.Attrs["alpha"] = float32(1.6732)
	}
	if !n.Attrs.Has("gamma") {
		n.Attrs["gamma"] = float32(1.0507)
	}
	return nil
}
