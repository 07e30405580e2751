package runtime

import (
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// family is one graph per operator form.
var family = []struct {
	name  string
	build func(b *bench) *ir.Value
	fwd   bool // the float32 oracle alone: not smooth, or without gradient
}{
	{name: "Add same", build: func(b *bench) *ir.Value { return b.op("Add", nil, b.act(-1, 1, 3, 5), b.act(-1, 1, 3, 5)) }},
	{name: "Add twice", build: func(b *bench) *ir.Value { x := b.act(-1, 1, 3, 5); return b.op("Mul", nil, x, b.op("Add", nil, x, x)) }},
	{name: "Add bias", build: func(b *bench) *ir.Value { return b.op("Add", nil, b.act(-1, 1, 2, 3, 5), b.act(-1, 1, 5)) }},
	{name: "Add bias first", build: func(b *bench) *ir.Value { return b.op("Add", nil, b.act(-1, 1, 5), b.act(-1, 1, 2, 3, 5)) }},
	{name: "Add position", build: func(b *bench) *ir.Value { return b.op("Add", nil, b.act(-1, 1, 4, 3, 5), b.act(-1, 1, 1, 3, 5)) }},
	{name: "Add column", build: func(b *bench) *ir.Value { return b.op("Add", nil, b.act(-1, 1, 4, 3, 5), b.act(-1, 1, 4, 3, 1)) }},
	{name: "Add scalar", build: func(b *bench) *ir.Value { return b.op("Add", nil, b.act(-1, 1, 4, 3), b.act(-1, 1)) }},
	{name: "Add outer", build: func(b *bench) *ir.Value { return b.op("Add", nil, b.act(-1, 1, 4, 1, 3), b.act(-1, 1, 1, 5, 3)) }},
	{name: "Sub bias", build: func(b *bench) *ir.Value { return b.op("Sub", nil, b.act(-1, 1, 2, 3, 5), b.act(-1, 1, 5)) }},
	{name: "Sub left small", build: func(b *bench) *ir.Value { return b.op("Sub", nil, b.act(-1, 1, 5), b.act(-1, 1, 2, 3, 5)) }},
	{name: "Sub column", build: func(b *bench) *ir.Value { return b.op("Sub", nil, b.act(-1, 1, 2, 3, 5), b.act(-1, 1, 2, 3, 1)) }},
	{name: "Sub scalar left", build: func(b *bench) *ir.Value { return b.op("Sub", nil, b.act(-1, 1), b.act(-1, 1, 3, 5)) }},
	{name: "Mul same", build: func(b *bench) *ir.Value { return b.op("Mul", nil, b.act(-1, 1, 3, 5), b.act(-1, 1, 3, 5)) }},
	{name: "Mul scalar", build: func(b *bench) *ir.Value { return b.op("Mul", nil, b.act(-1, 1, 1), b.act(-1, 1, 3, 5)) }},
	{name: "Mul bias", build: func(b *bench) *ir.Value { return b.op("Mul", nil, b.act(-1, 1, 3, 5), b.act(-1, 1, 5)) }},
	{name: "Mul column", build: func(b *bench) *ir.Value { return b.op("Mul", nil, b.act(-1, 1, 2, 3, 5), b.act(-1, 1, 2, 3, 1)) }},
	{name: "Mul outer", build: func(b *bench) *ir.Value { return b.op("Mul", nil, b.act(-1, 1, 2, 3, 1), b.act(-1, 1, 2, 1, 4)) }},
	{name: "Mul middle", build: func(b *bench) *ir.Value {
		return b.op("Mul", nil, b.act(-1, 1, 2, 3, 4, 5), b.act(-1, 1, 1, 3, 1, 1))
	}},
	{name: "Mul self", build: func(b *bench) *ir.Value { x := b.act(-1, 1, 7); return b.op("Mul", nil, x, x) }},
	{name: "Div same", build: func(b *bench) *ir.Value { return b.op("Div", nil, b.act(-1, 1, 3, 5), b.act(1, 2, 3, 5)) }},
	{name: "Div scalar", build: func(b *bench) *ir.Value { return b.op("Div", nil, b.act(-1, 1, 3, 5), b.act(1, 2)) }},
	{name: "Div column", build: func(b *bench) *ir.Value { return b.op("Div", nil, b.act(-1, 1, 4, 3, 5), b.act(1, 2, 4, 3, 1)) }},
	{name: "Div left small", build: func(b *bench) *ir.Value { return b.op("Div", nil, b.act(1, 2, 5), b.act(1, 2, 4, 3, 5)) }},

	{name: "Erf", build: func(b *bench) *ir.Value { return b.op("Erf", nil, b.act(-3, 3, 40)) }},
	{name: "Gelu", build: func(b *bench) *ir.Value { return b.op("Gelu", nil, b.act(-4, 4, 40)) }},
	{name: "Gelu tanh", build: func(b *bench) *ir.Value {
		return b.op("Gelu", ir.Attrs{"approximate": "tanh"}, b.act(-4, 4, 40))
	}},
	{name: "Gelu spelled", build: func(b *bench) *ir.Value {
		x := b.act(-4, 4, 40)
		e := b.op("Add", nil, b.op("Erf", nil, b.op("Div", nil, x, b.con(1.4142135, 1.4142135))), b.con(1, 1))
		return b.op("Mul", nil, b.op("Mul", nil, x, e), b.con(0.5, 0.5))
	}},
	{name: "Gelu spelled, half first", build: func(b *bench) *ir.Value {
		x := b.act(-4, 4, 40)
		h := b.op("Mul", nil, b.con(0.5, 0.5), x)
		e := b.op("Add", nil, b.con(1, 1), b.op("Erf", nil, b.op("Mul", nil, x, b.con(0.70710677, 0.70710677))))
		return b.op("Mul", nil, h, e)
	}},
	{name: "Tanh", build: func(b *bench) *ir.Value { return b.op("Tanh", nil, b.act(-3, 3, 40)) }},
	{name: "Exp", build: func(b *bench) *ir.Value { return b.op("Exp", nil, b.act(-3, 3, 40)) }},
	{name: "Log", build: func(b *bench) *ir.Value { return b.op("Log", nil, b.act(0.5, 3, 40)) }},
	{name: "Sqrt", build: func(b *bench) *ir.Value { return b.op("Sqrt", nil, b.act(0.5, 3, 40)) }},
	{name: "Neg", build: func(b *bench) *ir.Value { return b.op("Neg", nil, b.act(-3, 3, 40)) }},
	{name: "Abs", build: func(b *bench) *ir.Value { return b.op("Abs", nil, b.act(-3, 3, 40)) }},
	{name: "Reciprocal", build: func(b *bench) *ir.Value { return b.op("Reciprocal", nil, b.act(0.5, 3, 40)) }},
	{name: "Sigmoid", build: func(b *bench) *ir.Value { return b.op("Sigmoid", nil, b.act(-3, 3, 40)) }},
	{name: "Relu", build: func(b *bench) *ir.Value { return b.op("Relu", nil, b.act(-3, 3, 40)) }},
	{name: "Pow 2", build: func(b *bench) *ir.Value { return b.op("Pow", nil, b.act(-3, 3, 40), b.con(2, 2)) }},
	{name: "Pow 0.5", build: func(b *bench) *ir.Value { return b.op("Pow", nil, b.act(1, 3, 40), b.con(0.5, 0.5)) }},
	{name: "Pow 3", build: func(b *bench) *ir.Value { return b.op("Pow", nil, b.act(-2, 2, 4, 3), b.con(3, 3, 1)) }},
	{name: "Clip", build: func(b *bench) *ir.Value { return b.op("Clip", nil, b.act(-3, 3, 40), b.con(-1, -1), b.con(2, 2)) }},
	{name: "Clip top", build: func(b *bench) *ir.Value { return b.op("Clip", nil, b.act(-3, 3, 40), nil, b.con(2, 2)) }},

	{name: "MatMul 2d", build: func(b *bench) *ir.Value { return b.op("MatMul", nil, b.act(-1, 1, 5, 7), b.act(-1, 1, 7, 3)) }},
	{name: "MatMul weight", build: func(b *bench) *ir.Value { return b.op("MatMul", nil, b.act(-1, 1, 2, 5, 7), b.act(-1, 1, 7, 3)) }},
	{name: "MatMul bias", build: func(b *bench) *ir.Value {
		return b.op("Add", nil, b.par(-1, 1, 3), b.op("MatMul", nil, b.act(-1, 1, 2, 5, 7), b.par(-1, 1, 7, 3)))
	}},
	{name: "MatMul bias buffer", build: func(b *bench) *ir.Value {
		m := b.op("MatMul", nil, b.act(-1, 1, 2, 5, 7), b.act(-1, 1, 7, 3))
		return b.op("Add", nil, m, b.act(-1, 1, 1, 3))
	}},
	{name: "MatMul batch", build: func(b *bench) *ir.Value {
		return b.op("MatMul", nil, b.act(-1, 1, 2, 3, 5, 4), b.act(-1, 1, 2, 3, 4, 6))
	}},
	{name: "MatMul broadcast left", build: func(b *bench) *ir.Value {
		return b.op("MatMul", nil, b.act(-1, 1, 5, 4), b.act(-1, 1, 2, 3, 4, 6))
	}},
	{name: "MatMul broadcast middle", build: func(b *bench) *ir.Value {
		return b.op("MatMul", nil, b.act(-1, 1, 2, 1, 5, 4), b.act(-1, 1, 3, 4, 6))
	}},
	{name: "MatMul vector", build: func(b *bench) *ir.Value { return b.op("MatMul", nil, b.act(-1, 1, 4), b.act(-1, 1, 3, 4, 6)) }},
	{name: "MatMul vector right", build: func(b *bench) *ir.Value { return b.op("MatMul", nil, b.act(-1, 1, 3, 5, 4), b.act(-1, 1, 4)) }},
	{name: "MatMul dot", build: func(b *bench) *ir.Value { return b.op("MatMul", nil, b.act(-1, 1, 4), b.act(-1, 1, 4)) }},
	{name: "MatMul turned", build: func(b *bench) *ir.Value {
		k := b.op("Transpose", ir.Attrs{"perm": []int64{0, 1, 3, 2}}, b.act(-1, 1, 2, 3, 6, 4))
		return b.op("MatMul", nil, b.act(-1, 1, 2, 3, 5, 4), k)
	}},
	{name: "MatMul both turned", build: func(b *bench) *ir.Value {
		q := b.op("Transpose", ir.Attrs{"perm": []int64{0, 2, 1}}, b.act(-1, 1, 3, 4, 5))
		k := b.op("Transpose", ir.Attrs{"perm": []int64{0, 2, 1}}, b.act(-1, 1, 3, 6, 4))
		return b.op("MatMul", nil, q, k)
	}},
	{name: "MatMul turned weight", build: func(b *bench) *ir.Value {
		w := b.op("Transpose", nil, b.par(-1, 1, 6, 4))
		return b.op("MatMul", nil, b.act(-1, 1, 3, 5, 4), w)
	}},
	{name: "Gemm", build: func(b *bench) *ir.Value {
		return b.op("Gemm", ir.Attrs{"transB": int64(1)}, b.act(-1, 1, 5, 4), b.act(-1, 1, 6, 4), b.act(-1, 1, 6))
	}},
	{name: "Gemm all", build: func(b *bench) *ir.Value {
		a := ir.Attrs{"transA": int64(1), "alpha": float32(0.5), "beta": float32(2)}
		return b.op("Gemm", a, b.act(-1, 1, 4, 5), b.act(-1, 1, 4, 6), b.act(-1, 1))
	}},

	{name: "Conv patch", build: func(b *bench) *ir.Value {
		return b.op("Conv", ir.Attrs{"strides": []int64{4, 4}, "kernel_shape": []int64{4, 4}}, b.act(-1, 1, 2, 3, 8, 12), b.act(-1, 1, 5, 3, 4, 4), b.act(-1, 1, 5))
	}},
	{name: "Conv padded", build: func(b *bench) *ir.Value {
		return b.op("Conv", ir.Attrs{"pads": []int64{1, 2, 1, 0}, "strides": []int64{2, 1}}, b.act(-1, 1, 2, 3, 6, 5), b.act(-1, 1, 4, 3, 3, 3))
	}},
	{name: "Conv groups dilated", build: func(b *bench) *ir.Value {
		return b.op("Conv", ir.Attrs{"group": int64(2), "dilations": []int64{2, 2}, "pads": []int64{2, 2, 2, 2}}, b.act(-1, 1, 1, 4, 6, 5), b.act(-1, 1, 6, 2, 3, 3), b.act(-1, 1, 6))
	}},

	{name: "LayerNorm", build: func(b *bench) *ir.Value {
		return b.op("LayerNormalization", ir.Attrs{"epsilon": float32(1e-5)}, b.act(-1, 1, 2, 3, 8), b.act(0.5, 2, 8), b.act(-1, 1, 8))
	}},
	{name: "LayerNorm axis", build: func(b *bench) *ir.Value {
		return b.op("LayerNormalization", ir.Attrs{"axis": int64(1)}, b.act(-1, 1, 3, 4, 5), b.act(0.5, 2, 4, 5))
	}},
	{name: "LayerNorm spelled", build: func(b *bench) *ir.Value {
		_, _, y := b.spelled(b.act(-1, 1, 3, 4, 8), false)
		return b.op("Add", nil, b.op("Mul", nil, y, b.par(0.5, 2, 8)), b.par(-1, 1, 8))
	}},
	{name: "LayerNorm spelled, Pow", build: func(b *bench) *ir.Value {
		_, _, y := b.spelled(b.act(-1, 1, 3, 4, 8), true)
		return b.op("Mul", nil, y, b.act(0.5, 2, 8))
	}},
	{name: "LayerNorm rescale", build: func(b *bench) *ir.Value {
		x := b.act(-1, 1, 3, 4, 8)
		mean, spread, y := b.spelled(x, false)
		y = b.op("Add", nil, b.op("Mul", nil, y, spread), mean)
		return b.op("Mul", nil, y, b.op("Add", nil, x, b.op("Mul", nil, mean, spread)))
	}},
	{name: "Softmax", build: func(b *bench) *ir.Value { return b.op("Softmax", nil, b.act(-3, 3, 2, 3, 7)) }},
	{name: "Softmax axis", build: func(b *bench) *ir.Value {
		return b.op("Softmax", ir.Attrs{"axis": int64(1)}, b.act(-3, 3, 2, 5, 7))
	}},
	{name: "LogSoftmax", build: func(b *bench) *ir.Value { return b.op("LogSoftmax", nil, b.act(-3, 3, 3, 7)) }},

	{name: "Transpose heads", build: func(b *bench) *ir.Value {
		return b.op("Transpose", ir.Attrs{"perm": []int64{2, 0, 3, 1, 4}}, b.act(-1, 1, 2, 4, 3, 2, 5))
	}},
	{name: "Transpose matrix", build: func(b *bench) *ir.Value { return b.op("Transpose", nil, b.act(-1, 1, 19, 33)) }},
	{name: "Transpose last", build: func(b *bench) *ir.Value {
		return b.op("Transpose", ir.Attrs{"perm": []int64{0, 2, 1}}, b.act(-1, 1, 3, 19, 18))
	}},
	{name: "Transpose reverse", build: func(b *bench) *ir.Value { return b.op("Transpose", nil, b.act(-1, 1, 2, 3, 4, 5)) }},
	{name: "Transpose ones", build: func(b *bench) *ir.Value {
		return b.op("Mul", nil, b.op("Transpose", nil, b.act(-1, 1, 1, 6, 1)), b.con(2, 3))
	}},
	{name: "Concat", build: func(b *bench) *ir.Value {
		x := b.act(-1, 1, 2, 3, 4)
		return b.op("Concat", ir.Attrs{"axis": int64(1)}, x, b.act(-1, 1, 2, 1, 4), x)
	}},
	{name: "Split", build: func(b *bench) *ir.Value {
		n := b.g.InsertBefore(nil, "", "Split", ir.Attrs{"axis": int64(-1)}, []*ir.Value{b.act(-1, 1, 3, 9), b.ints(2, 4, 3)}, "s0", "s1", "s2")
		return b.op("Mul", nil, b.op("ReduceSum", nil, n.Outputs[1], b.ints(1)), n.Outputs[0])
	}},
	{name: "Split views", build: func(b *bench) *ir.Value {
		x := b.act(-1, 1, 3, 4, 5)
		n := b.g.InsertBefore(nil, "", "Split", ir.Attrs{"axis": int64(0), "num_outputs": int64(3)}, []*ir.Value{x}, "s0", "s1", "s2")
		return b.op("Mul", nil, n.Outputs[1], b.op("Neg", nil, n.Outputs[2]))
	}},
	{name: "Slice", build: func(b *bench) *ir.Value {
		return b.op("Slice", nil, b.act(-1, 1, 4, 5, 6), b.ints(1, -2), b.ints(3, 1<<30), b.ints(1, 2))
	}},
	{name: "Slice steps", build: func(b *bench) *ir.Value {
		return b.op("Slice", nil, b.act(-1, 1, 4, 7), b.ints(3, 1), b.ints(-100, 7), b.ints(0, 1), b.ints(-1, 2))
	}},
	{name: "Slice view", build: func(b *bench) *ir.Value {
		return b.op("Neg", nil, b.op("Slice", nil, b.act(-1, 1, 1, 5, 6), b.ints(1), b.ints(4), b.ints(1)))
	}},
	{name: "Roll", build: func(b *bench) *ir.Value {
		x := b.act(-1, 1, 2, 7, 3)
		return b.op("Concat", ir.Attrs{"axis": int64(1)}, b.op("Slice", nil, x, b.ints(3), b.ints(99), b.ints(1)), b.op("Slice", nil, x, b.ints(0), b.ints(3), b.ints(1)))
	}},
	{name: "Gather rows", build: func(b *bench) *ir.Value {
		i := b.g.AddConst("i", ir.Of(ir.Int64s(2, 0, 2, -1), 2, 2))
		return b.op("Gather", ir.Attrs{"axis": int64(0)}, b.act(-1, 1, 4, 3), i)
	}},
	{name: "Gather token", build: func(b *bench) *ir.Value {
		i := b.g.AddConst("i", ir.Scalar(int64(0)))
		return b.op("Gather", ir.Attrs{"axis": int64(1)}, b.act(-1, 1, 4, 3, 5), i)
	}},
	{name: "Gather view", build: func(b *bench) *ir.Value {
		x := b.act(-1, 1, 3, 4, 5)
		q := b.op("Gather", nil, x, b.g.AddConst("i", ir.Scalar(int64(0))))
		k := b.op("Gather", nil, x, b.g.AddConst("i", ir.Scalar(int64(2))))
		return b.op("Mul", nil, q, k)
	}},
	{name: "Expand", build: func(b *bench) *ir.Value { return b.op("Expand", nil, b.act(-1, 1, 1, 1, 6), b.ints(3, 2, 6)) }},
	{name: "Expand inner", build: func(b *bench) *ir.Value { return b.op("Expand", nil, b.act(-1, 1, 3, 1), b.ints(2, 3, 4)) }},
	{name: "Pad", build: func(b *bench) *ir.Value {
		return b.op("Pad", nil, b.act(-1, 1, 2, 3, 4), b.ints(0, 1, 0, 1, 2, 0))
	}},
	{name: "Pad cut", build: func(b *bench) *ir.Value {
		return b.op("Pad", nil, b.act(-1, 1, 3, 4), b.ints(-1, 2), b.con(1.5, 1.5), b.ints(1))
	}},
	{name: "Reshape chain", build: func(b *bench) *ir.Value {
		x := b.op("Reshape", nil, b.act(-1, 1, 2, 6), b.ints(3, 4))
		y := b.op("Unsqueeze", nil, x, b.ints(0))
		z := b.op("Flatten", nil, b.op("Squeeze", nil, y, b.ints(0)))
		return b.op("Mul", nil, z, b.op("Identity", nil, x))
	}},
	{name: "Reshape parameter", build: func(b *bench) *ir.Value {
		x := b.par(-1, 1, 2, 6)
		return b.op("Mul", nil, b.op("Reshape", nil, x, b.ints(-1)), b.op("Reshape", nil, x, b.ints(12)))
	}},

	{name: "ReduceMean last", build: func(b *bench) *ir.Value { return b.op("ReduceMean", nil, b.act(-1, 1, 3, 4, 5), b.ints(-1)) }},
	{name: "ReduceMean drop", build: func(b *bench) *ir.Value {
		return b.op("ReduceMean", ir.Attrs{"keepdims": int64(0)}, b.act(-1, 1, 3, 4, 5), b.ints(1))
	}},
	{name: "ReduceMean two", build: func(b *bench) *ir.Value { return b.op("ReduceMean", nil, b.act(-1, 1, 3, 4, 5), b.ints(0, 2)) }},
	{name: "ReduceSum all", build: func(b *bench) *ir.Value { return b.op("ReduceSum", nil, b.act(-1, 1, 3, 4, 5)) }},
	{name: "GlobalAveragePool", build: func(b *bench) *ir.Value { return b.op("GlobalAveragePool", nil, b.act(-1, 1, 2, 3, 4, 5)) }},
	{name: "Where", build: func(b *bench) *ir.Value {
		c := b.g.AddConst("cond", ir.Of([]bool{true, false, false, true}, 4))
		return b.op("Where", nil, c, b.act(-1, 1, 3, 4), b.act(-1, 1, 3, 1))
	}},
	{name: "Cast", build: func(b *bench) *ir.Value {
		return b.op("Mul", nil, b.op("Cast", ir.Attrs{"to": int64(1)}, b.act(-1, 1, 6)), b.con(1, 2, 6))
	}, fwd: true},

	{name: "fallback Max", build: func(b *bench) *ir.Value { return b.op("Max", nil, b.act(-1, 1, 3, 4), b.act(-1, 1, 4)) }, fwd: true},
	{name: "fallback bool", build: func(b *bench) *ir.Value {
		x, y := b.act(-1, 1, 3, 4), b.act(-1, 1, 3, 4)
		return b.op("Where", nil, b.op("Greater", nil, x, y), x, y)
	}, fwd: true},
	{name: "Dequantize pair", build: func(b *bench) *ir.Value {
		s, z := b.con(0.1, 0.2, 4), b.g.AddConst("z", ir.Of([]uint8{3, 4, 5, 6}, 4))
		q := b.op("QuantizeLinear", ir.Attrs{"axis": int64(1)}, b.act(-1, 1, 3, 4), s, z)
		return b.op("DequantizeLinear", ir.Attrs{"axis": int64(1)}, q, s, z)
	}, fwd: true},
	{name: "FakeQuant scalar", build: func(b *bench) *ir.Value {
		return b.own("FakeQuant", ir.Attrs{"bits": int64(3), "signed": int64(1)}, b.act(-1, 1, 3, 40), b.par(0.2, 0.3))
	}, fwd: true},
	{name: "FakeQuant heads", build: func(b *bench) *ir.Value {
		return b.own("FakeQuant", ir.Attrs{"bits": int64(4), "signed": int64(0), "axis": int64(1)}, b.act(-1, 1, 2, 3, 4, 5), b.par(0.1, 0.2, 3), b.par(4, 6, 3))
	}, fwd: true},
	{name: "FakeQuant columns", build: func(b *bench) *ir.Value {
		return b.own("FakeQuant", ir.Attrs{"bits": int64(2), "signed": int64(1), "axis": int64(-1)}, b.act(-1, 1, 9, 21), b.par(0.1, 0.2, 21))
	}, fwd: true},
	{name: "FakeQuant rows", build: func(b *bench) *ir.Value {
		return b.own("FakeQuant", ir.Attrs{"bits": int64(8), "signed": int64(1), "axis": int64(0)}, b.act(-1, 1, 9, 21), b.par(0.01, 0.02, 9))
	}, fwd: true},
}

func TestForwardAgainstOracle(t *testing.T) {
	for _, c := range family {
		for _, train := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				b := newBench(1)
				b.g.AddOutput(c.build(b))
				if train && c.fwd && c.name[:4] == "fall" {
					t.Skip("has no gradient")
				}
				b.checkForward(t, train, 1e-5)
				b.params = nil // everything may be folded
				b.checkForward(t, false, 1e-5)
			})
		}
	}
}

// TestFusedSteps counts the steps of forms that fuse; the leading Add of each
// activation is one more.
func TestFusedSteps(t *testing.T) {
	want := map[string]int{
		"Gelu spelled": 2, "Gelu spelled, half first": 2, "LayerNorm spelled": 2, "LayerNorm spelled, Pow": 4,
		"MatMul bias": 2, "MatMul turned": 3, "MatMul both turned": 3, "Dequantize pair": 2, "Split views": 3, "Gather view": 2,
	}
	for _, c := range family {
		n, ok := want[c.name]
		if !ok {
			continue
		}
		b := newBench(1)
		b.g.AddOutput(c.build(b))
		if p := b.compile(t, false); p.Steps() != n {
			t.Errorf("%s: %d steps, want %d", c.name, p.Steps(), n)
		}
	}
}

func TestGradients(t *testing.T) {
	for _, c := range family {
		if c.fwd {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(3) {
				b := newBench(seed + 10)
				b.g.AddOutput(c.build(b))
				b.checkGradients(t, 2e-4)
			}
		})
	}
}
