package onnxio

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// tensor checks p and turns it into a constant. Whatever the field that holds
// the data, there must be exactly as much of it as the shape asks for.
func (d *decoder) tensor(p *onnxpb.TensorProto) (*ir.Tensor, error) {
	t, err := d.tensorOf(p)
	if err != nil {
		return nil, &ir.Error{File: d.file, Tensor: p.GetName(), Err: err}
	}
	return t, nil
}

func (d *decoder) tensorOf(p *onnxpb.TensorProto) (*ir.Tensor, error) {
	e, err := elemOf(p.GetDataType())
	if err != nil {
		return nil, err
	}
	shape, err := d.dims(p.GetDims())
	if err != nil {
		return nil, err
	}
	if p.Segment != nil {
		return nil, fmt.Errorf("segments are not supported")
	}
	want, err := ir.ByteSize(shape, e)
	if err != nil {
		return nil, err
	}
	fields := dataFields(p)
	if p.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
		if len(fields) > 0 || p.RawData != nil {
			return nil, fmt.Errorf("has data in two places: %s and external data", append(fields, "raw_data")[0])
		}
		raw, err := d.external(p, e, want)
		if err != nil {
			return nil, err
		}
		return rawTensor(e, shape, raw, false)
	}
	if loc := p.GetDataLocation(); loc != onnxpb.TensorProto_DEFAULT {
		return nil, fmt.Errorf("unknown data_location %d", loc)
	}
	if len(p.GetExternalData()) > 0 {
		return nil, fmt.Errorf("has external_data but data_location is not EXTERNAL")
	}
	if len(fields) > 1 || len(fields) == 1 && len(p.RawData) > 0 {
		return nil, fmt.Errorf("has data in two places: %s and %s", fields[0], append(fields[1:], "raw_data")[0])
	}
	if len(fields) == 1 {
		return typedTensor(p, e, shape, fields[0])
	}
	if e == ir.String {
		if n, _ := ir.NumElems(shape); n > 0 || len(p.RawData) > 0 {
			return nil, fmt.Errorf("want %d strings in string_data, have 0", n)
		}
		return ir.NewTensor(e, shape...)
	}
	if len(p.RawData) != want {
		return nil, fmt.Errorf("want %d bytes, have %d", want, len(p.RawData))
	}
	return rawTensor(e, shape, p.RawData, d.opts.keep && d.inlining == 0)
}

// dataFields names the typed fields that hold data.
func dataFields(p *onnxpb.TensorProto) []string {
	var out []string
	add := func(n int, name string) {
		if n > 0 {
			out = append(out, name)
		}
	}
	add(len(p.FloatData), "float_data")
	add(len(p.Int32Data), "int32_data")
	add(len(p.StringData), "string_data")
	add(len(p.Int64Data), "int64_data")
	add(len(p.DoubleData), "double_data")
	add(len(p.Uint64Data), "uint64_data")
	return out
}

// dims checks a tensor's dimensions against the limits.
func (d *decoder) dims(p []int64) ([]int, error) {
	if len(p) > d.lim.Rank {
		return nil, fmt.Errorf("rank %d is too large, the limit is %d", len(p), d.lim.Rank)
	}
	shape := make([]int, len(p))
	for i, n := range p {
		switch {
		case n < 0:
			return nil, fmt.Errorf("dimension %d is negative", n)
		case n > d.lim.Dim || int64(int(n)) != n:
			return nil, fmt.Errorf("dimension %d is too large, the limit is %d", n, d.lim.Dim)
		}
		shape[i] = int(n)
	}
	return shape, nil
}

// elemOf checks a TensorProto.DataType.
func elemOf(t int32) (ir.Elem, error) {
	e := ir.Elem(t)
	switch name, known := onnxpb.TensorProto_DataType_name[t]; {
	case t == 0:
		return 0, fmt.Errorf("has no element type")
	case !known:
		return 0, fmt.Errorf("unknown element type %d", t)
	case !e.Supported():
		return 0, fmt.Errorf("element type %s is not supported", name)
	}
	return e, nil
}
