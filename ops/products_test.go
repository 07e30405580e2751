package ops

import (
	"testing"

	"github.com/qvitc/qvitc/ir"
)

func TestProducts(t *testing.T) {
	a, c := m(2, 2, 1, 2, 3, 4), m(2, 2, 5, 6, 7, 8)
	batched := ir.Of([]float32{1, 2, 3, 4, 1, 0, 0, 1}, 2, 2, 2)
	eq := func(s string) ir.Attrs { return ir.Attrs{"equation": s} }
	runCases(t, []opCase{
		{op: "MatMul", in: ts(a, c), want: ts(m(2, 2, 19, 22, 43, 50))},
		{op: "MatMul", in: ts(f(1, 2), c), want: ts(f(19, 22))},
		{op: "MatMul", in: ts(f(1, 2), f(3, 4)), want: ts(ir.Scalar(float32(11)))},
		{op: "MatMul", in: ts(batched, f(1, 1)), want: ts(m(2, 2, 3, 7, 1, 1))},
		{op: "MatMul", in: ts(ir.Of([]float32{}, 0, 2), a), want: ts(ir.Of([]float32{}, 0, 2))},
		{op: "MatMul", in: ts(a, m(1, 2, 1, 2)), err: "inner dimensions 2 and 1 differ"},
		{op: "Gemm", attrs: ir.Attrs{"transB": int64(1), "alpha": float32(2), "beta": float32(0.5)}, in: ts(a, c, f(2, 4)), want: ts(m(2, 2, 35, 48, 79, 108))},
		{op: "Gemm", attrs: ir.Attrs{"transA": int64(1)}, in: ts(a, c), want: ts(m(2, 2, 26, 30, 38, 44))},
		{op: "Gemm", in: ts(a, c, f(1, 2, 3)), err: "does not broadcast"},
		{op: "Einsum", attrs: eq("ij,jk->ik"), in: ts(a, c), want: ts(m(2, 2, 19, 22, 43, 50))},
		{op: "Einsum", attrs: eq("ii"), in: ts(a), want: ts(ir.Scalar(float32(5)))},
		{op: "Einsum", attrs: eq("...ij->...ji"), in: ts(batched), want: ts(ir.Of([]float32{1, 3, 2, 4, 1, 0, 0, 1}, 2, 2, 2))},
		{op: "Einsum", attrs: eq("b i, b j -> b i j"), in: ts(m(1, 2, 1, 2), m(1, 2, 3, 4)), want: ts(ir.Of([]float32{3, 4, 6, 8}, 1, 2, 2))},
		{op: "Einsum", attrs: eq("ij,jk->iz"), in: ts(a, c), err: "output label"},
		{op: "MatMulInteger", in: ts(typed(ir.Uint8, []int{1, 2}, 3, 4), typed(ir.Int8, []int{2, 1}, -1, 2), ir.Scalar(uint8(1))), want: ts(ir.Of([]int32{4}, 1, 1))},
	})
}

