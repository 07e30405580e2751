package ops

import (
	"testing"

	"github.com/qvitc/qvitc/ir"
)

func m(rows, cols int, v ...float32) *ir.Tensor { return ir.Of(v, rows, cols) }

func TestShapes(t *testing.T) {
	x := m(2, 3, 1, 2, 3, 4, 5, 6)
	empty := ir.Of([]float32{}, 0, 3)
	axis := func(a int) ir.Attrs { return ir.Attrs{"axis": int64(a)} }
	runCases(t, []opCase{
		{op: "Shape", attrs: ir.Attrs{"start": int64(-1)}, in: ts(x), want: ts(i(3))},
		{op: "Shape", attrs: ir.Attrs{"start": int64(2), "end": int64(1)}, in: ts(x), want: ts(i())},
		{op: "Size", in: ts(x), want: ts(ir.Scalar(int64(6)))},
		{op: "Reshape", in: ts(x, i(3, -1)), want: ts(m(3, 2, 1, 2, 3, 4, 5, 6))},
		{op: "Reshape", in: ts(x, i(0, 1, -1)), want: ts(ir.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 1, 3))},
		{op: "Reshape", attrs: ir.Attrs{"allowzero": int64(1)}, in: ts(empty, i(3, 0)), want: ts(ir.Of([]float32{}, 3, 0))},
		{op: "Reshape", in: ts(x, i(-1, -1)), err: "more than one -1"},
		{op: "Reshape", in: ts(x, i(4)), err: "cannot reshape [2,3] (6 elements) into [4] (4 elements)"},
		{op: "Reshape", in: ts(x, i(4, -1)), err: "not a multiple"},
		{op: "Reshape", in: ts(f(1), i()), want: ts(ir.Scalar(float32(1)))},
		{op: "Flatten", attrs: axis(0), in: ts(x), want: ts(m(1, 6, 1, 2, 3, 4, 5, 6))},
		{op: "Flatten", attrs: axis(-1), in: ts(x), want: ts(x)},
		{op: "Squeeze", in: ts(m(1, 2, 1, 2)), want: ts(f(1, 2))},
		{op: "Squeeze", in: ts(x, i(0)), err: "its size is 2, not 1"},
		{op: "Unsqueeze", in: ts(f(1, 2), i(-1, 0)), want: ts(ir.Of([]float32{1, 2}, 1, 2, 1))},
		{op: "Unsqueeze", in: ts(f(1, 2), i(0, -3)), err: "given twice"},
		{op: "Transpose", in: ts(x), want: ts(m(3, 2, 1, 4, 2, 5, 3, 6))},
		{op: "Transpose", attrs: ir.Attrs{"perm": []int64{0, 7}}, in: ts(x), err: "perm [0 7] is not a permutation"},
		{op: "Expand", in: ts(f(1, 2), i(2, 1)), want: ts(m(2, 2, 1, 2, 1, 2))},
		{op: "Expand", in: ts(f(1, 2), i(3)), err: "does not expand"},
		{op: "Concat", attrs: axis(1), in: ts(m(2, 1, 1, 2), m(2, 2, 3, 4, 5, 6)), want: ts(m(2, 3, 1, 3, 4, 2, 5, 6))},
		{op: "Concat", attrs: axis(-2), in: ts(empty, x), want: ts(x)},
		{op: "Concat", attrs: axis(0), in: ts(x, f(1)), err: "has rank 1, input 0 has rank 2"},
		{op: "Concat", attrs: axis(2), in: ts(x), err: "axis 2 is out of range for rank 2"},
		{op: "Split", attrs: axis(1), in: ts(x, i(1, 2)), want: ts(m(2, 1, 1, 4), m(2, 2, 2, 3, 5, 6))},
		{op: "Split", attrs: ir.Attrs{"num_outputs": int64(2)}, in: ts(f(1, 2, 3)), want: ts(f(1, 2), f(3))},
		{op: "Split", in: ts(x, i(1, 2)), want: ts(x, x), err: "do not add up to 2"},
		{op: "Slice", in: ts(x, i(0, -2), i(2, 1<<62), i(0, 1)), want: ts(m(2, 2, 2, 3, 5, 6))},
		{op: "Slice", in: ts(f(1, 2, 3, 4), i(-1), i(-1<<63), i(0), i(-2)), want: ts(f(4, 2))},
		{op: "Slice", in: ts(f(1, 2, 3), i(2), i(1)), want: ts(f())},
		{op: "Slice", in: ts(f(1), i(0), i(1), i(0), i(0)), err: "step must not be 0"},
		{op: "Pad", in: ts(f(1, 2, 3), i(1, -1)), want: ts(f(0, 1, 2))},
		{op: "Pad", in: ts(f(1, 2), i(1, 1), ir.Scalar(float32(9))), want: ts(f(9, 1, 2, 9))},
		{op: "Pad", attrs: ir.Attrs{"mode": "reflect"}, in: ts(f(1, 2, 3), i(2, 1)), want: ts(f(3, 2, 1, 2, 3, 2))},
		{op: "Pad", attrs: ir.Attrs{"mode": "edge"}, in: ts(f(1, 2), i(1, 2)), want: ts(f(1, 1, 2, 2, 2))},
		{op: "Pad", attrs: ir.Attrs{"mode": "wrap"}, in: ts(f(1, 2, 3), i(1, 2)), want: ts(f(3, 1, 2, 3, 1, 2))},
		{op: "Pad", in: ts(x, i(1, 1), nil, i(-1)), want: ts(m(2, 5, 0, 1, 2, 3, 0, 0, 4, 5, 6, 0))},
		{op: "Pad", in: ts(f(1, 2), i(-2, -1)), err: "negative"},
		{op: "Tile", in: ts(f(1, 2), i(2)), want: ts(f(1, 2, 1, 2))},
		{op: "DepthToSpace", attrs: ir.Attrs{"blocksize": int64(2)}, in: ts(ir.Of([]float32{1, 2, 3, 4}, 1, 4, 1, 1)), want: ts(ir.Of([]float32{1, 2, 3, 4}, 1, 1, 2, 2))},
		{op: "Identity", in: ts(typed(ir.Int4, []int{3}, -8, 7, 1)), want: ts(typed(ir.Int4, []int{3}, -8, 7, 1))},
		{op: "Transpose", in: ts(typed(ir.Uint2, []int{2, 2}, 0, 1, 2, 3)), want: ts(typed(ir.Uint2, []int{2, 2}, 0, 2, 1, 3))},
	})
}

