package onnxio

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// typeOf reads the declared type of a value. A missing type is unknown; a type
// that is not a tensor of an element type we hold is an error.
func (d *decoder) typeOf(p *onnxpb.TypeProto) (ir.Type, error) {
	if p == nil || p.Value == nil {
		return ir.Type{}, nil
	}
	tensor, ok := p.Value.(*onnxpb.TypeProto_TensorType)
	if !ok {
		return ir.Type{}, fmt.Errorf("only tensors are supported, this is of kind %s", kindOfType(p))
	}
	var t ir.Type
	if n := tensor.TensorType.GetElemType(); n != 0 {
		e, err := elemOf(n)
		if err != nil {
			return t, err
		}
		t.Elem = e
	}
	shape := tensor.TensorType.GetShape()
	if shape == nil {
		return t, nil
	}
	if len(shape.Dim) > d.lim.Rank {
		return t, fmt.Errorf("rank %d is too large, the limit is %d", len(shape.Dim), d.lim.Rank)
	}
	t.Ranked = true
	t.Shape = make(ir.Shape, len(shape.Dim))
	for i, dim := range shape.Dim {
		t.Shape[i] = ir.UnknownDim
		switch v := dim.Value.(type) {
		case *onnxpb.TensorShapeProto_Dimension_DimValue:
			if v.DimValue < -1 {
				return t, fmt.Errorf("dimension %d is negative", v.DimValue)
			}
			if v.DimValue > d.lim.Dim || int64(int(v.DimValue)) != v.DimValue {
				return t, fmt.Errorf("dimension %d is too large, the limit is %d", v.DimValue, d.lim.Dim)
			}
			if v.DimValue >= 0 { // -1 is how some exporters say unknown
				t.Shape[i] = ir.Dim{Size: v.DimValue}
			}
		case *onnxpb.TensorShapeProto_Dimension_DimParam:
			if v.DimParam != "" {
				t.Shape[i] = ir.Sym(v.DimParam)
			}
		}
	}
	return t, nil
}

func kindOfType(p *onnxpb.TypeProto) string {
	switch p.Value.(type) {
	case *onnxpb.TypeProto_SequenceType:
		return "sequence"
	case *onnxpb.TypeProto_MapType:
		return "map"
	case *onnxpb.TypeProto_OptionalType:
		return "optional"
	case *onnxpb.TypeProto_SparseTensorType:
		return "sparse tensor"
	}
	return "opaque type"
}

func typeOut(t ir.Type) *onnxpb.TypeProto {
	e := int32(t.Elem)
	tensor := &onnxpb.TypeProto_Tensor{ElemType: &e}
	if t.Ranked {
		tensor.Shape = &onnxpb.TensorShapeProto{}
		for _, d := range t.Shape {
			dim := &onnxpb.TensorShapeProto_Dimension{}
			switch {
			case d.Known():
				dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d.Size}
			case d.Sym != "":
				dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d.Sym}
			}
			tensor.Shape.Dim = append(tensor.Shape.Dim, dim)
		}
	}
	return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: tensor}}
}
