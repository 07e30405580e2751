package ops

import (
	"math"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"pgregory.net/rapid"
)

var nan32, inf32 = float32(math.NaN()), float32(math.Inf(1))

func TestElementwise(t *testing.T) {
	u8 := func(v ...float64) *ir.Tensor { return typed(ir.Uint8, []int{len(v)}, v...) }
	i8 := func(v ...float64) *ir.Tensor { return typed(ir.Int8, []int{len(v)}, v...) }
	fmod := ir.Attrs{"fmod": int64(1)}
	runCases(t, []opCase{
		{op: "Add", in: ts(f(1, 2), f(0.5)), want: ts(f(1.5, 2.5))},
		{op: "Add", in: ts(u8(250, 1), u8(10, 2)), want: ts(u8(4, 3))},
		{op: "Add", in: ts(f(), f(1)), want: ts(f())},
		{op: "Add", in: ts(ir.Scalar(float32(1)), ir.Scalar(float32(2))), want: ts(ir.Scalar(float32(3)))},
		{op: "Add", in: ts(f(1, 2), f(1, 2, 3)), err: "do not broadcast"},
		{op: "Add", in: ts(f(1), i(1)), err: "must be of one type"},
		{op: "Sub", in: ts(u8(1), u8(2)), want: ts(u8(255))},
		{op: "Mul", in: ts(i8(64), i8(3)), want: ts(i8(-64))},
		{op: "Div", in: ts(i(7, -7, 7, -7), i(2, 2, -2, -2)), want: ts(i(3, -3, -3, 3))},
		{op: "Div", in: ts(i(1), i(0)), err: "division by zero"},
		{op: "Div", in: ts(f(1, -1, 0), f(0)), want: ts(f(inf32, -inf32, nan32))},
		{op: "Mod", in: ts(i(7, -7, 7, -7), i(3, 3, -3, -3)), want: ts(i(1, 2, -2, -1))},
		{op: "Mod", attrs: fmod, in: ts(i(7, -7, 7, -7), i(3, 3, -3, -3)), want: ts(i(1, -1, 1, -1))},
		{op: "Mod", attrs: fmod, in: ts(f(5.5, -5.5), f(2)), want: ts(f(1.5, -1.5))},
		{op: "Mod", in: ts(f(-5.5, 5.5), f(2, -2)), want: ts(f(0.5, -0.5))},
		{op: "Mod", in: ts(i(1), i(0)), err: "division by zero"},
		{op: "Pow", in: ts(f(2, 4), i(3, -1)), want: ts(f(8, 0.25))},
		{op: "Pow", in: ts(i(2, -1, 3), i(10, 3, -1)), want: ts(i(1024, -1, 0))},
		{op: "Max", in: ts(f(1, nan32), f(2, 0), f(0, 5)), want: ts(f(2, nan32))},
		{op: "Min", in: ts(u8(1, 200), u8(100)), want: ts(u8(1, 100))},
		{op: "Max", in: ts(ir.Of([]uint64{1 << 63}, 1), ir.Of([]uint64{5}, 1)), want: ts(ir.Of([]uint64{1 << 63}, 1))},
		{op: "Sum", in: ts(f(1), f(2, 3), f(4)), want: ts(f(7, 8))},
		{op: "Mean", in: ts(f(1), f(2, 3)), want: ts(f(1.5, 2))},
		{op: "Clip", in: ts(f(-2, 0.5, 9, nan32), ir.Scalar(float32(-1)), nil), want: ts(f(-1, 0.5, 9, nan32))},
		{op: "Clip", in: ts(f(0), ir.Scalar(float32(5)), ir.Scalar(float32(1))), want: ts(f(1))},
		{op: "Clip", in: ts(i(0, 9), nil, ir.Scalar(int64(4))), want: ts(i(0, 4))},
		{op: "Clip", in: ts(f(0), f(1, 2)), err: "must hold one element"},
		{op: "Round", in: ts(f(0.5, 1.5, -2.5, 2.4)), want: ts(f(0, 2, -2, 2))},
		{op: "Abs", in: ts(i8(-128, -3)), want: ts(i8(-128, 3))},
		{op: "Sign", in: ts(f(-3, 0, nan32)), want: ts(f(-1, 0, nan32))},
		{op: "Neg", in: ts(u8(1)), err: "want one of"},
		{op: "Relu", in: ts(f(-1, 2)), want: ts(f(0, 2))},
		{op: "Gelu", in: ts(f(0, 1)), want: ts(f(0, 0.84134475))},
		{op: "Gelu", attrs: ir.Attrs{"approximate": "quick"}, in: ts(f(0)), err: "want one of none, tanh"},
		{op: "Erf", in: ts(f(0, 1)), want: ts(f(0, 0.84270078))},
		{op: "HardSwish", in: ts(f(-4, 0, 4)), want: ts(f(float32(math.Copysign(0, -1)), 0, 4))},
		{op: "Softplus", in: ts(f(1000, -1000)), want: ts(f(1000, 0))},
		{op: "Sqrt", in: ts(typed(ir.Float16, []int{1}, 2)), want: ts(typed(ir.Float16, []int{1}, 1.4140625))},
		{op: "Exp", in: ts(typed(ir.BFloat16, []int{1}, 1)), want: ts(typed(ir.BFloat16, []int{1}, 2.71875))},
	})
}

