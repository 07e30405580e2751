package onnxgo

import (
	"encoding/binary"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"gorgonia.org/tensor"

	"github.com/qvitc/qvitc/ir"
)

// dtypes pairs the element types that both sides have.
var dtypes = []struct {
	dt tensor.Dtype
	e  ir.Elem
}{
	{tensor.Float32, ir.Float32}, {tensor.Float64, ir.Float64},
	{tensor.Int8, ir.Int8}, {tensor.Int16, ir.Int16}, {tensor.Int32, ir.Int32}, {tensor.Int64, ir.Int64},
	{tensor.Uint8, ir.Uint8}, {tensor.Uint16, ir.Uint16}, {tensor.Uint32, ir.Uint32}, {tensor.Uint64, ir.Uint64},
	{tensor.Bool, ir.Bool}, {tensor.String, ir.String},
}

func hasDtype(e ir.Elem) bool {
	for _, p := range dtypes {
		if p.e == e {
			return true
		}
	}
	return false
}

// fromTensor wraps a gorgonia tensor; the data is shared where it lies dense
// and row-major.
func fromTensor(t tensor.Tensor) (*ir.Tensor, error) {
	d, ok := t.(*tensor.Dense)
	if !ok {
		return nil, fmt.Errorf("tensors of type %T are not supported: give a *tensor.Dense", t)
	}
	if d.RequiresIterator() {
		if d, ok = d.Materialize().(*tensor.Dense); !ok || d.RequiresIterator() {
			return nil, fmt.Errorf("the tensor is masked or strided: give a dense one")
		}
	}
	if d.DataOrder().IsColMajor() {
		return nil, fmt.Errorf("the tensor is column-major: give a row-major one")
	}
	data := d.Data()
	if v := reflect.ValueOf(data); v.Kind() != reflect.Slice { // of one element, gorgonia gives just that
		s := reflect.MakeSlice(reflect.SliceOf(v.Type()), 1, 1)
		s.Index(0).Set(v)
		data = s.Interface()
	}
	for _, p := range dtypes {
		if p.dt == d.Dtype() {
			return ir.Wrap(p.e, d.Shape(), data)
		}
	}
	return nil, fmt.Errorf("element type %v is not supported", d.Dtype())
}

// toTensor is the inverse of fromTensor; the data is shared.
func toTensor(t *ir.Tensor) (tensor.Tensor, error) {
	switch {
	case !hasDtype(t.Elem):
		return nil, fmt.Errorf("gorgonia tensors have no element type %v", t.Elem)
	case t.Len() == 0:
		return nil, fmt.Errorf("the result of shape %v is empty: gorgonia tensors cannot be", t.Shape)
	}
	return tensor.New(tensor.WithShape(t.Shape...), tensor.WithBacking(t.Raw())), nil
}

// attrsOf converts attributes as onnx-go decodes them.
func attrsOf(in map[string]any) (ir.Attrs, error) {
	out := ir.Attrs{}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		switch v := in[name].(type) {
		case int64, float32, string, []int64, []float32, []string:
			out[name] = v
		case tensor.Tensor:
			t, err := fromTensor(v)
			if err != nil {
				return nil, fmt.Errorf("attribute %s: %w", ir.Quote(name), err)
			}
			out[name] = t
		default:
			return nil, fmt.Errorf("attribute %s has no type that is supported (%T)", ir.Quote(name), v)
		}
	}
	return out, nil
}

// unpackOp is the operator by which Lower writes a constant that onnx-go's
// decoder refuses: Unpack(words i32[n]) {elem, shape} is the tensor of element
// type elem (TensorProto.DataType) and that shape whose little-endian bytes, 4-
// and 2-bit elements packed as in ONNX raw_data, are those of the words, filled
// up with zeros. It exists in lowered files only.
const unpackOp = "Unpack"

// toWords is the operand of unpackOp: at least one word.
func toWords(t *ir.Tensor) (*ir.Tensor, error) {
	raw, err := binary.Append(nil, binary.LittleEndian, t.Raw())
	if err != nil {
		return nil, fmt.Errorf("element type %v has no form that onnx-go can read", t.Elem)
	}
	words := make([]int32, max(1, (len(raw)+3)/4))
	raw = append(raw, 0, 0, 0)
	for i := range words {
		if 4*i+4 <= len(raw) {
			words[i] = int32(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	}
	return ir.Of(words, len(words)), nil
}

// fromWords is the inverse of toWords.
func fromWords(words *ir.Tensor, e ir.Elem, shape []int) (*ir.Tensor, error) {
	size, err := ir.ByteSize(shape, e)
	if err != nil {
		return nil, err
	}
	w := ir.Data[int32](words)
	if words.Elem != ir.Int32 || len(w) != max(1, (size+3)/4) {
		return nil, fmt.Errorf("%d words of type %v do not hold a tensor of shape %v and type %v", words.Len(), words.Elem, shape, e)
	}
	t, err := ir.NewTensor(e, shape...)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, 0, 4*len(w))
	for _, x := range w {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(x))
	}
	if _, err := binary.Decode(raw[:size], binary.LittleEndian, t.Raw()); err != nil {
		return nil, err
	}
	return t, nil
}
