package onnxio

import (
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// attrKind is the letter of an attribute type in opsets.tsv.
var attrKind = map[onnxpb.AttributeProto_AttributeType]byte{
	onnxpb.AttributeProto_FLOAT: 'f', onnxpb.AttributeProto_INT: 'i', onnxpb.AttributeProto_STRING: 's',
	onnxpb.AttributeProto_TENSOR: 't', onnxpb.AttributeProto_GRAPH: 'g', onnxpb.AttributeProto_FLOATS: 'F',
	onnxpb.AttributeProto_INTS: 'I', onnxpb.AttributeProto_STRINGS: 'S', onnxpb.AttributeProto_TENSORS: 'T',
	onnxpb.AttributeProto_GRAPHS: 'G', onnxpb.AttributeProto_SPARSE_TENSOR: 'p', onnxpb.AttributeProto_TYPE_PROTO: 'y',
	onnxpb.AttributeProto_SPARSE_TENSORS: 'P', onnxpb.AttributeProto_TYPE_PROTOS: 'Y',
}

// kindName is the ONNX name of an attribute type letter.
func kindName(k byte) string {
	for t, l := range attrKind {
		if l == k {
			return t.String()
		}
	}
	return "UNDEFINED"
}

// attrType gives the type of an attribute: the one it states, which must agree
// with the field that is set, or (files of IR 1 state none) the set field's.
func attrType(a *onnxpb.AttributeProto) (byte, error) {
	held := attrFields(a)
	if len(held) > 1 {
		return 0, fmt.Errorf("holds both %s and %s", kindName(held[0]), kindName(held[1]))
	}
	if a.GetType() == onnxpb.AttributeProto_UNDEFINED {
		if len(held) == 0 {
			return 0, fmt.Errorf("has neither type nor value")
		}
		return held[0], nil
	}
	k, ok := attrKind[a.GetType()]
	if !ok {
		return 0, fmt.Errorf("unknown attribute type %d", a.GetType())
	}
	if len(held) == 1 && held[0] != k {
		return 0, fmt.Errorf("says %s but holds %s", kindName(k), kindName(held[0]))
	}
	if len(held) == 0 && slices.Contains([]byte("tgpy"), k) {
		return 0, fmt.Errorf("says %s but holds nothing", kindName(k))
	}
	return k, nil
}

// attrFields lists the fields that hold something. A zero scalar counts as
// nothing: some writers set every scalar field.
func attrFields(a *onnxpb.AttributeProto) []byte {
	var out []byte
	add := func(k byte, set bool) {
		if set {
			out = append(out, k)
		}
	}
	add('f', a.GetF() != 0)
	add('i', a.GetI() != 0)
	add('s', len(a.GetS()) > 0)
	add('t', a.T != nil)
	add('g', a.G != nil)
	add('F', len(a.Floats) > 0)
	add('I', len(a.Ints) > 0)
	add('S', len(a.Strings) > 0)
	add('T', len(a.Tensors) > 0)
	add('G', len(a.Graphs) > 0)
	add('p', a.SparseTensor != nil)
	add('P', len(a.SparseTensors) > 0)
	add('y', a.Tp != nil)
	add('Y', len(a.TypeProtos) > 0)
	if len(out) == 0 {
		add('f', a.F != nil)
		add('i', a.I != nil && a.F == nil)
		add('s', a.S != nil && a.F == nil && a.I == nil)
		if a.GetType() != onnxpb.AttributeProto_UNDEFINED {
			return nil // a zero of the stated type, or an empty list
		}
	}
	return out
}

// attr reads one attribute value, graphs excepted.
func (d *decoder) attr(a *onnxpb.AttributeProto, kind byte) (any, error) {
	switch kind {
	case 'f':
		return a.GetF(), nil
	case 'i':
		if int64(int(a.GetI())) != a.GetI() {
			return nil, fmt.Errorf("%d is too large for this platform", a.GetI())
		}
		return a.GetI(), nil
	case 's':
		return string(a.GetS()), nil
	case 't':
		return d.tensorOf(a.T)
	case 'p':
		return d.sparse(a.SparseTensor)
	case 'F':
		return append([]float32{}, a.Floats...), nil
	case 'I':
		return append([]int64{}, a.Ints...), nil
	case 'S':
		out := make([]string, len(a.Strings))
		for i, s := range a.Strings {
			out[i] = string(s)
		}
		return out, nil
	}
	return nil, fmt.Errorf("attributes of type %s are not supported", kindName(kind))
}

func attrOut(name string, v any) (*onnxpb.AttributeProto, error) {
	a := &onnxpb.AttributeProto{Name: &name}
	set := func(t onnxpb.AttributeProto_AttributeType) { a.Type = &t }
	switch v := v.(type) {
	case float32:
		a.F = &v
		set(onnxpb.AttributeProto_FLOAT)
	case int64:
		a.I = &v
		set(onnxpb.AttributeProto_INT)
	case string:
		a.S = []byte(v)
		set(onnxpb.AttributeProto_STRING)
	case *ir.Tensor:
		a.T = tensorOut("", v)
		set(onnxpb.AttributeProto_TENSOR)
	case []float32:
		a.Floats = v
		set(onnxpb.AttributeProto_FLOATS)
	case []int64:
		a.Ints = v
		set(onnxpb.AttributeProto_INTS)
	case ir.AttrRef:
		ref := string(v)
		a.RefAttrName = &ref
		set(onnxpb.AttributeProto_INT)
	case []string:
		for _, s := range v {
			a.Strings = append(a.Strings, []byte(s))
		}
		set(onnxpb.AttributeProto_STRINGS)
	default:
		return nil, fmt.Errorf("attribute %s has type %T", ir.Quote(name), v)
	}
	return a, nil
}

// tensorOut writes a constant as raw_data (strings as string_data).
func tensorOut(name string, t *ir.Tensor) *onnxpb.TensorProto {
	e := int32(t.Elem)
	p := &onnxpb.TensorProto{DataType: &e}
	if name != "" {
		p.Name = &name
	}
	for _, n := range t.Shape {
		p.Dims = append(p.Dims, int64(n))
	}
	if s := ir.Data[string](t); t.Elem == ir.String {
		for _, v := range s {
			p.StringData = append(p.StringData, []byte(v))
		}
		return p
	}
	p.RawData = rawBytes(t)
	return p
}
