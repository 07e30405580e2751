package ops

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// Arithmetic element by element with NumPy broadcasting.
var elementwiseOps = []*Op{
	arith("Add", 14, binary{plus[float64], plus[int64], plus[uint64]}, func(_ *call, x []num) num { return x[0].add(x[1]) }),
	arith("Sub", 14, binary{minus[float64], minus[int64], minus[uint64]}, func(_ *call, x []num) num { return x[0].sub(x[1]) }),
	arith("Mul", 14, binary{times[float64], times[int64], times[uint64]}, func(_ *call, x []num) num { return x[0].mul(x[1]) }),
	{
		Name: "Div", Since: 14, In: []Param{in("A", "T", numeric), in("B", "T", numeric)}, Out: []Param{in("C", "T", numeric)},
		infer: inferBroadcast, fold: true, content: elemwise(contentDiv), eval: evalDiv,
	},
	{
		Name: "Mod", Since: 28, In: []Param{in("A", "T", numeric), in("B", "T", numeric)}, Out: []Param{in("C", "T", numeric)},
		Attrs: []Attr{attrInt("fmod", 0)},
		infer: inferBroadcast, fold: true, content: elemwise(contentMod), eval: evalMod,
	},
	{
		Name: "Pow", Since: 15,
		In:    []Param{in("X", "T", floats|set(ir.Int32, ir.Int64)), in("Y", "T1", numeric)},
		Out:   []Param{in("Z", "T", floats|set(ir.Int32, ir.Int64))},
		infer: inferBroadcast, fold: true, eval: evalPow,
	},
	nary("Max", numeric, binary{maxOf[float64], maxOf[int64], maxOf[uint64]}, maxNum),
	nary("Min", numeric, binary{minOf[float64], minOf[int64], minOf[uint64]}, minNum),
	nary("Sum", floats, binary{f: plus[float64]}, num.add),
	{
		Name: "Mean", Since: 13, In: []Param{many("data_0", "T", floats)}, Out: []Param{in("mean", "T", floats)},
		infer: inferBroadcast, fold: true, eval: evalMean,
	},
	{
		Name: "Clip", Since: 13,
		In:    []Param{in("input", "T", numeric), opt("min", "T", numeric), opt("max", "T", numeric)},
		Out:   []Param{in("output", "T", numeric)},
		infer: inferClip, fold: true, eval: evalClip,
	},
	unaryInt("Abs", numeric, math.Abs, func(a int64) int64 { return max(a, -a) }, func(a uint64) uint64 { return a },
		func(_ *call, x []num) num { return maxNum(x[0], x[0].neg()) }),
	unaryInt("Neg", floats|signed, func(a float64) float64 { return -a }, func(a int64) int64 { return -a }, nil,
		func(_ *call, x []num) num { return x[0].neg() }),
	unaryInt("Sign", numeric, signFloat, func(a int64) int64 { return int64(signFloat(float64(a))) },
		func(a uint64) uint64 { return min(a, 1) }, nil),
	whole("Floor", math.Floor),
	whole("Ceil", math.Ceil),
	whole("Round", math.RoundToEven),
	unary("Sqrt", math.Sqrt),
	unary("Exp", math.Exp),
	unary("Log", math.Log),
	unary("Reciprocal", func(a float64) float64 { return 1 / a }),
	unary("Erf", math.Erf),
	unary("Sin", math.Sin), unary("Cos", math.Cos), unary("Tan", math.Tan),
	unary("Asin", math.Asin), unary("Acos", math.Acos), unary("Atan", math.Atan),
	unary("Sinh", math.Sinh), unary("Cosh", math.Cosh),
	unary("Asinh", math.Asinh), unary("Acosh", math.Acosh), unary("Atanh", math.Atanh),
}

func plus[T wideNum](a, b T) T  { return a + b }
func minus[T wideNum](a, b T) T { return a - b }
func times[T wideNum](a, b T) T { return a * b }

// maxOf and minOf hand NaN on, as NumPy and ONNX Runtime do.
func maxOf[T wideNum](a, b T) T { return max(a, b) }
func minOf[T wideNum](a, b T) T { return min(a, b) }

func signFloat(a float64) float64 {
	switch {
	case a > 0:
		return 1
	case a < 0:
		return -1
	}
	return a
}

func arith(name string, since int, b binary, content func(*call, []num) num) *Op {
	return &Op{
		Name: name, Since: since, In: []Param{in("A", "T", numeric), in("B", "T", numeric)}, Out: []Param{in("C", "T", numeric)},
		infer: inferBroadcast, fold: true, content: elemwise(content), eval: b.eval,
	}
}

func nary(name string, t TypeSet, b binary, content func(a, b num) num) *Op {
	return &Op{
		Name: name, Since: 13, In: []Param{many("data_0", "T", t)}, Out: []Param{in("result", "T", t)},
		infer: inferBroadcast, fold: true, eval: b.eval,
		content: elemwise(func(_ *call, x []num) num {
			acc := x[0]
			for _, v := range x[1:] {
				acc = content(acc, v)
			}
			return acc
		}),
	}
}

// unary is an operator on floats alone; its opset is the first with bfloat16.
func unary(name string, f func(float64) float64) *Op {
	return &Op{
		Name: name, Since: 13, In: []Param{in("X", "T", floats)}, Out: []Param{in("Y", "T", floats)},
		infer: inferSame, fold: true, eval: mapFloats(f),
	}
}

