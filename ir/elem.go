package ir

import (
	"fmt"
	"math/bits"
)

// Elem is an element type, numbered as ONNX TensorProto.DataType.
type Elem int32

// Element types of ONNX (IR 13).
const (
	Undefined Elem = 0
	Float32   Elem = 1
	Uint8     Elem = 2
	Int8      Elem = 3
	Uint16    Elem = 4
	Int16     Elem = 5
	Int32     Elem = 6
	Int64     Elem = 7
	String    Elem = 8
	Bool      Elem = 9
	Float16   Elem = 10
	Float64   Elem = 11
	Uint32    Elem = 12
	Uint64    Elem = 13
	BFloat16  Elem = 16
	Uint4     Elem = 21
	Int4      Elem = 22
	Uint2     Elem = 25
	Int2      Elem = 26
)

var elemNames = map[Elem]string{
	Undefined: "?", Float32: "f32", Uint8: "u8", Int8: "i8", Uint16: "u16", Int16: "i16", Int32: "i32", Int64: "i64",
	String: "str", Bool: "bool", Float16: "f16", Float64: "f64", Uint32: "u32", Uint64: "u64", BFloat16: "bf16",
	Uint4: "u4", Int4: "i4", Uint2: "u2", Int2: "i2",
}

var elemByName = func() map[string]Elem {
	m := make(map[string]Elem, len(elemNames))
	for e, s := range elemNames {
		m[s] = e
	}
	return m
}()

// String gives the short name of the text form, such as "f32" or "i4".
func (e Elem) String() string {
	if s, ok := elemNames[e]; ok {
		return s
	}
	return fmt.Sprintf("elem%d", int32(e))
}

// ElemByName is the inverse of Elem.String.
func ElemByName(s string) (Elem, bool) { e, ok := elemByName[s]; return e, ok }

// Supported reports whether tensors of this type can be held and computed on.
func (e Elem) Supported() bool { _, ok := elemNames[e]; return ok && e != Undefined }

// Bits is the width of one element in a file; 0 for strings and Undefined.
func (e Elem) Bits() int {
	switch e {
	case Uint2, Int2:
		return 2
	case Uint4, Int4:
		return 4
	case Uint8, Int8, Bool:
		return 8
	case Uint16, Int16, Float16, BFloat16:
		return 16
	case Float32, Int32, Uint32:
		return 32
	case Float64, Int64, Uint64:
		return 64
	}
	return 0
}

// IsFloat reports whether e is a floating-point type.
func (e Elem) IsFloat() bool {
	return e == Float32 || e == Float64 || e == Float16 || e == BFloat16
}

// IsInt reports whether e is an integer type (not Bool).
func (e Elem) IsInt() bool {
	switch e {
	case Uint8, Int8, Uint16, Int16, Int32, Int64, Uint32, Uint64, Uint4, Int4, Uint2, Int2:
		return true
	}
	return false
}

// IsSigned reports whether e is a signed integer type.
func (e Elem) IsSigned() bool {
	switch e {
	case Int8, Int16, Int32, Int64, Int4, Int2:
		return true
	}
	return false
}

// NumElems multiplies the dimensions. It fails on a negative dimension and
// when the product does not fit an int on this platform.
func NumElems(dims []int) (int, error) {
	n := uint64(1)
	for _, d := range dims {
		if d < 0 {
			return 0, fmt.Errorf("dimension %d is negative", d)
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > uint64(maxInt) {
			return 0, fmt.Errorf("shape %v is too large for this platform", dims)
		}
		n = lo
	}
	return int(n), nil
}

const maxInt = int(^uint(0) >> 1)

// ByteSize is the number of bytes that a tensor of this shape takes in a file:
// ceil(elements*bits/8). The multiplication is checked.
func ByteSize(dims []int, e Elem) (int, error) {
	n, err := NumElems(dims)
	if err != nil {
		return 0, err
	}
	hi, lo := bits.Mul64(uint64(n), uint64(e.Bits()))
	if hi != 0 || lo > uint64(maxInt)-7 {
		return 0, fmt.Errorf("shape %v of %v is too large for this platform", dims, e)
	}
	return int((lo + 7) / 8), nil
}
