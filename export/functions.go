package export

import (
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// Function builds the model-local function that defines a packed operator of
// domain ai.qvitc: its body is the specification of the operator and the kernel
// that runtimes without a native one execute. Bodies use ai.onnx operators that
// exist at opset 18. It fails for names that are not packed operators.
//
//	QLinearW{w}A{a}(X[...,K], B, Ws[N], Xs, Xz, bias[N]) -> Y[...,N]     w, a in 2, 3, 4, 8
//	QMatMulA{a}B{b}(A, As, Az, B, Bs, Bz) -> Y                           a, b in 2, 3, 4, 8
//
// All products are MatMulInteger. Where one operand has at most 4 bits, unsigned
// codes meet signed ones, the fast kernel of ONNX Runtime; two operands of 8 bits
// are both unsigned, because pairs of signed 8-bit products saturate on CPUs that
// lack VNNI. docs/formats.md gives the byte layout.
func Function(name string) (*ir.Function, error) {
	var w, a int
	switch {
	case scan(name, "QLinearW%dA%d", &w, &a):
		return linearFunction(name, w, a), nil
	case scan(name, "QMatMulA%dB%d", &a, &w):
		return matmulFunction(name, a, w), nil
	}
	return nil, fmt.Errorf("%q is not a packed operator", name)
}

func scan(name, format string, x, y *int) bool {
	n, err := fmt.Sscanf(name, format, x, y)
	return n == 2 && err == nil && width(*x) && width(*y) && fmt.Sprintf(format, *x, *y) == name
}

func width(b int) bool { return b == 2 || b == 3 || b == 4 || b == 8 }

// body is a small builder over the graph of a function body.
type body struct{ g *ir.Graph }

func (b body) in(name string) *ir.Value { return b.g.AddInput(name, ir.Type{}) }

func (b body) op(op, out string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
	n := b.g.Add(op, out, attrs, in...)
	n.Name = out
	return n.Out()
}

func (b body) cast(out string, v *ir.Value, e ir.Elem) *ir.Value {
	return b.op("Cast", out, ir.Attrs{"to": int64(e)}, v)
}

func (b body) u8(name string, v ...uint8) *ir.Value { return b.g.AddConst(name, ir.Of(v, len(v))) }

func (b body) f32(name string, v float32) *ir.Value { return b.g.AddConst(name, ir.Scalar(v)) }

// quantised gives the unsigned codes of v, at most levels: the type cuts below 0,
// a Clip on the codes (one byte each) above.
func (b body) quantised(name string, bits int, attrs ir.Attrs, v, scale, zero *ir.Value) *ir.Value {
	if bits == 8 {
		return b.op("QuantizeLinear", name+"codes", attrs, v, scale, zero)
	}
	q := b.op("QuantizeLinear", name+"codes_wide", attrs, v, scale, zero)
	return b.op("Clip", name+"codes", nil, q, nil, b.g.AddConst(name+"highest", ir.Scalar(uint8(1)<<bits-1)))
}

func linearFunction(name string, w, a int) *ir.Function {
	b := body{ir.New(name)}
	x, packed, ws, xs, xz, bias := b.in("X"), b.in("B"), b.in("Ws"), b.in("Xs"), b.in("Xz"), b.in("bias")
	xq := b.quantised("", a, nil, x, xs, xz)
	in := []*ir.Value{xq, nil, xz}
	codes := packed
	switch {
	case w == 8 && a == 8:
		// products of unsigned codes: signed ones saturate on CPUs without VNNI
		wide := b.op("Add", "shifted", nil, b.cast("weight_wide", packed, ir.Int32), b.g.AddConst("half", ir.Scalar(int32(128))))
		codes = b.cast("weight_codes", wide, ir.Uint8)
		in = append(in, b.g.AddConst("weight_zero_point", ir.Scalar(uint8(128))))
	case w != 8:
		codes = b.unpack(packed, w)
	}
	in[1] = b.op("Transpose", "weight", ir.Attrs{"perm": ir.Int64s(1, 0)}, codes)
	acc := b.cast("sum", b.op("MatMulInteger", "sum_int", nil, in...), ir.Float32)
	scaled := b.op("Mul", "scaled", nil, acc, b.op("Mul", "scale", nil, ws, xs))
	b.g.AddOutput(b.op("Add", "Y", nil, scaled, bias))
	return &ir.Function{
		Domain: ir.Domain, Name: name, Body: b.g, Attrs: []string{"K", "N", "bits"},
		Doc: fmt.Sprintf("Linear layer with %d-bit weights and %d-bit activations: Y = (q(X) - Xz)·Wᵀ · Ws·Xs + bias, q(X) = clip(round(X/Xs) + Xz, 0, %d).", w, a, 1<<a-1),
	}
}

// unpack turns packed unsigned codes [N, K/g, bytes] into int8 codes [N, K].
func (b body) unpack(packed *ir.Value, w int) *ir.Value {
	var codes *ir.Value
	right := ir.Attrs{"direction": "RIGHT"}
	switch w {
	case 4:
		codes = b.op("BitShift", "shifted", right, packed, b.u8("shifts", 0, 4))
	case 2:
		codes = b.op("BitShift", "shifted", right, packed, b.u8("shifts", 0, 2, 4, 6))
	case 3:
		// three bytes hold eight codes: join them into 24 bits first. The sum runs
		// in int64 because ONNX Runtime has no ReduceSum for uint32.
		wide := b.op("BitShift", "placed", ir.Attrs{"direction": "LEFT"}, b.cast("bytes", packed, ir.Uint32), b.g.AddConst("places", ir.Of([]uint32{0, 8, 16}, 3)))
		sum := b.op("ReduceSum", "joined_sum", ir.Attrs{"keepdims": int64(1)}, b.cast("placed_wide", wide, ir.Int64), b.g.AddConst("last_axis", ir.Of([]int64{-1}, 1)))
		joined := b.cast("joined", sum, ir.Uint32)
		codes = b.op("BitShift", "shifted", right, joined, b.g.AddConst("shifts", ir.Of([]uint32{0, 3, 6, 9, 12, 15, 18, 21}, 8)))
		codes = b.op("BitwiseAnd", "unsigned", nil, codes, b.g.AddConst("mask", ir.Of([]uint32{7}, 1)))
	}
	if w != 3 {
		codes = b.op("BitwiseAnd", "unsigned", nil, codes, b.u8("mask", uint8(1)<<w-1))
	}
	signed := b.op("Sub", "signed", nil, b.cast("unsigned_wide", codes, ir.Int32), b.g.AddConst("offset", ir.Scalar(int32(1)<<(w-1))))
	return b.op("Reshape", "rows", nil, b.cast("weight_codes", signed, ir.Int8), b.g.AddConst("rows_shape", ir.Of([]int64{0, -1}, 2)))
}

func matmulFunction(name string, abits, bbits int) *ir.Function {
	b := body{ir.New(name)}
	av, as, az, bv, bs, bz := b.in("A"), b.in("As"), b.in("Az"), b.in("B"), b.in("Bs"), b.in("Bz")
	// one scale, or one for each matrix of the axis in front of the rows
	heads := ir.Attrs{"axis": int64(-3)}
	list := func(v string, scale, zero *ir.Value) (s, z *ir.Value) {
		s = b.op("Reshape", v+"_scales", nil, scale, b.g.AddConst(v+"_flat", ir.Of([]int64{-1}, 1)))
		return s, b.op("Expand", v+"_zero_points", nil, zero, b.op("Shape", v+"_heads", nil, s))
	}
	sa, za := list("A", as, az)
	aq := b.quantised("A_", abits, heads, av, sa, za)
	var bq *ir.Value
	if abits == 8 && bbits == 8 {
		sb, zb := list("B", bs, bz)
		bq = b.quantised("B_", bbits, heads, bv, sb, zb)
	} else {
		// signed codes: the faster kernel, which such short ones cannot saturate
		half := b.g.AddConst("B_half", ir.Scalar(int32(1)<<(bbits-1)))
		bz = b.cast("B_zero_point", b.op("Sub", "B_zero_point_wide", nil, b.cast("B_offset", bz, ir.Int32), half), ir.Int8)
		sb, zb := list("B", bs, bz)
		bq = b.op("QuantizeLinear", "B_codes_wide", heads, bv, sb, zb)
		if bbits < 8 {
			bq = b.op("Clip", "B_codes", nil, bq, b.g.AddConst("B_lowest", ir.Scalar(int8(-1)<<(bbits-1))), b.g.AddConst("B_highest", ir.Scalar(int8(1)<<(bbits-1)-1)))
		}
	}
	acc := b.cast("sum", b.op("MatMulInteger", "sum_int", nil, aq, bq, az, bz), ir.Float32)
	b.g.AddOutput(b.op("Mul", "Y", nil, acc, b.op("Mul", "scale", nil, as, bs)))
	return &ir.Function{
		Domain: ir.Domain, Name: name, Body: b.g,
		Doc: fmt.Sprintf("Product of %d-bit and %d-bit activations: Y = (q(A) - Az)·(q(B) - Bz) · As·Bs, q(V) = clip(round(V/Vs) + Vz, 0, levels).", abits, bbits),
	}
}

// attachFunctions adds the definition of every packed operator that g calls.
func attachFunctions(g *ir.Graph) error {
	for n := range g.Nodes() {
		if n.Domain == ir.QONNX && n.Op == "IntQuant" && g.Function(n.Domain, n.Op) == nil {
			g.Functions = append(g.Functions, intQuantFunction())
			continue
		}
		if n.Domain != ir.Domain || g.Function(n.Domain, n.Op) != nil {
			continue
		}
		f, err := Function(n.Op)
		if err != nil {
			return n.Errorf("no definition to export: %v; run the lowering passes first", strings.TrimSpace(err.Error()))
		}
		g.Functions = append(g.Functions, f)
	}
	return nil
}
