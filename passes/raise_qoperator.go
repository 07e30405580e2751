package passes

import (
	"github.com/qvitc/qvitc/ir"
)

// RaiseQOperators spells operators that compute on codes with quantisers around
// float operators.
var RaiseQOperators = Pass{
	Name: "raise-qoperators",
	Doc: `put DequantizeLinear and QuantizeLinear around float operators for those that compute on codes

QLinearMatMul and QLinearConv of ai.onnx; QLinearAdd, QLinearMul, QLinearConcat,
QLinearSoftmax, QLinearReduceMean, QLinearSigmoid, QLinearLeakyRelu, QGemm,
MatMulIntegerToFloat and DynamicQuantizeMatMul of com.microsoft. INT32 biases
become float.`,
	Run: raiseQOperators,
}

func raiseQOperators(g *ir.Graph, r *Report) (bool, error) {
	changed := false
	for n := range g.Nodes() {
		expand := qoperators[n.Domain+"::"+n.Op]
		if expand == nil {
			continue
		}
		e := &qexpansion{g: g, r: r, n: n}
		y := expand(e)
		if y == nil {
			r.Note(n, "%s stays: not all of its parameters are constants, or an attribute is not supported", n.Op)
			continue
		}
		substitute(g, n.Out(), y)
		g.Remove(n)
		r.Count(n.Op, 1)
		changed = true
	}
	if changed {
		dropDead(g, &Report{Pass: r.Pass})
	}
	return changed, nil
}

// qexpansion replaces one operator on codes.
type qexpansion struct {
	g *ir.Graph
	r *Report
	n *ir.Node
}

var qoperators = map[string]func(*qexpansion) *ir.Value{
	"::QLinearMatMul": func(e *qexpansion) *ir.Value {
		return e.quantised(6, e.op("MatMul", nil, e.float(0, -1), e.float(3, -1)))
	},
	"::QLinearConv": func(e *qexpansion) *ir.Value {
		bias, ok := e.bias(8, 1, 4, 1)
		if !ok {
			return nil
		}
		in := append([]*ir.Value{e.float(0, -1), e.float(3, 0)}, bias...)
		return e.quantised(6, e.op("Conv", e.n.Attrs.Clone(), in...))
	},
	ir.Microsoft + "::QLinearAdd": func(e *qexpansion) *ir.Value {
		return e.quantised(6, e.op("Add", nil, e.float(0, -1), e.float(3, -1)))
	},
	ir.Microsoft + "::QLinearMul": func(e *qexpansion) *ir.Value {
		return e.quantised(6, e.op("Mul", nil, e.float(0, -1), e.float(3, -1)))
	},
	ir.Microsoft + "::QLinearSigmoid": func(e *qexpansion) *ir.Value { return e.quantised(3, e.op("Sigmoid", nil, e.float(0, -1))) },
	ir.Microsoft + "::QLinearLeakyRelu": func(e *qexpansion) *ir.Value {
		return e.quantised(3, e.op("LeakyRelu", e.attrs("alpha"), e.float(0, -1)))
	},
	ir.Microsoft + "::QLinearSoftmax": func(e *qexpansion) *ir.Value {
		if e.n.Attrs.Int("opset", 13) < 13 { // flattens to 2-D
			return nil
		}
		return e.quantised(3, e.op("Softmax", e.attrs("axis"), e.float(0, -1)))
	},
	ir.Microsoft + "::QLinearReduceMean": func(e *qexpansion) *ir.Value {
		in := []*ir.Value{e.float(0, -1)}
		if axes := e.n.Attrs.Ints("axes"); axes != nil {
			in = append(in, e.g.AddConst(e.n.Out().Name+".axes", ir.Of(ir.Int64s(axes...), len(axes))))
		}
		return e.quantised(3, e.op("ReduceMean", e.attrs("keepdims"), in...))
	},
	ir.Microsoft + "::QLinearConcat": func(e *qexpansion) *ir.Value {
		var in []*ir.Value
		for i := 2; i+2 < len(e.n.Inputs); i += 3 {
			in = append(in, e.float(i, -1))
		}
		return e.quantised(0, e.op("Concat", e.attrs("axis"), in...))
	},
	ir.Microsoft + "::QGemm": func(e *qexpansion) *ir.Value {
		axis := 1
		if e.n.Attrs.Int("transB", 0) != 0 {
			axis = 0
		}
		bias, ok := e.bias(6, 1, 4, e.n.Attrs.Float("alpha", 1))
		if !ok {
			return nil
		}
		in := append([]*ir.Value{e.float(0, -1), e.float(3, axis)}, bias...)
		return e.quantised(7, e.op("Gemm", e.attrs("alpha", "transA", "transB"), in...))
	},
	ir.Microsoft + "::MatMulIntegerToFloat": func(e *qexpansion) *ir.Value {
		a := e.dequantize(e.n.Input(0), e.n.Input(2), e.n.Input(4), -1)
		b := e.dequantize(e.n.Input(1), e.n.Input(3), e.n.Input(5), 1)
		return e.plus(e.op("MatMul", nil, a, b), e.n.Input(6))
	},
	ir.Microsoft + "::DynamicQuantizeMatMul": func(e *qexpansion) *ir.Value {
		q := e.g.InsertBefore(e.n, "", "DynamicQuantizeLinear", nil, e.n.Inputs[:1], e.n.Out().Name+".codes", e.n.Out().Name+".scale", e.n.Out().Name+".zero_point")
		e.r.rewrote(q).Origin = e.n.Origin
		a := e.dequantize(q.Outputs[0], q.Outputs[1], q.Outputs[2], -1)
		return e.plus(e.op("MatMul", nil, a, e.dequantize(e.n.Input(1), e.n.Input(2), e.n.Input(3), 1)), e.n.Input(4))
	},
}

