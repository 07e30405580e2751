package ir

import (
	"fmt"
	"math"
	"slices"
)

// Tensor is a dense constant, row-major. The Go type of its data follows Elem:
// []float32, []float64, []int8 ... []uint64, []bool, []string; Float16 and
// BFloat16 hold their bit patterns in []uint16; the 4- and 2-bit types hold
// ONNX packed bytes ([]uint8, first element in the low bits).
//
// Tensors are shared between values and treated as immutable, except by a
// trainer that owns its graph (Graph.Clone copies them).
type Tensor struct {
	Elem  Elem
	Shape []int
	data  any
}

// Number is the set of Go element types of a Tensor's data.
type Number interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool | string
}

// NewTensor allocates a zero tensor. It fails on negative or overflowing shapes
// and on unsupported element types.
func NewTensor(e Elem, shape ...int) (*Tensor, error) {
	n, err := NumElems(shape)
	if err != nil {
		return nil, err
	}
	bytes, err := ByteSize(shape, e)
	if err != nil {
		return nil, err
	}
	t := &Tensor{Elem: e, Shape: slices.Clone(shape)}
	switch e {
	case Float32:
		t.data = make([]float32, n)
	case Float64:
		t.data = make([]float64, n)
	case Int8:
		t.data = make([]int8, n)
	case Int16:
		t.data = make([]int16, n)
	case Int32:
		t.data = make([]int32, n)
	case Int64:
		t.data = make([]int64, n)
	case Uint8:
		t.data = make([]uint8, n)
	case Uint16, Float16, BFloat16:
		t.data = make([]uint16, n)
	case Uint32:
		t.data = make([]uint32, n)
	case Uint64:
		t.data = make([]uint64, n)
	case Bool:
		t.data = make([]bool, n)
	case String:
		t.data = make([]string, n)
	case Uint4, Int4, Uint2, Int2:
		t.data = make([]uint8, bytes)
	default:
		return nil, fmt.Errorf("element type %v is not supported", e)
	}
	return t, nil
}

// Of wraps data as a tensor; the element type follows T. It panics when the
// length does not fit the shape: callers pass literal or checked sizes.
func Of[T Number](data []T, shape ...int) *Tensor {
	var e Elem
	switch any(data).(type) {
	case []float32:
		e = Float32
	case []float64:
		e = Float64
	case []int8:
		e = Int8
	case []int16:
		e = Int16
	case []int32:
		e = Int32
	case []int64:
		e = Int64
	case []uint8:
		e = Uint8
	case []uint16:
		e = Uint16
	case []uint32:
		e = Uint32
	case []uint64:
		e = Uint64
	case []bool:
		e = Bool
	case []string:
		e = String
	}
	t, err := Wrap(e, shape, data)
	if err != nil {
		panic("ir.Of: " + err.Error())
	}
	return t
}

// Scalar is a 0-d tensor.
func Scalar[T Number](v T) *Tensor { return Of([]T{v}) }

// Wrap makes a tensor around data without copying; it checks that the Go type
// and the length fit the element type and shape.
func Wrap(e Elem, shape []int, data any) (*Tensor, error) {
	n, err := NumElems(shape)
	if err != nil {
		return nil, err
	}
	want := n
	have := -1
	switch d := data.(type) {
	case []float32:
		have = lenIf(e == Float32, len(d))
	case []float64:
		have = lenIf(e == Float64, len(d))
	case []int8:
		have = lenIf(e == Int8, len(d))
	case []int16:
		have = lenIf(e == Int16, len(d))
	case []int32:
		have = lenIf(e == Int32, len(d))
	case []int64:
		have = lenIf(e == Int64, len(d))
	case []uint8:
		have = lenIf(e == Uint8 || e.Bits() < 8, len(d))
		if e.Bits() < 8 {
			if want, err = ByteSize(shape, e); err != nil {
				return nil, err
			}
		}
	case []uint16:
		have = lenIf(e == Uint16 || e == Float16 || e == BFloat16, len(d))
	case []uint32:
		have = lenIf(e == Uint32, len(d))
	case []uint64:
		have = lenIf(e == Uint64, len(d))
	case []bool:
		have = lenIf(e == Bool, len(d))
	case []string:
		have = lenIf(e == String, len(d))
	}
	if have < 0 {
		return nil, fmt.Errorf("data of type %T does not fit element type %v", data, e)
	}
	if have != want {
		return nil, fmt.Errorf("shape %v of %v needs %d values, have %d", shape, e, want, have)
	}
	return &Tensor{Elem: e, Shape: slices.Clone(shape), data: data}, nil
}

func lenIf(ok bool, n int) int {
	if ok {
		return n
	}
	return -1
}

