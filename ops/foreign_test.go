package ops

import (
	"math"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

func TestMatMulNBits(t *testing.T) {
	attrs := func(k, n, bits, block int64) ir.Attrs {
		return ir.Attrs{"K": k, "N": n, "bits": bits, "block_size": block}
	}
	ones := func(n int) *ir.Tensor {
		v := make([]float32, n)
		for i := range v {
			v[i] = 1
		}
		return ir.Of(v, 1, n)
	}
	runCases(t, []opCase{
		// 16 codes of 9 and 7 in turns, less 8: they cancel; then scaled rows
		{op: "com.microsoft::MatMulNBits", attrs: attrs(16, 1, 4, 16), want: []*ir.Tensor{ir.Of([]float32{0}, 1, 1)},
			in: []*ir.Tensor{ones(16), ir.Of([]uint8{0x79, 0x79, 0x79, 0x79, 0x79, 0x79, 0x79, 0x79}, 1, 1, 8), ir.Of([]float32{0.5}, 1)}},
		// K of 17 fills the second block with one code; a zero point for each block, packed; a bias
		{op: "com.microsoft::MatMulNBits", attrs: attrs(17, 1, 4, 16), want: []*ir.Tensor{ir.Of([]float32{16*0.5 + 2*4 + 1}, 1, 1)},
			in: []*ir.Tensor{ones(17), ir.Of([]uint8{0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 5, 0, 0, 0, 0, 0, 0, 0}, 1, 2, 8),
				ir.Of([]float32{0.5, 4}, 2), ir.Of([]uint8{0x30}, 1), nil, ir.Of([]float32{1}, 1)}},
		// 2 bits, first code lowest: 0 1 2 3 less 2, times 1 2 4 8
		{op: "com.microsoft::MatMulNBits", attrs: attrs(4, 1, 2, 16), want: []*ir.Tensor{ir.Of([]float32{-2 - 2 + 8}, 1, 1)},
			in: []*ir.Tensor{ir.Of([]float32{1, 2, 4, 8}, 1, 4), ir.Of([]uint8{0xe4, 0, 0, 0}, 1, 1, 4), ir.Of([]float32{1}, 1)}},
		{op: "com.microsoft::MatMulNBits", attrs: attrs(4, 1, 4, 16), err: "input 1 (B) has 4 elements, want 8",
			in: []*ir.Tensor{ones(4), ir.Of([]uint8{0, 0, 0, 0}, 1, 1, 4), ir.Of([]float32{1}, 1)}},
		{op: "com.microsoft::MatMulNBits", attrs: attrs(5, 1, 4, 16), err: "input A is 4 wide, attribute K is 5",
			in: []*ir.Tensor{ones(4), ir.Of(make([]uint8, 8), 1, 1, 8), ir.Of([]float32{1}, 1)}},
		{op: "com.microsoft::MatMulNBits", attrs: attrs(4, 1, 9, 16), err: "want positive sizes, 2 to 8 bits",
			in: []*ir.Tensor{ones(4), ir.Of(make([]uint8, 8), 1, 1, 8), ir.Of([]float32{1}, 1)}},
	})
}

func TestIntQuant(t *testing.T) {
	x := ir.Of([]float32{-9, -0.75, -0.25, 0.25, 0.3, 0.75, 1.25, 9}, 8)
	s, z, b := ir.Scalar(float32(0.5)), ir.Scalar(float32(0)), ir.Scalar(float32(3))
	minus0 := float32(math.Copysign(0, -1))
	quant := func(attrs ir.Attrs, zero *ir.Tensor, want ...float32) opCase {
		return opCase{op: "qonnx.custom_op.general::IntQuant", attrs: attrs, in: []*ir.Tensor{x, s, zero, b}, want: []*ir.Tensor{ir.Of(want, 8)}}
	}
	runCases(t, []opCase{
		quant(nil, z, -2, -1, minus0, 0, 0.5, 1, 1, 1.5),
		quant(ir.Attrs{"narrow": int64(1)}, z, -1.5, -1, minus0, 0, 0.5, 1, 1, 1.5),
		quant(ir.Attrs{"signed": int64(0)}, z, 0, 0, 0, 0, 0.5, 1, 1, 3.5),
		// an odd zero point moves the ties: 0.5+1 rounds to 2, less 1 is 1
		quant(nil, ir.Scalar(float32(1)), -2.5, -0.5, -0.5, 0.5, 0.5, 0.5, 1, 1),
		quant(ir.Attrs{"rounding_mode": "FLOOR"}, z, -2, -1, -0.5, 0, 0, 0.5, 1, 1.5),
		quant(ir.Attrs{"rounding_mode": "UP"}, z, -2, -1, -0.5, 0.5, 0.5, 1, 1.5, 1.5),
		quant(ir.Attrs{"rounding_mode": "HALF_UP"}, z, -2, -1, -0.5, 0.5, 0.5, 1, 1.5, 1.5),
		quant(ir.Attrs{"rounding_mode": "HALF_DOWN"}, z, -2, -0.5, minus0, 0, 0.5, 0.5, 1, 1.5),
		{op: "onnx.brevitas::Quant", attrs: ir.Attrs{"rounding_mode": "NEAREST"}, in: []*ir.Tensor{x, s, z, b}, err: "want one of ROUND"},
		{op: "finn.custom_op.general::Quant", in: []*ir.Tensor{x, s, z, ir.Scalar(float32(0))}, err: "bitwidth is 0"},
	})
}
