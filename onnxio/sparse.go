package onnxio

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// sparse spreads a sparse tensor into a dense one. Indices must be in range and
// ascending: linear ones of shape [nnz], or coordinates of shape [nnz, rank].
func (d *decoder) sparse(p *onnxpb.SparseTensorProto) (*ir.Tensor, error) {
	if p.GetValues() == nil || p.GetIndices() == nil {
		return nil, fmt.Errorf("sparse tensor without values or indices")
	}
	shape, err := d.dims(p.GetDims())
	if err != nil {
		return nil, err
	}
	vals, err := d.tensorOf(p.Values)
	if err != nil {
		return nil, err
	}
	idx, err := d.tensorOf(p.Indices)
	if err != nil {
		return nil, fmt.Errorf("indices: %w", err)
	}
	if idx.Elem != ir.Int64 {
		return nil, fmt.Errorf("indices: want %v, have %v", ir.Int64, idx.Elem)
	}
	if len(vals.Shape) != 1 {
		return nil, fmt.Errorf("sparse values: want rank 1, have %d", len(vals.Shape))
	}
	size, err := ir.ByteSize(shape, vals.Elem)
	if err != nil {
		return nil, err
	}
	if int64(size) > d.lim.SparseDense {
		return nil, fmt.Errorf("sparse tensor takes %d bytes when dense, the limit is %d", size, d.lim.SparseDense)
	}
	at, err := linearIndices(idx, shape, vals.Len())
	if err != nil {
		return nil, err
	}
	out, err := ir.NewTensor(vals.Elem, shape...)
	if err != nil {
		return nil, err
	}
	switch v := vals.Raw().(type) {
	case []float32:
		scatter(ir.Data[float32](out), at, v)
	case []float64:
		scatter(ir.Data[float64](out), at, v)
	case []int64:
		scatter(ir.Data[int64](out), at, v)
	case []int32:
		scatter(ir.Data[int32](out), at, v)
	case []int16:
		scatter(ir.Data[int16](out), at, v)
	case []int8:
		scatter(ir.Data[int8](out), at, v)
	case []uint64:
		scatter(ir.Data[uint64](out), at, v)
	case []uint32:
		scatter(ir.Data[uint32](out), at, v)
	case []uint16:
		scatter(ir.Data[uint16](out), at, v)
	case []bool:
		scatter(ir.Data[bool](out), at, v)
	case []uint8:
		if vals.Elem != ir.Uint8 {
			return nil, fmt.Errorf("sparse tensors of %v are not supported", vals.Elem)
		}
		scatter(ir.Data[uint8](out), at, v)
	default:
		return nil, fmt.Errorf("sparse tensors of %v are not supported", vals.Elem)
	}
	return out, nil
}

func scatter[T any](out []T, at []int, v []T) {
	for i, k := range at {
		out[k] = v[i]
	}
}

func linearIndices(idx *ir.Tensor, shape []int, nnz int) ([]int, error) {
	n, err := ir.NumElems(shape)
	if err != nil {
		return nil, err
	}
	data := idx.I64()
	out := make([]int, nnz)
	switch {
	case len(idx.Shape) == 1 && idx.Shape[0] == nnz:
		for i, k := range data {
			if k < 0 || k >= int64(n) {
				return nil, fmt.Errorf("sparse index %d is out of range, the tensor has %d elements", k, n)
			}
			out[i] = int(k)
		}
	case len(idx.Shape) == 2 && idx.Shape[0] == nnz && idx.Shape[1] == len(shape):
		for i := range out {
			for j, dim := range shape {
				k := data[i*len(shape)+j]
				if k < 0 || k >= int64(dim) {
					return nil, fmt.Errorf("sparse index %d is out of range for dimension %d of %d", k, j, dim)
				}
				out[i] = out[i]*dim + int(k)
			}
		}
	default:
		return nil, fmt.Errorf("sparse indices have shape %v for %d values of rank %d", idx.Shape, nnz, len(shape))
	}
	for i := 1; i < nnz; i++ {
		if out[i] <= out[i-1] {
			return nil, fmt.Errorf("sparse indices are not ascending: %d after %d", out[i], out[i-1])
		}
	}
	return out, nil
}
