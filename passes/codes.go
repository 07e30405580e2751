package passes

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// codeTensor stores codes as an integer type of at most 16 bits, 4- and 2-bit
// types packed as ONNX has them: first element in the low bits. A code outside
// the type's range is a broken invariant.
func codeTensor(e ir.Elem, codes []int32, shape ...int) *ir.Tensor {
	bits := e.Bits()
	lo, hi := grid{bits: bits, signed: e.IsSigned()}.bounds()
	for _, c := range codes {
		if int(c) < lo || int(c) > hi {
			panic(fmt.Sprintf("passes: code %d does not fit %v", c, e))
		}
	}
	var data any
	switch e {
	case ir.Int8:
		data = convert[int8](codes)
	case ir.Uint8:
		data = convert[uint8](codes)
	case ir.Int16:
		data = convert[int16](codes)
	case ir.Uint16:
		data = convert[uint16](codes)
	default:
		out := make([]uint8, (len(codes)*bits+7)/8)
		for i, c := range codes {
			out[i*bits/8] |= uint8(c) & (1<<bits - 1) << (i * bits % 8)
		}
		data = out
	}
	t, err := ir.Wrap(e, shape, data)
	if err != nil {
		panic("passes: " + err.Error())
	}
	return t
}

func convert[T int8 | uint8 | int16 | uint16](v []int32) []T {
	out := make([]T, len(v))
	for i, x := range v {
		out[i] = T(x)
	}
	return out
}

// transposedCodes turns codes [rows, cols] into [cols, rows].
func transposedCodes(codes []int32, rows, cols int) []int32 {
	out := make([]int32, len(codes))
	for i, c := range codes {
		out[i%cols*rows+i/cols] = c
	}
	return out
}