func TestConvAndPool(t *testing.T) {
	x := ir.Of([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 1, 3, 3)
	w := ir.Of([]float32{1, 1, 1, 1}, 1, 1, 2, 2)
	k22 := func(more ir.Attrs) ir.Attrs {
		more["kernel_shape"] = []int64{2, 2}
		return more
	}
	img := func(h, v int, d ...float32) *ir.Tensor { return ir.Of(d, 1, 1, h, v) }
	runCases(t, []opCase{
		{op: "Conv", in: ts(x, w, f(1)), want: ts(img(2, 2, 13, 17, 25, 29))},
		{op: "Conv", attrs: ir.Attrs{"strides": []int64{2, 2}, "pads": []int64{1, 1, 0, 0}}, in: ts(x, w), want: ts(img(2, 2, 1, 5, 11, 28))},
		{op: "Conv", attrs: ir.Attrs{"group": int64(2)}, in: ts(ir.Of([]float32{1, 2}, 1, 2, 1), ir.Of([]float32{3, 4}, 2, 1, 1)), want: ts(ir.Of([]float32{3, 8}, 1, 2, 1))},
		{op: "Conv", in: ts(x, ir.Of([]float32{1}, 1, 1, 1, 1, 1)), err: `weight "x1" has rank 5, input "x0" has rank 4`},
		{op: "Conv", in: ts(x, ir.Of([]float32{1, 1}, 1, 2, 1, 1)), err: `input "x0" has 1 channels, weight "x1" wants 2`},
		{op: "Conv", in: ts(x, ir.Of(make([]float32, 16), 1, 1, 4, 4)), err: "the kernel reaches over 4 elements"},
		{op: "AveragePool", attrs: k22(ir.Attrs{}), in: ts(x), want: ts(img(2, 2, 3, 4, 6, 7))},
		{op: "AveragePool", attrs: k22(ir.Attrs{"pads": []int64{1, 1, 0, 0}, "strides": []int64{2, 2}, "count_include_pad": int64(1)}), in: ts(x), want: ts(img(2, 2, 0.25, 1.25, 2.75, 7))},
		{op: "MaxPool", attrs: k22(ir.Attrs{"strides": []int64{2, 2}, "ceil_mode": int64(1)}), in: ts(x), want: ts(img(2, 2, 5, 6, 8, 9), ir.Of([]int64{4, 5, 7, 8}, 1, 1, 2, 2))},
		{op: "GlobalAveragePool", in: ts(x), want: ts(img(1, 1, 5))},
		{op: "GlobalMaxPool", in: ts(x), want: ts(img(1, 1, 9))},
	})
}

func TestReduce(t *testing.T) {
	x := m(2, 3, 1, 2, 3, 4, 5, 6)
	flat := ir.Attrs{"keepdims": int64(0)}
	noop := ir.Attrs{"noop_with_empty_axes": int64(1)}
	empty := ir.Of([]float32{}, 0, 2)
	runCases(t, []opCase{
		{op: "ReduceSum", in: ts(x, i(-1)), want: ts(m(2, 1, 6, 15))},
		{op: "ReduceSum", attrs: flat, in: ts(x), want: ts(ir.Scalar(float32(21)))},
		{op: "ReduceSum", attrs: noop, in: ts(x), want: ts(x)},
		{op: "ReduceSumSquare", attrs: noop, in: ts(f(2, 3)), want: ts(f(4, 9))},
		{op: "ReduceMean", attrs: flat, in: ts(x, i(0)), want: ts(f(2.5, 3.5, 4.5))},
		{op: "ReduceMax", attrs: flat, in: ts(empty, i(0)), want: ts(f(-inf32, -inf32))},
		{op: "ReduceMin", attrs: flat, in: ts(ir.Of([]int32{}, 0), i(0)), want: ts(ir.Scalar(int32(1<<31 - 1)))},
		{op: "ReduceMax", attrs: flat, in: ts(b(false, true)), want: ts(ir.Scalar(true))},
		{op: "ReduceProd", attrs: flat, in: ts(i(2, 3, 4)), want: ts(ir.Scalar(int64(24)))},
		{op: "ReduceL1", attrs: flat, in: ts(f(-1, 2)), want: ts(ir.Scalar(float32(3)))},
		{op: "ReduceL2", attrs: flat, in: ts(f(3, 4)), want: ts(ir.Scalar(float32(5)))},
		{op: "ReduceLogSumExp", attrs: flat, in: ts(f(1000, 1000)), want: ts(ir.Scalar(float32(1000.6932)))},
		{op: "ReduceSum", in: ts(x, i(2)), err: "axis 2 is out of range"},
		{op: "ArgMax", in: ts(x), want: ts(ir.Of([]int64{1, 1, 1}, 1, 3))},
		{op: "ArgMax", attrs: ir.Attrs{"axis": int64(0), "keepdims": int64(0), "select_last_index": int64(1)}, in: ts(f(2, 2, 1)), want: ts(ir.Scalar(int64(1)))},
		{op: "ArgMin", attrs: ir.Attrs{"keepdims": int64(0)}, in: ts(ir.Of([]uint64{1 << 63, 1}, 2)), want: ts(ir.Scalar(int64(1)))},
		{op: "TopK", in: ts(m(2, 3, 1, 3, 3, 9, 8, 7), i(2)), want: ts(m(2, 2, 3, 3, 9, 8), ir.Of([]int64{1, 2, 0, 1}, 2, 2))},
		{op: "CumSum", attrs: ir.Attrs{"reverse": int64(1), "exclusive": int64(1)}, in: ts(f(1, 2, 3), ir.Scalar(int64(0))), want: ts(f(5, 3, 0))},
	})
}

func TestNormalise(t *testing.T) {
	runCases(t, []opCase{
		{op: "Softmax", in: ts(m(2, 2, 0, 0, 1000, 1000)), want: ts(m(2, 2, 0.5, 0.5, 0.5, 0.5))},
		{op: "Softmax", attrs: ir.Attrs{"axis": int64(0)}, in: ts(m(2, 1, 1, 1)), want: ts(m(2, 1, 0.5, 0.5))},
		{op: "LogSoftmax", in: ts(f(0, 0)), want: ts(f(-0.6931472, -0.6931472))},
		{op: "LayerNormalization", attrs: ir.Attrs{"epsilon": float32(0)}, in: ts(m(1, 2, 1, 3), f(2, 1), f(0, 1)), want: ts(m(1, 2, -2, 2), m(1, 1, 2), m(1, 1, 1))},
		{op: "LayerNormalization", in: ts(m(1, 2, 1, 3), f(1, 2, 3)), err: "does not broadcast"},
		{op: "RMSNormalization", attrs: ir.Attrs{"epsilon": float32(0)}, in: ts(m(1, 2, 1, 1), f(3, 4)), want: ts(m(1, 2, 3, 4))},
		{op: "BatchNormalization", attrs: ir.Attrs{"epsilon": float32(0)}, in: ts(m(1, 2, 3, 4), f(1, 2), f(0, 1), f(1, 2), f(4, 1)), want: ts(m(1, 2, 1, 5))},
		{op: "Hardmax", in: ts(f(1, 3, 3)), want: ts(f(0, 1, 0))},
		{op: "LpNormalization", in: ts(f(3, 4)), want: ts(f(0.6, 0.8))},
		{op: "Dropout", in: ts(f(1, 2), ir.Scalar(float32(0)), ir.Scalar(true)), want: ts(f(1, 2), b(true, true))},
		{op: "Dropout", in: ts(f(1, 2), ir.Scalar(float32(0.5)), ir.Scalar(true)), err: "random"},
	})
}

func TestQuantizers(t *testing.T) {
	u8 := func(shape []int, v ...float64) *ir.Tensor { return typed(ir.Uint8, shape, v...) }
	i4 := func(shape []int, v ...float64) *ir.Tensor { return typed(ir.Int4, shape, v...) }
	axis0 := ir.Attrs{"axis": int64(0)}
	blocks := ir.Attrs{"axis": int64(1), "block_size": int64(2)}
	runCases(t, []opCase{
		{op: "QuantizeLinear", in: ts(f(0.5, 1.5, 2.5, -9, 999), ir.Scalar(float32(1)), ir.Scalar(uint8(2))), want: ts(u8([]int{5}, 2, 4, 4, 0, 255))},
		{op: "QuantizeLinear", attrs: axis0, in: ts(m(2, 2, 1, 2, 3, 40), f(1, 2), i4([]int{2}, 0, -1)), want: ts(i4([]int{2, 2}, 1, 2, 1, 7))},
		{op: "QuantizeLinear", attrs: ir.Attrs{"output_dtype": int64(ir.Int2)}, in: ts(f(-3, 0.5, 1.5), ir.Scalar(float32(1))), want: ts(typed(ir.Int2, []int{3}, -2, 0, 1))},
		{op: "QuantizeLinear", in: ts(f(1), ir.Scalar(float32(1))), want: ts(u8([]int{1}, 1))},
		{op: "DequantizeLinear", in: ts(u8([]int{2}, 0, 255), ir.Scalar(float32(0.5)), ir.Scalar(uint8(128))), want: ts(f(-64, 63.5))},
		{op: "DequantizeLinear", attrs: blocks, in: ts(i4([]int{1, 3}, 1, 2, 3), m(1, 2, 10, 100)), want: ts(m(1, 3, 10, 20, 300))},
		{op: "DequantizeLinear", in: ts(u8([]int{1}, 1), ir.Scalar(float32(1)), ir.Scalar(int8(1))), err: "must be of one type"},
		{op: "DequantizeLinear", attrs: axis0, in: ts(u8([]int{2}, 1, 2), f(1, 2, 3)), err: "scale has 3 values, axis 0 of the input has 2"},
		{op: "DequantizeLinear", attrs: axis0, in: ts(u8([]int{2}, 1, 2), f(1, 2), ir.Scalar(uint8(0))), err: "differ"},
		{op: "DynamicQuantizeLinear", in: ts(f(0, 2, -3, -2.5, 1.34, 0.5)), want: ts(u8([]int{6}, 153, 255, 0, 26, 221, 179), ir.Scalar(float32(0.019607844)), ir.Scalar(uint8(153)))},
		{op: "QLinearMatMul", in: ts(u8([]int{1, 1}, 10), ir.Scalar(float32(0.5)), ir.Scalar(uint8(0)), u8([]int{1, 1}, 3), ir.Scalar(float32(1)), ir.Scalar(uint8(0)), ir.Scalar(float32(2)), ir.Scalar(uint8(1))), want: ts(u8([]int{1, 1}, 9))},
		{op: "ConvInteger", in: ts(u8([]int{1, 1, 2}, 3, 4), u8([]int{1, 1, 1}, 2), ir.Scalar(uint8(1))), want: ts(ir.Of([]int32{4, 6}, 1, 1, 2))},
	})
}

func TestAttention(t *testing.T) {
	q := ir.Of([]float32{0, 0}, 1, 1, 2, 1)
	v := ir.Of([]float32{2, 4}, 1, 1, 2, 1)
	col := func(x ...float32) *ir.Tensor { return ir.Of(x, 1, 1, len(x), 1) }
	hide := ir.Of([]bool{true, false, false, false}, 2, 2)
	runCases(t, []opCase{
		{op: "Attention", in: ts(q, q, v), want: ts(col(3, 3))},
		{op: "Attention", attrs: ir.Attrs{"is_causal": int64(1)}, in: ts(q, q, v), want: ts(col(2, 3))},
		{op: "Attention", in: ts(q, q, v, hide), want: ts(col(2, 0))},
		{op: "Attention", in: ts(q, q, v, nil, col(0), col(9)), want: ts(col(5, 5), col(0, 0, 0), col(9, 2, 4))},
		{op: "Attention", attrs: ir.Attrs{"q_num_heads": int64(2), "kv_num_heads": int64(1)}, in: ts(ir.Of([]float32{0, 0}, 1, 1, 2), ir.Of([]float32{0}, 1, 1, 1), ir.Of([]float32{7}, 1, 1, 1)), want: ts(ir.Of([]float32{7, 7}, 1, 1, 2))},
		{op: "Attention", in: ts(q, q, ir.Of([]float32{1}, 1, 1, 1, 1)), err: "do not fit together"},
		{op: "RotaryEmbedding", in: ts(ir.Of([]float32{1, 2}, 1, 1, 1, 2), ir.Of([]float32{0}, 1, 1, 1), ir.Of([]float32{1}, 1, 1, 1)), want: ts(ir.Of([]float32{-2, 1}, 1, 1, 1, 2))},
	})
}
