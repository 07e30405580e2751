package ops

import (
	"math"
	"strconv"

	"github.com/qvitc/qvitc/ir"
)

// Conversion between element types.
var castOps = []*Op{
	{
		Name: "Cast", Since: 25, In: []Param{in("input", "", anyType)}, Out: []Param{{Name: "output", Types: anyType}},
		Attrs: []Attr{attrReq("to", Int), attrInt("saturate", 1), attrStr("round_mode", "up", "down", "nearest")},
		infer: inferCast, fold: true, content: elemwise(contentCast), eval: evalCast,
	},
	{
		Name: "CastLike", Since: 25, In: []Param{in("input", "", anyType), in("target_type", "T", anyType)}, Out: []Param{in("output", "T", anyType)},
		Attrs: []Attr{attrInt("saturate", 1), attrStr("round_mode", "up", "down", "nearest")},
		infer: inferSame, fold: true, eval: evalCast,
	},
}

func inferCast(c *call) error {
	to := ir.Elem(c.intAttr("to"))
	if !to.Supported() {
		return c.Errorf("cannot cast to element type %d", to)
	}
	c.out[0].elem = to
	return inferSame(c)
}

func contentCast(c *call, x []num) num {
	e := c.out[0].elem
	switch {
	case !x[0].isConst():
		if e == ir.Bool || e.Bits() < 32 && !e.IsFloat() {
			return unknown // may not fit
		}
	case e == ir.Bool:
		return truth(x[0].c != 0)
	}
	return x[0]
}

// evalCast rounds floats half to even, truncates a float towards zero and
// saturates it when it goes to an integer of 8 bits or more (NaN gives 0), and
// keeps the low bits of integers and of floats that go to 4 or 2 bits, as the
// ONNX reference does. Strings hold decimal numbers.
func evalCast(c *call) error {
	x, to := c.t(0), c.out[0].elem
	from := x.Elem
	switch {
	case from == to:
		c.res[0] = x
		return nil
	case from == ir.String:
		return castFromStrings(c, ir.Data[string](x))
	case to == ir.String:
		out := make([]string, x.Len())
		for i := range out {
			out[i] = castToString(x, i)
		}
		t, err := ir.Wrap(ir.String, x.Shape, out)
		c.res[0] = t
		return err
	case from.IsFloat():
		v := floatsOf(x)
		if !to.IsFloat() && to != ir.Bool {
			for i := range v {
				v[i] = math.Trunc(v[i])
				if to.Bits() >= 8 {
					v[i] = saturate(to, v[i])
				} else {
					v[i] = saturate(ir.Int32, v[i])
				}
			}
			if to == ir.Int64 || to == ir.Uint64 {
				return castWide(c, v)
			}
		}
		return put(c, 0, v)
	case isUnsigned(from):
		return put(c, 0, unpack[uint64](x))
	}
	return put(c, 0, intsOf(x))
}

// castWide stores whole floats in 64-bit integers; the largest float64 below
// the type's end stands for the end itself.
func castWide(c *call, v []float64) error {
	if c.out[0].elem == ir.Uint64 {
		out := make([]uint64, len(v))
		for i, x := range v {
			if out[i] = uint64(x); x >= 1<<64 {
				out[i] = math.MaxUint64
			}
		}
		return put(c, 0, out)
	}
	out := make([]int64, len(v))
	for i, x := range v {
		if out[i] = int64(x); x >= 1<<63 {
			out[i] = math.MaxInt64
		}
	}
	return put(c, 0, out)
}

// saturate brings a whole float into the range of integer type e; NaN becomes 0.
func saturate(e ir.Elem, v float64) float64 {
	if v != v {
		return 0
	}
	switch e {
	case ir.Int64:
		return min(max(v, -(1<<63)), 1<<63)
	case ir.Uint64:
		return min(max(v, 0), 1<<64)
	}
	lo, hi := intRange(e)
	return min(max(v, float64(lo)), float64(hi))
}

func castToString(t *ir.Tensor, i int) string {
	switch e := t.Elem; {
	case e == ir.Float64:
		return strconv.FormatFloat(t.Float(i), 'g', -1, 64)
	case e.IsFloat():
		return strconv.FormatFloat(t.Float(i), 'g', -1, 32)
	case e == ir.Uint64:
		return strconv.FormatUint(uint64(t.Int(i)), 10)
	}
	return strconv.FormatInt(t.Int(i), 10)
}

func castFromStrings(c *call, s []string) error {
	v := make([]float64, len(s))
	to := c.out[0].elem
	if to.IsInt() && to != ir.Uint64 {
		n := make([]int64, len(s))
		for i := range s {
			var err error
			if n[i], err = strconv.ParseInt(s[i], 10, 64); err != nil {
				return c.Errorf("cannot cast the string %s to %v", ir.Quote(s[i]), to)
			}
		}
		return put(c, 0, n)
	}
	for i := range s {
		var err error
		if v[i], err = strconv.ParseFloat(s[i], 64); err != nil && !math.IsInf(v[i], 0) {
			return c.Errorf("cannot cast the string %s to %v", ir.Quote(s[i]), to)
		}
	}
	return put(c, 0, v)
}
