package ops

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// Comparison, logic and selection.
var compareOps = []*Op{
	comparison("Equal", 19, classic, func(s int) bool { return s == 0 }),
	comparison("Less", 13, numeric, func(s int) bool { return s == -1 }),
	comparison("LessOrEqual", 16, numeric, func(s int) bool { return s == -1 || s == 0 }),
	comparison("Greater", 13, numeric, func(s int) bool { return s == 1 }),
	comparison("GreaterOrEqual", 16, numeric, func(s int) bool { return s == 1 || s == 0 }),
	logic("And", func(a, b bool) bool { return a && b }),
	logic("Or", func(a, b bool) bool { return a || b }),
	logic("Xor", func(a, b bool) bool { return a != b }),
	{
		Name: "Not", Since: 1, In: []Param{in("X", "", boolean)}, Out: []Param{in("Y", "", boolean)},
		infer: inferSame, fold: true, eval: func(c *call) error { return mapped(c, func(a uint64) uint64 { return 1 - a }) },
		content: elemwise(func(_ *call, x []num) num { return known(1).sub(x[0]) }),
	},
	{
		Name: "Where", Since: 16, In: []Param{in("condition", "", boolean), in("X", "T", classic), in("Y", "T", classic)},
		Out: []Param{in("output", "T", classic)}, infer: inferBroadcast, fold: true, eval: evalWhere,
		content: elemwise(func(_ *call, x []num) num {
			switch {
			case x[0].is(1) || x[1].same(x[2]):
				return x[1]
			case x[0].is(0):
				return x[2]
			}
			return unknown
		}),
	},
	{
		Name: "IsNaN", Since: 20, In: []Param{in("X", "", floats)}, Out: []Param{in("Y", "", boolean)},
		infer: inferSame, fold: true, eval: func(c *call) error { return test(c, math.IsNaN) },
	},
	{
		Name: "IsInf", Since: 20, In: []Param{in("X", "", floats)}, Out: []Param{in("Y", "", boolean)},
		Attrs: []Attr{attrInt("detect_negative", 1), attrInt("detect_positive", 1)},
		infer: inferSame, fold: true,
		eval: func(c *call) error {
			neg, pos := c.intAttr("detect_negative") != 0, c.intAttr("detect_positive") != 0
			return test(c, func(a float64) bool { return pos && math.IsInf(a, 1) || neg && math.IsInf(a, -1) })
		},
	},
}

func test(c *call, f func(float64) bool) error {
	v := floatsOf(c.t(0))
	out := make([]uint64, len(v))
	for i := range v {
		if f(v[i]) {
			out[i] = 1
		}
	}
	return put(c, 0, out)
}

// unordered is the result of comparing with NaN: no test holds.
const unordered = 2

func comparison(name string, since int, t TypeSet, holds func(s int) bool) *Op {
	return &Op{
		Name: name, Since: since, In: []Param{in("A", "T", t), in("B", "T", t)}, Out: []Param{in("C", "", boolean)},
		infer: inferBroadcast, fold: true,
		eval: func(c *call) error { return evalCompare(c, holds) },
		content: elemwise(func(_ *call, x []num) num {
			if s, ok := x[0].cmp(x[1]); ok {
				return truth(holds(s))
			}
			// the order may be certain although equality is not excluded
			lo, known := x[0].sub(x[1]).lower()
			if known && lo >= 0 && holds(0) == holds(1) {
				return truth(holds(1))
			}
			lo, known = x[1].sub(x[0]).lower()
			if known && lo >= 0 && holds(0) == holds(-1) {
				return truth(holds(-1))
			}
			return unknown
		}),
	}
}

func truth(b bool) num {
	if b {
		return known(1)
	}
	return known(0)
}

func evalCompare(c *call, holds func(int) bool) error {
	switch e := c.in[0].elem; {
	case e == ir.String:
		return compareAll(c, ir.Data[string](c.t(0)), ir.Data[string](c.t(1)), holds)
	case e.IsFloat():
		return compareAll(c, floatsOf(c.t(0)), floatsOf(c.t(1)), holds)
	case isUnsigned(e):
		return compareAll(c, unpack[uint64](c.t(0)), unpack[uint64](c.t(1)), holds)
	}
	return compareAll(c, intsOf(c.t(0)), intsOf(c.t(1)), holds)
}

func compareAll[T wideNum | string](c *call, a, b []T, holds func(int) bool) error {
	shape := c.sizes(0)
	out := make([]uint64, product(shape))
	w := newOdometer(shape, spread(c.t(0).Shape, shape), spread(c.t(1).Shape, shape))
	for o := range out {
		x, y := a[w.at[0]], b[w.at[1]]
		s := unordered
		switch {
		case x < y:
			s = -1
		case x == y:
			s = 0
		case x > y:
			s = 1
		}
		if holds(s) {
			out[o] = 1
		}
		w.next()
	}
	return put(c, 0, out)
}

func logic(name string, f func(a, b bool) bool) *Op {
	u := func(a, b uint64) uint64 {
		if f(a != 0, b != 0) {
			return 1
		}
		return 0
	}
	return &Op{
		Name: name, Since: 7, In: []Param{in("A", "", boolean), in("B", "", boolean)}, Out: []Param{in("C", "", boolean)},
		infer: inferBroadcast, fold: true, eval: binary{u: u}.eval,
		content: elemwise(func(_ *call, x []num) num {
			if x[0].isConst() && x[1].isConst() {
				return known(int64(u(uint64(x[0].c), uint64(x[1].c))))
			}
			return unknown
		}),
	}
}

func evalWhere(c *call) error {
	shape := c.sizes(0)
	cond := ir.Data[bool](c.t(0))
	w := newOdometer(shape, spread(c.t(0).Shape, shape), spread(c.t(1).Shape, shape), spread(c.t(2).Shape, shape))
	return c.moveTo(0, []*ir.Tensor{c.t(1), c.t(2)}, func(int) (int, int) {
		s, i := 1, w.at[2]
		if cond[w.at[0]] {
			s, i = 0, w.at[1]
		}
		w.next()
		return s, i
	})
}