func TestLogicAndBits(t *testing.T) {
	u8 := func(v ...float64) *ir.Tensor { return typed(ir.Uint8, []int{len(v)}, v...) }
	runCases(t, []opCase{
		{op: "Equal", in: ts(f(1, nan32), f(1, nan32)), want: ts(b(true, false))},
		{op: "Equal", in: ts(ir.Of([]string{"a", "b"}, 2), ir.Of([]string{"a"}, 1)), want: ts(b(true, false))},
		{op: "Less", in: ts(ir.Of([]uint64{1 << 63}, 1), ir.Of([]uint64{1}, 1)), want: ts(b(false))},
		{op: "GreaterOrEqual", in: ts(i(1, 2, 3), i(2)), want: ts(b(false, true, true))},
		{op: "LessOrEqual", in: ts(f(nan32), f(0)), want: ts(b(false))},
		{op: "Xor", in: ts(b(true, true), b(false, true)), want: ts(b(true, false))},
		{op: "Not", in: ts(b(true, false)), want: ts(b(false, true))},
		{op: "Where", in: ts(b(true, false), i(1), i(5, 6)), want: ts(i(1, 6))},
		{op: "IsInf", attrs: ir.Attrs{"detect_negative": int64(0)}, in: ts(f(inf32, -inf32, 1)), want: ts(b(true, false, false))},
		{op: "BitwiseXor", in: ts(i(6), i(3)), want: ts(i(5))},
		{op: "BitwiseNot", in: ts(u8(5)), want: ts(u8(250))},
		{op: "BitShift", attrs: ir.Attrs{"direction": "LEFT"}, in: ts(u8(129, 1), u8(1, 8)), want: ts(u8(2, 0))},
		{op: "BitShift", attrs: ir.Attrs{"direction": "RIGHT"}, in: ts(i(-8), i(1)), want: ts(i(-4))},
		{op: "BitShift", in: ts(u8(1), u8(1)), err: "attribute direction is missing"},
	})
}

