package onnxio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// rawTensor reads little-endian bytes; their count has been checked. A tensor of bytes
// is raw itself where it may keep that.
func rawTensor(e ir.Elem, shape []int, raw []byte, keep bool) (*ir.Tensor, error) {
	n, err := ir.NumElems(shape)
	if err != nil {
		return nil, err
	}
	var data any
	switch e {
	case ir.Float32:
		d := make([]float32, n)
		for i := range d {
			d[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		data = d
	case ir.Float64:
		d := make([]float64, n)
		for i := range d {
			d[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		data = d
	case ir.Int64:
		d := make([]int64, n)
		for i := range d {
			d[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		data = d
	case ir.Uint64:
		d := make([]uint64, n)
		for i := range d {
			d[i] = binary.LittleEndian.Uint64(raw[8*i:])
		}
		data = d
	case ir.Int32:
		d := make([]int32, n)
		for i := range d {
			d[i] = int32(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		data = d
	case ir.Uint32:
		d := make([]uint32, n)
		for i := range d {
			d[i] = binary.LittleEndian.Uint32(raw[4*i:])
		}
		data = d
	case ir.Uint16, ir.Float16, ir.BFloat16:
		d := make([]uint16, n)
		for i := range d {
			d[i] = binary.LittleEndian.Uint16(raw[2*i:])
		}
		data = d
	case ir.Int16:
		d := make([]int16, n)
		for i := range d {
			d[i] = int16(binary.LittleEndian.Uint16(raw[2*i:]))
		}
		data = d
	case ir.Int8:
		d := make([]int8, n)
		for i := range d {
			d[i] = int8(raw[i])
		}
		data = d
	case ir.Bool:
		d := make([]bool, n)
		for i := range d {
			d[i] = raw[i] != 0
		}
		data = d
	case ir.Uint8, ir.Uint4, ir.Int4, ir.Uint2, ir.Int2:
		d := raw
		if !keep {
			d = bytes.Clone(raw)
		}
		clearTail(d, n, e)
		data = d
	default:
		return nil, fmt.Errorf("element type %v has no raw form", e)
	}
	return ir.Wrap(e, shape, data)
}

// clearTail zeroes the bits after the last element of a packed tensor, which
// the format leaves open.
func clearTail(d []byte, n int, e ir.Elem) {
	if used := n * e.Bits() % 8; used != 0 {
		d[len(d)-1] &= 1<<used - 1
	}
}

// typedTensor reads the typed field of that name, which is not empty.
func typedTensor(p *onnxpb.TensorProto, e ir.Elem, shape []int, field string) (*ir.Tensor, error) {
	if want := fieldOf(e); field != want {
		return nil, fmt.Errorf("data of element type %v is in %s, not in %s", e, field, want)
	}
	n, err := ir.NumElems(shape)
	if err != nil {
		return nil, err
	}
	want := n
	if e.Bits() < 8 && e != ir.String {
		if want, err = ir.ByteSize(shape, e); err != nil {
			return nil, err
		}
	}
	have := len(p.FloatData) + len(p.Int32Data) + len(p.StringData) + len(p.Int64Data) + len(p.DoubleData) + len(p.Uint64Data)
	if have != want {
		return nil, fmt.Errorf("want %d values in %s, have %d", want, field, have)
	}
	var data any
	switch e {
	case ir.Float32:
		data = append([]float32(nil), p.FloatData...)
	case ir.Float64:
		data = append([]float64(nil), p.DoubleData...)
	case ir.Int64:
		data = append([]int64(nil), p.Int64Data...)
	case ir.Uint64:
		data = append([]uint64(nil), p.Uint64Data...)
	case ir.Uint32:
		d := make([]uint32, n)
		for i, v := range p.Uint64Data {
			if v > math.MaxUint32 {
				return nil, fmt.Errorf("value %d does not fit %v", v, e)
			}
			d[i] = uint32(v)
		}
		data = d
	case ir.String:
		d := make([]string, n)
		for i, v := range p.StringData {
			d[i] = string(v)
		}
		data = d
	default:
		data, err = fromInt32(p.Int32Data, e, n)
	}
	if err != nil {
		return nil, err
	}
	return ir.Wrap(e, shape, data)
}

// fieldOf is the typed field that holds elements of this type.
func fieldOf(e ir.Elem) string {
	switch e {
	case ir.Float32:
		return "float_data"
	case ir.Float64:
		return "double_data"
	case ir.Int64:
		return "int64_data"
	case ir.Uint32, ir.Uint64:
		return "uint64_data"
	case ir.String:
		return "string_data"
	}
	return "int32_data"
}

// fromInt32 narrows int32_data: one element an entry, or for the packed types
// one byte of two or four elements an entry.
func fromInt32(v []int32, e ir.Elem, n int) (any, error) {
	lo, hi := int32(0), int32(0)
	switch e {
	case ir.Int32:
		return append([]int32(nil), v...), nil
	case ir.Bool:
		d := make([]bool, n)
		for i, x := range v {
			d[i] = x != 0
		}
		return d, nil
	case ir.Uint16, ir.Float16, ir.BFloat16:
		hi = math.MaxUint16
	case ir.Int16:
		lo, hi = math.MinInt16, math.MaxInt16
	case ir.Int8:
		lo, hi = math.MinInt8, math.MaxInt8
	case ir.Uint8:
		hi = math.MaxUint8
	case ir.Int4, ir.Int2: // a packed byte, by some writers as a signed one
		lo, hi = math.MinInt8, math.MaxUint8
	case ir.Uint4, ir.Uint2:
		hi = math.MaxUint8
	}
	for _, x := range v {
		if x < lo || x > hi {
			return nil, fmt.Errorf("value %d in int32_data does not fit %v", x, e)
		}
	}
	switch e {
	case ir.Uint16, ir.Float16, ir.BFloat16:
		return narrow[uint16](v), nil
	case ir.Int16:
		return narrow[int16](v), nil
	case ir.Int8:
		return narrow[int8](v), nil
	}
	d := narrow[uint8](v)
	clearTail(d, n, e)
	return d, nil
}

func narrow[T uint16 | int16 | int8 | uint8](v []int32) []T {
	d := make([]T, len(v))
	for i, x := range v {
		d[i] = T(x)
	}
	return d
}

// rawBytes is the inverse of rawTensor.
func rawBytes(t *ir.Tensor) []byte {
	out := []byte{}
	le := binary.LittleEndian
	switch d := t.Raw().(type) {
	case []float32:
		out = make([]byte, 4*len(d))
		for i, v := range d {
			le.PutUint32(out[4*i:], math.Float32bits(v))
		}
	case []float64:
		out = make([]byte, 8*len(d))
		for i, v := range d {
			le.PutUint64(out[8*i:], math.Float64bits(v))
		}
	case []int64:
		out = make([]byte, 8*len(d))
		for i, v := range d {
			le.PutUint64(out[8*i:], uint64(v))
		}
	case []uint64:
		out = make([]byte, 8*len(d))
		for i, v := range d {
			le.PutUint64(out[8*i:], v)
		}
	case []int32:
		out = make([]byte, 4*len(d))
		for i, v := range d {
			le.PutUint32(out[4*i:], uint32(v))
		}
	case []uint32:
		out = make([]byte, 4*len(d))
		for i, v := range d {
			le.PutUint32(out[4*i:], v)
		}
	case []int16:
		out = make([]byte, 2*len(d))
		for i, v := range d {
			le.PutUint16(out[2*i:], uint16(v))
		}
	case []uint16:
		out = make([]byte, 2*len(d))
		for i, v := range d {
			le.PutUint16(out[2*i:], v)
		}
	case []int8:
		out = make([]byte, len(d))
		for i, v := range d {
			out[i] = byte(v)
		}
	case []uint8:
		out = append(out, d...)
	case []bool:
		out = make([]byte, len(d))
		for i, v := range d {
			if v {
				out[i] = 1
			}
		}
	}
	return out
}