// whole is a unary operator that leaves whole numbers alone.
func whole(name string, f func(float64) float64) *Op {
	o := unary(name, f)
	o.content = elemwise(func(_ *call, x []num) num { return x[0] })
	return o
}

func unaryInt(name string, t TypeSet, f func(float64) float64, i func(int64) int64, u func(uint64) uint64, content func(*call, []num) num) *Op {
	o := &Op{
		Name: name, Since: 13, In: []Param{in("X", "T", t)}, Out: []Param{in("Y", "T", t)}, infer: inferSame, fold: true,
		eval: func(c *call) error {
			switch e := c.in[0].elem; {
			case e.IsFloat():
				return mapped(c, f)
			case isUnsigned(e):
				return mapped(c, u)
			}
			return mapped(c, i)
		},
	}
	if content != nil {
		o.content = elemwise(content)
	}
	return o
}

func mapFloats(f func(float64) float64) func(*call) error {
	return func(c *call) error { return mapped(c, f) }
}

func mapped[T wideNum](c *call, f func(T) T) error {
	v := unpack[T](c.t(0))
	for i := range v {
		v[i] = f(v[i])
	}
	return put(c, 0, v)
}

func contentDiv(c *call, x []num) num {
	if c.out[0].elem.IsFloat() {
		q, _ := x[0].divExact(x[1])
		return q
	}
	return x[0].quo(x[1])
}

func evalDiv(c *call) error {
	if e := c.in[0].elem; e.IsFloat() {
		return combine(c, func(a, b float64) float64 { return a / b })
	} else if isUnsigned(e) {
		return divided(c, func(a, b uint64) uint64 { return a / b })
	}
	return divided(c, func(a, b int64) int64 { return a / b })
}

// divided refuses a zero divisor, which integers have no result for.
func divided[T int64 | uint64](c *call, f func(a, b T) T) error {
	if product(c.sizes(0)) > 0 {
		for _, v := range unpack[T](c.t(1)) {
			if v == 0 {
				return c.Errorf("integer division by zero")
			}
		}
	}
	return combine(c, f)
}

func contentMod(c *call, x []num) num {
	a, b := x[0], x[1]
	if a.isConst() && b.isConst() && b.c != 0 {
		if c.intAttr("fmod") != 0 {
			return known(a.c % b.c)
		}
		return known(floorMod(a.c, b.c))
	}
	if lo, ok := b.lower(); ok && lo > 0 {
		return a.mod(b)
	}
	return unknown
}

// floorMod has the sign of the divisor.
func floorMod(a, b int64) int64 {
	r := a % b
	if r != 0 && (r < 0) != (b < 0) {
		r += b
	}
	return r
}

// floorModFloat is floorMod on floats; a zero result takes the sign of b.
func floorModFloat(a, b float64) float64 {
	r := math.Mod(a, b)
	switch {
	case r == 0:
		return math.Copysign(0, b)
	case (r < 0) != (b < 0):
		return r + b
	}
	return r
}

func evalMod(c *call) error {
	e := c.in[0].elem
	switch {
	case e.IsFloat() && c.intAttr("fmod") != 0:
		return combine(c, math.Mod)
	case e.IsFloat():
		return combine(c, floorModFloat)
	case isUnsigned(e):
		return divided(c, func(a, b uint64) uint64 { return a % b })
	case c.intAttr("fmod") != 0:
		return divided(c, func(a, b int64) int64 { return a % b })
	}
	return divided(c, floorMod)
}

func evalPow(c *call) error {
	x, y := c.in[0].elem, c.in[1].elem
	if x.IsFloat() || y.IsFloat() {
		v := combined(c, math.Pow)
		if x.IsFloat() {
			return put(c, 0, v)
		}
		for i := range v {
			v[i] = saturate(x, math.Trunc(v[i]))
		}
		if x == ir.Int64 {
			return castWide(c, v)
		}
		return put(c, 0, v)
	}
	return combine(c, powInt)
}

// powInt wraps on overflow; a negative exponent gives the truncated quotient.
func powInt(a, b int64) int64 {
	if b < 0 {
		switch a {
		case 1:
			return 1
		case -1:
			return 1 - 2*(b&1)
		}
		return 0
	}
	r := int64(1)
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			r *= a
		}
		a *= a
	}
	return r
}

func evalMean(c *call) error {
	v := combined(c, plus[float64])
	for i := range v {
		v[i] /= float64(len(c.in))
	}
	return put(c, 0, v)
}

func inferClip(c *call) error {
	for i := 1; i <= 2; i++ {
		if err := c.single(i); err != nil {
			return err
		}
	}
	return inferSame(c)
}

// evalClip is min(max, max(min, x)): where min exceeds max, max wins.
func evalClip(c *call) error {
	switch e := c.in[0].elem; {
	case e.IsFloat():
		return clipped(c, maxOf[float64], minOf[float64])
	case isUnsigned(e):
		return clipped(c, maxOf[uint64], minOf[uint64])
	}
	return clipped(c, maxOf[int64], minOf[int64])
}

func clipped[T wideNum](c *call, hi, lo func(a, b T) T) error {
	v := unpack[T](c.t(0))
	if c.given(1) {
		b := unpack[T](c.t(1))[0]
		for i := range v {
			v[i] = hi(v[i], b)
		}
	}
	if c.given(2) {
		b := unpack[T](c.t(2))[0]
		for i := range v {
			v[i] = lo(v[i], b)
		}
	}
	return put(c, 0, v)
}