func TestCast(t *testing.T) {
	to := func(e ir.Elem) ir.Attrs { return ir.Attrs{"to": int64(e)} }
	x := f(-1.9, 300.7, nan32, inf32)
	runCases(t, []opCase{
		{op: "Cast", attrs: to(ir.Int8), in: ts(x), want: ts(typed(ir.Int8, []int{4}, -1, 127, 0, 127))},
		{op: "Cast", attrs: to(ir.Uint8), in: ts(x), want: ts(typed(ir.Uint8, []int{4}, 0, 255, 0, 255))},
		{op: "Cast", attrs: to(ir.Int64), in: ts(f(1e30, -1e30)), want: ts(i(math.MaxInt64, math.MinInt64))},
		{op: "Cast", attrs: to(ir.Uint64), in: ts(f(1e30)), want: ts(ir.Of([]uint64{math.MaxUint64}, 1))},
		{op: "Cast", attrs: to(ir.Int8), in: ts(i(300, -129)), want: ts(typed(ir.Int8, []int{2}, 44, 127))},
		{op: "Cast", attrs: to(ir.Bool), in: ts(f(0, 0.25)), want: ts(b(false, true))},
		{op: "Cast", attrs: to(ir.Float32), in: ts(b(false, true)), want: ts(f(0, 1))},
		{op: "Cast", attrs: to(ir.Float16), in: ts(f(65520, 1e-8, 2049)), want: ts(typed(ir.Float16, []int{3}, math.Inf(1), 0, 2048))},
		{op: "Cast", attrs: to(ir.BFloat16), in: ts(f(1.00390625, 1.01171875)), want: ts(typed(ir.BFloat16, []int{2}, 1, 1.015625))},
		{op: "Cast", attrs: to(ir.Int4), in: ts(f(-8, 7, -9)), want: ts(typed(ir.Int4, []int{3}, -8, 7, 7))},
		{op: "Cast", attrs: to(ir.Float32), in: ts(typed(ir.Int2, []int{5}, -2, -1, 0, 1, -2)), want: ts(f(-2, -1, 0, 1, -2))},
		{op: "Cast", attrs: to(ir.Float32), in: ts(ir.Of([]string{"1.5", "-Inf"}, 2)), want: ts(f(1.5, -inf32))},
		{op: "Cast", attrs: to(ir.Int32), in: ts(ir.Of([]string{"x"}, 1)), err: "cannot cast the string"},
		{op: "Cast", attrs: to(99), in: ts(f(1)), err: "element type 99"},
		{op: "Cast", in: ts(f(1)), err: "attribute to is missing"},
		{op: "Cast", attrs: ir.Attrs{"to": "f32"}, in: ts(f(1)), err: "attribute to: want INT, have STRING"},
	})
}

// Storing a float64 in a 16-bit float rounds once, half to even: it agrees with
// the nearest of the neighbouring values.
func TestRoundOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float64Range(-70000, 70000).Draw(t, "x")
		got := roundElem(ir.Float16, x)
		if math.Abs(x) >= 65520 {
			if !math.IsInf(got, int(math.Copysign(1, x))) {
				t.Fatalf("%v gives %v", x, got)
			}
			return
		}
		h := ir.FloatToHalf(float32(x)) // may be off by one through double rounding
		best := math.Inf(1)
		for d := -1; d <= 1; d++ {
			if v := float64(ir.HalfToFloat(h + uint16(d))); !math.IsNaN(v) {
				best = min(best, math.Abs(v-x))
			}
		}
		if math.Abs(got-x) != best {
			t.Fatalf("%v gives %v, a neighbour is nearer", x, got)
		}
	})
}

// Broadcasting agrees with reading every element by its index tuple.
func TestBroadcastAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		full := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 4).Draw(t, "shape")
		operand := func(name string) ([]int, *ir.Tensor) {
			s := append([]int(nil), full[rapid.IntRange(0, len(full)).Draw(t, name+" cut"):]...)
			for i := range s {
				if rapid.Bool().Draw(t, name+" one") {
					s[i] = 1
				}
			}
			v := make([]int64, product(s))
			for i := range v {
				v[i] = int64(rapid.IntRange(-9, 9).Draw(t, name))
			}
			return s, ir.Of(v, s...)
		}
		as, a := operand("a")
		bs, b := operand("b")
		out, err := Eval(single("Sub", nil, 1, a, b), ts(a, b))
		if err != nil {
			t.Fatal(err)
		}
		shape := out[0].Shape
		for o, got := range out[0].I64() {
			at := func(s []int) int {
				k, rest := 0, o
				idx := make([]int, len(shape))
				for d := len(shape) - 1; d >= 0; d-- {
					idx[d], rest = rest%shape[d], rest/shape[d]
				}
				for d, n := range s {
					x := idx[len(shape)-len(s)+d]
					if n == 1 {
						x = 0
					}
					k = k*n + x
				}
				return k
			}
			if want := a.I64()[at(as)] - b.I64()[at(bs)]; got != want {
				t.Fatalf("%v - %v: element %d is %d, want %d", as, bs, o, got, want)
			}
		}
	})
}