func TestGatherScatter(t *testing.T) {
	x := m(2, 3, 1, 2, 3, 4, 5, 6)
	axis1 := ir.Attrs{"axis": int64(1)}
	add := ir.Attrs{"reduction": "add"}
	runCases(t, []opCase{
		{op: "Gather", attrs: axis1, in: ts(x, i(-1, 0)), want: ts(m(2, 2, 3, 1, 6, 4))},
		{op: "Gather", in: ts(x, ir.Scalar(int64(1))), want: ts(f(4, 5, 6))},
		{op: "Gather", in: ts(x, i(99)), err: "index 99 is out of range for dimension 2"},
		{op: "GatherElements", attrs: axis1, in: ts(x, ir.Of([]int64{2, -3}, 2, 1)), want: ts(m(2, 1, 3, 4))},
		{op: "GatherND", in: ts(x, ir.Of([]int64{0, 1, 1, -1}, 2, 2)), want: ts(f(2, 6))},
		{op: "GatherND", attrs: ir.Attrs{"batch_dims": int64(1)}, in: ts(x, ir.Of([]int64{2, 0}, 2, 1)), want: ts(f(3, 4))},
		{op: "ScatterND", in: ts(f(1, 2, 3), ir.Of([]int64{2, 0}, 2, 1), f(9, 8)), want: ts(f(8, 2, 9))},
		{op: "ScatterND", attrs: add, in: ts(i(1, 2), ir.Of([]int64{1, 1}, 2, 1), i(3, 4)), want: ts(i(1, 9))},
		{op: "ScatterND", in: ts(f(1, 2), ir.Of([]int64{0}, 1, 1), f(1, 2)), err: "updates have shape [2], want [1]"},
		{op: "ScatterElements", attrs: axis1, in: ts(x, ir.Of([]int64{1}, 1, 1), m(1, 1, 9)), want: ts(m(2, 3, 1, 9, 3, 4, 5, 6))},
		{op: "Compress", in: ts(x, b(false, true, false, true)), want: ts(f(2, 4))},
		{op: "Compress", attrs: axis1, in: ts(x, b(true, false, true)), want: ts(m(2, 2, 1, 3, 4, 6))},
	})
}

func TestGenerate(t *testing.T) {
	runCases(t, []opCase{
		{op: "ConstantOfShape", in: ts(i(2)), want: ts(f(0, 0))},
		{op: "ConstantOfShape", attrs: ir.Attrs{"value": i(7)}, in: ts(i()), want: ts(ir.Scalar(int64(7)))},
		{op: "ConstantOfShape", in: ts(i(1e6, 1e6)), err: "the result is too large: shape [1000000,1000000]"},
		{op: "ConstantOfShape", in: ts(i(1<<20, 1<<9)), err: "too large"},
		{op: "Range", in: ts(ir.Scalar(int64(5)), ir.Scalar(int64(0)), ir.Scalar(int64(-2))), want: ts(i(5, 3, 1))},
		{op: "Range", in: ts(ir.Scalar(float32(1)), ir.Scalar(float32(2)), ir.Scalar(float32(0.5))), want: ts(f(1, 1.5))},
		{op: "Range", in: ts(ir.Scalar(int64(0)), ir.Scalar(int64(1<<62)), ir.Scalar(int64(1))), err: "too large"},
		{op: "Range", in: ts(ir.Scalar(int64(0)), ir.Scalar(int64(1)), ir.Scalar(int64(0))), err: "delta must not be 0"},
		{op: "Tile", in: ts(m(1, 1, 1), i(1<<31, 1<<31)), err: "too large"},
		{op: "Expand", in: ts(f(1), i(1<<40)), err: "too large"},
		{op: "Trilu", in: ts(m(2, 2, 1, 2, 3, 4), ir.Scalar(int64(1))), want: ts(m(2, 2, 0, 2, 0, 0))},
		{op: "Trilu", attrs: ir.Attrs{"upper": int64(0)}, in: ts(m(2, 2, 1, 2, 3, 4)), want: ts(m(2, 2, 1, 0, 3, 4))},
		{op: "NonZero", in: ts(m(2, 2, 0, 1, 1, 0)), want: ts(ir.Of([]int64{0, 1, 1, 0}, 2, 2))},
		{op: "OneHot", in: ts(i(1, -1), ir.Scalar(int64(2)), f(0, 5)), want: ts(m(2, 2, 0, 5, 0, 5))},
		{op: "EyeLike", attrs: ir.Attrs{"k": int64(1)}, in: ts(m(2, 2, 0, 0, 0, 0)), want: ts(m(2, 2, 0, 1, 0, 0))},
	})
}
