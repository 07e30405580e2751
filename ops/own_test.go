package ops

import (
	"math/rand/v2"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

func fq(bits, signed int, axis ...int) ir.Attrs {
	a := ir.Attrs{"bits": int64(bits), "signed": int64(signed)}
	if len(axis) > 0 {
		a["axis"] = int64(axis[0])
	}
	return a
}

func TestFakeQuant(t *testing.T) {
	const op = "ai.qvitc::FakeQuant"
	s := func(v float32) *ir.Tensor { return ir.Scalar(v) }
	runCases(t, []opCase{
		{op: op, attrs: fq(2, 1), in: ts(f(-9, -0.5, 0.25, 0.75, 9), s(0.5)), want: ts(f(-1, -0.5, 0, 0.5, 0.5))},
		{op: op, attrs: fq(4, 0), in: ts(f(-1, 0.5, 20), s(1)), want: ts(f(0, 0, 15))},
		{op: op, attrs: fq(4, 0), in: ts(f(-1, 2, 20), s(1), s(1.4)), want: ts(f(-1, 2, 14))},
		{op: op, attrs: fq(4, 1, 0), in: ts(m(2, 2, 1, 3, 1, 3), f(1, 2)), want: ts(m(2, 2, 1, 3, 0, 4))},
		{op: op, attrs: fq(4, 1), in: ts(f(1), s(0)), err: "not calibrated"},
		{op: op, attrs: fq(4, 1), in: ts(f(1), s(nan32)), err: "not calibrated"},
		{op: op, attrs: fq(4, 1), in: ts(f(1), f(1)), err: "has shape [1], want []"},
		{op: op, attrs: fq(4, 1, 1), in: ts(m(1, 2, 1, 2), f(1, 2, 3)), err: "has shape [3], want [2]"},
		{op: op, attrs: fq(0, 1), in: ts(f(1), s(1)), err: "bits is 0"},
	})
}

func packRow(bits int, q []int8) []byte {
	n, _ := PackedRow(bits, len(q))
	row := make([]byte, n)
	for i := range n * 8 / bits {
		v := int8(0)
		if i < len(q) {
			v = q[i]
		}
		u := int(v) + 1<<(bits-1)
		if bits == 8 {
			u = int(uint8(v))
		}
		for b := range bits {
			at := i*bits + b
			row[at/8] |= byte(u>>b&1) << (at % 8)
		}
	}
	return row
}

func TestUnpackRow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, bits := range PackedBits {
		for k := range 20 {
			q := make([]int8, k)
			for i := range q {
				q[i] = int8(r.IntN(1<<bits) - 1<<(bits-1))
			}
			for i, got := range UnpackRow(packRow(bits, q), bits, k) {
				if got != q[i] {
					t.Fatalf("%d bits, K=%d: code %d is %d, want %d", bits, k, i, got, q[i])
				}
			}
		}
	}
}

// A packed linear layer equals FakeQuant on input and weights, then MatMul.
func TestPackedLinearEqualsFakeQuant(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const rows, k, n = 3, 11, 5
	for _, w := range PackedBits {
		for _, a := range PackedBits {
			x := make([]float32, rows*k)
			for i := range x {
				x[i] = float32(r.NormFloat64())
			}
			const xs, ws = 0.25, 0.125 // powers of two: float32 arithmetic is exact
			var packed []byte
			weights := make([]float32, k*n) // [K, N]
			for j := range n {
				q := make([]int8, k)
				for i := range q {
					q[i] = int8(r.IntN(1<<w) - 1<<(w-1))
					weights[i*n+j] = float32(q[i]) * ws
				}
				packed = append(packed, packRow(w, q)...)
			}
			_, tail := PackedRow(w, k)
			wt := ir.Of(packed, append([]int{n}, tail...)...)
			if w == 8 {
				wt = typed(ir.Int8, []int{n, k}, unpack[float64](wt)...)
			}
			scale, zp := make([]float32, n), uint8(1<<(a-1))
			for j := range scale {
				scale[j] = ws
			}
			bias := f(1, 2, 3, 4, 5)
			in := ts(ir.Of(x, rows, k), wt, ir.Of(scale, n), ir.Scalar(float32(xs)), ir.Scalar(zp), bias)
			name := "ai.qvitc::QLinearW" + string(rune('0'+w)) + "A" + string(rune('0'+a))
			got, err := Eval(single(name, nil, 1, in...), in)
			if err != nil {
				t.Fatal(err)
			}
			want := evalChain(t, ir.Of(x, rows, k), ir.Of(weights, k, n), bias, a, xs)
			if d := differ(got[0], want); d != "" {
				t.Fatalf("%s: %s", name, d)
			}
		}
	}
}

func evalChain(t *testing.T, x, w, bias *ir.Tensor, bits int, scale float32) *ir.Tensor {
	t.Helper()
	one := func(op string, attrs ir.Attrs, in ...*ir.Tensor) *ir.Tensor {
		out, err := Eval(single(op, attrs, 1, in...), in)
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	q := one("ai.qvitc::FakeQuant", fq(bits, 1), x, ir.Scalar(scale))
	return one("Add", nil, one("MatMul", nil, q, w), bias)
}

func TestPackedMatMul(t *testing.T) {
	s := func(v float32) *ir.Tensor { return ir.Scalar(v) }
	a, c := m(2, 2, 1, -1, 9, 0.5), m(2, 1, 1, 3)
	runCases(t, []opCase{
		{op: "ai.qvitc::QMatMulA2B4", in: ts(a, s(1), ir.Scalar(uint8(2)), c, s(1), ir.Scalar(uint8(0))), want: ts(m(2, 1, -2, 1))},
		{op: "ai.qvitc::QMatMulA2B4", in: ts(ir.Of([]float32{1, 1}, 1, 2, 1, 1), ir.Of([]float32{1, 0.5}, 1, 2, 1, 1), ir.Scalar(uint8(0)), ir.Of([]float32{1, 1}, 1, 2, 1, 1), s(1), ir.Scalar(uint8(0))), want: ts(ir.Of([]float32{1, 1}, 1, 2, 1, 1))},
		{op: "ai.qvitc::QMatMulA2B4", in: ts(a, s(0), ir.Scalar(uint8(2)), c, s(1), ir.Scalar(uint8(0))), err: "not calibrated"},
		{op: "ai.qvitc::QLinearW4A4", in: ts(m(1, 3, 1, 2, 3), ir.Of([]uint8{1}, 1, 1, 1), f(1), s(1), ir.Scalar(uint8(0))), err: "does not fit K=3 at 4 bits"},
	})
}
