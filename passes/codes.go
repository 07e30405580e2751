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

// codesOf reads the codes of an integer tensor of at most 32 bits.
func codesOf(t *ir.Tensor) []int32 {
	out := make([]int32, t.Len())
	bits := t.Elem.Bits()
	switch {
	case t.Elem == ir.Int8:
		for i, c := range ir.Data[int8](t) {
			out[i] = int32(c)
		}
	case t.Elem == ir.Uint8:
		for i, c := range ir.Data[uint8](t) {
			out[i] = int32(c)
		}
	case bits < 8 && t.Elem.IsInt():
		data, sign := ir.Data[uint8](t), uint8(0)
		if t.Elem.IsSigned() {
			sign = 1 << (bits - 1)
		}
		mask := uint8(1)<<bits - 1
		for i, rest := 0, out; len(rest) > 0; i++ {
			n := min(8/bits, len(rest))
			b := data[i]
			for j := range rest[:n] {
				rest[j] = int32(b&mask^sign) - int32(sign)
				b >>= bits & 7
			}
			rest = rest[n:]
		}
	default:
		for i := range out {
			out[i] = int32(t.Int(i))
		}
	}
	return out
}

// transposedAs turns a matrix [rows, cols] into [cols, rows] of another type that holds
// its numbers. Columns go in bands, so that few lines of the result are written at a time.
func transposedAs[T, S int8 | int32 | float32](src []S, rows, cols int) []T {
	const band = 16
	out := make([]T, rows*cols)
	for c0 := 0; c0 < cols; c0 += band {
		n := min(band, cols-c0)
		for r := range rows {
			for c, v := range src[r*cols+c0:][:n] {
				out[(c0+c)*rows+r] = T(v)
			}
		}
	}
	return out
}