// Data returns the tensor's backing slice as []T, or nil when the data is of
// another Go type.
func Data[T Number](t *Tensor) []T { d, _ := t.data.([]T); return d }

// Raw returns the backing slice (see Tensor for its Go type).
func (t *Tensor) Raw() any { return t.data }

// Release drops the data of a constant whose owner has stored it in another form;
// element type and shape stay. The data must not be asked for afterwards: Data and
// Raw give nil.
func (t *Tensor) Release() { t.data = nil }

// F32 is Data[float32].
func (t *Tensor) F32() []float32 { return Data[float32](t) }

// I64 is Data[int64].
func (t *Tensor) I64() []int64 { return Data[int64](t) }

// Len is the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Type gives the tensor's type with a fully known shape.
func (t *Tensor) Type() Type { return Type{Elem: t.Elem, Shape: Known(t.Shape...), Ranked: true} }

// Clone copies shape and data.
func (t *Tensor) Clone() *Tensor {
	c := &Tensor{Elem: t.Elem, Shape: slices.Clone(t.Shape)}
	switch d := t.data.(type) {
	case []float32:
		c.data = slices.Clone(d)
	case []float64:
		c.data = slices.Clone(d)
	case []int8:
		c.data = slices.Clone(d)
	case []int16:
		c.data = slices.Clone(d)
	case []int32:
		c.data = slices.Clone(d)
	case []int64:
		c.data = slices.Clone(d)
	case []uint8:
		c.data = slices.Clone(d)
	case []uint16:
		c.data = slices.Clone(d)
	case []uint32:
		c.data = slices.Clone(d)
	case []uint64:
		c.data = slices.Clone(d)
	case []bool:
		c.data = slices.Clone(d)
	case []string:
		c.data = slices.Clone(d)
	}
	return c
}

// Reshaped shares the data under another shape of equal size.
func (t *Tensor) Reshaped(shape ...int) (*Tensor, error) { return Wrap(t.Elem, shape, t.data) }

// Float reads element i (flat index) as float64, whatever the numeric type;
// Bool gives 0 or 1. It panics for strings.
func (t *Tensor) Float(i int) float64 {
	switch d := t.data.(type) {
	case []float32:
		return float64(d[i])
	case []float64:
		return d[i]
	case []bool:
		if d[i] {
			return 1
		}
		return 0
	case []uint16:
		switch t.Elem {
		case Float16:
			return float64(HalfToFloat(d[i]))
		case BFloat16:
			return float64(math.Float32frombits(uint32(d[i]) << 16))
		}
	case []uint64:
		return float64(d[i])
	}
	return float64(t.Int(i))
}

// Int reads element i as int64 for the integer types and Bool; floats are
// truncated. It panics for strings.
func (t *Tensor) Int(i int) int64 {
	switch d := t.data.(type) {
	case []int64:
		return d[i]
	case []int32:
		return int64(d[i])
	case []int16:
		return int64(d[i])
	case []int8:
		return int64(d[i])
	case []uint8:
		return t.packedInt(d, i)
	case []uint16:
		if t.Elem == Uint16 {
			return int64(d[i])
		}
	case []uint32:
		return int64(d[i])
	case []uint64:
		return int64(d[i])
	case []string:
		panic("ir: Int of a string tensor")
	}
	return int64(t.Float(i))
}

func (t *Tensor) packedInt(d []uint8, i int) int64 {
	b := t.Elem.Bits()
	if b == 8 {
		return int64(d[i])
	}
	per := 8 / b
	v := int64(d[i/per]>>(b*(i%per))) & (1<<b - 1)
	if t.Elem.IsSigned() && v >= 1<<(b-1) {
		v -= 1 << b
	}
	return v
}

// Ints reads an integer tensor as []int; nil for other types.
func (t *Tensor) Ints() []int {
	if !t.Elem.IsInt() && t.Elem != Bool {
		return nil
	}
	out := make([]int, t.Len())
	for i := range out {
		out[i] = int(t.Int(i))
	}
	return out
}

// HalfToFloat widens an IEEE binary16 bit pattern.
func HalfToFloat(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp := uint32(h>>10) & 31
	man := uint32(h) & 1023
	switch {
	case exp == 31:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	case exp == 0:
		v := float32(man) * float32(1.0/(1<<24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// FloatToHalf rounds to IEEE binary16, half to even.
func FloatToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00
	case b >= 0x477ff000:
		return sign | 0x7c00
	case b < 0x38800000: // subnormal half: let float addition do the rounding
		v := math.Float32frombits(b) + 0.5
		return sign | uint16(math.Float32bits(v)-0x3f000000)
	}
	odd := (b >> 13) & 1
	return sign | uint16((b-0x38000000+0xfff+odd)>>13)
}