func (e *qexpansion) attrs(names ...string) ir.Attrs {
	out := ir.Attrs{}
	for _, name := range names {
		if v, ok := e.n.Attrs[name]; ok {
			out[name] = v
		}
	}
	return out
}

func (e *qexpansion) op(op string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
	k := e.g.InsertBefore(e.n, "", op, attrs, in, e.n.Out().Name+".float")
	return e.r.inherit(k, e.n).Out()
}

// float dequantises the operand at input i, whose scale and zero point follow it;
// several scales run along axis.
func (e *qexpansion) float(i, axis int) *ir.Value {
	return e.dequantize(e.n.Input(i), e.n.Input(i+1), e.n.Input(i+2), axis)
}

func (e *qexpansion) dequantize(x, scale, zero *ir.Value, axis int) *ir.Value {
	in := []*ir.Value{x, scale}
	if zero != nil {
		in = append(in, zero)
	}
	attrs := ir.Attrs{}
	if axis >= 0 {
		attrs["axis"] = int64(axis)
	}
	k := e.g.InsertBefore(e.n, "", "DequantizeLinear", attrs, in, x.Name+".float")
	k.Origin = e.n.Origin
	return e.r.rewrote(k).Out()
}

// quantised quantises the result with the scale and zero point at input i; without
// them the result is float.
func (e *qexpansion) quantised(i int, y *ir.Value) *ir.Value {
	if e.n.Input(i) == nil {
		return y
	}
	in := []*ir.Value{y, e.n.Input(i)}
	if z := e.n.Input(i + 1); z != nil {
		in = append(in, z)
	}
	k := e.g.InsertBefore(e.n, "", "QuantizeLinear", nil, in, e.n.Out().Name)
	k.Origin = e.n.Origin
	return e.r.rewrote(k).Out()
}

func (e *qexpansion) plus(y, bias *ir.Value) *ir.Value {
	if bias == nil {
		return y
	}
	return e.op("Add", nil, y, bias)
}

// bias makes INT32 codes at input at, of scale factor*(input i)*(input j), float:
// a list of one, or of none where there is no bias; false when they are not
// constants.
func (e *qexpansion) bias(at, i, j int, factor float32) ([]*ir.Value, bool) {
	b := e.n.Input(at)
	if b == nil {
		return nil, true
	}
	x, ok := floats(e.n.Input(i))
	w, wok := floats(e.n.Input(j))
	if !ok || !wok || !b.IsConst() || len(x) != 1 || len(w) != 1 && len(w) != b.Const.Len() {
		return nil, false
	}
	out := make([]float32, b.Const.Len())
	for k := range out {
		out[k] = float32(b.Const.Int(k)) * (factor * x[0] * w[k%len(w)])
	}
	return []*ir.Value{e.g.AddConst(b.Name, ir.Of(out, b.Const.Shape...))}, true
}
