package kernel

import "unsafe"

// Dequantize writes (code - zp)·alpha, the values that codes stand for, each
// operation rounded to float32: what FakeQuant gives where QuantizeU8 gave the
// code.
func Dequantize(dst []float32, codes []uint8, alpha, zp float32) {
	need("codes", len(codes), len(dst))
	active.dequantize(dst, codes[:len(dst)], alpha, zp)
}

// DequantizeSigned is Dequantize for signed codes.
func DequantizeSigned(dst []float32, codes []int8, alpha, zp float32) {
	need("codes", len(codes), len(dst))
	active.dequantizeSigned(dst, codes[:len(dst)], alpha, zp)
}

func dequantizeGo[T uint8 | int8](dst []float32, codes []T, alpha, zp float32) {
	for i, q := range codes[:len(dst)] {
		dst[i] = (float32(q) - zp) * alpha
	}
}

// AsUnsigned gives the memory of floats as bytes: four for each.
func AsUnsigned(f []float32) []uint8 {
	return unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(f))), 4*len(f))
}

// AsSigned gives the memory of floats as signed bytes: four for each.
func AsSigned(f []float32) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(f))), 4*len(f))
}
