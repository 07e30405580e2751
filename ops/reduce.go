package ops

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// Reductions over axes (input axes, newest form).
var reduceOps = []*Op{
	reduction("ReduceSum", 13, wide, reducer{fold: plus[float64], i: plus[int64], u: plus[uint64]}, num.add, 0),
	reduction("ReduceProd", 18, wide, reducer{start: 1, fold: times[float64], i: times[int64], u: times[uint64]}, num.mul, 1),
	reduction("ReduceMax", 20, wide|bytes8|boolean, reducer{start: math.Inf(-1), istart: math.MinInt64, fold: maxOf[float64], i: maxOf[int64], u: maxOf[uint64], bounds: true}, maxNum, -1),
	reduction("ReduceMin", 20, wide|bytes8|boolean, reducer{start: math.Inf(1), istart: math.MaxInt64, ustart: math.MaxUint64, fold: minOf[float64], i: minOf[int64], u: minOf[uint64], bounds: true}, minNum, -1),
	reduction("ReduceMean", 18, wide, reducer{fold: plus[float64], i: plus[int64], u: plus[uint64], mean: true}, nil, 0),
	reduction("ReduceSumSquare", 18, wide, reducer{pre: square, fold: plus[float64], i: addSquare[int64], u: addSquare[uint64]}, nil, 0),
	reduction("ReduceL1", 18, wide, reducer{pre: math.Abs, fold: plus[float64], i: func(a, b int64) int64 { return a + max(b, -b) }, u: plus[uint64]}, nil, 0),
	reduction("ReduceL2", 18, wide, reducer{pre: square, fold: plus[float64], post: math.Sqrt}, nil, 0),
	reduction("ReduceLogSum", 18, wide, reducer{fold: plus[float64], post: math.Log}, nil, 0),
	reduction("ReduceLogSumExp", 18, wide, reducer{logSumExp: true}, nil, 0),
}

// reducer says how one output element comes from its inputs. Integer types use
// i or u where given, otherwise they go through float64.
type reducer struct {
	start     float64
	istart    int64
	ustart    uint64
	pre       func(float64) float64
	fold      func(a, b float64) float64
	i         func(a, b int64) int64
	u         func(a, b uint64) uint64
	post      func(float64) float64
	mean      bool
	bounds    bool // the result of an empty integer reduction is the type's bound
	logSumExp bool
}

func square(a float64) float64      { return a * a }
func addSquare[T wideNum](a, b T) T { return a + b*b }

func reduction(name string, since int, t TypeSet, r reducer, content func(a, b num) num, empty int64) *Op {
	if r.istart == 0 && r.start == 1 {
		r.istart, r.ustart = 1, 1
	}
	o := &Op{
		Name: name, Since: since, In: []Param{in("data", "T", t), opt("axes", "", i64)}, Out: []Param{in("reduced", "T", t)},
		Attrs: []Attr{attrInt("keepdims", 1), attrInt("noop_with_empty_axes", 0)},
		infer: inferReduce, fold: true, eval: r.eval,
	}
	if content != nil {
		o.content = func(c *call) { contentReduce(c, content, empty) }
	}
	return o
}

// reduceAxes gives a mask of the axes to reduce; nil, false when they are not
// known. noop means that nothing is reduced.
func reduceAxes(c *call) (mask []bool, ok bool, err error) {
	rank := len(c.in[0].dims)
	mask = make([]bool, rank)
	if err := c.vector(1); err != nil {
		return nil, false, err
	}
	var list []num
	if c.given(1) {
		if list, ok = c.constants(1); !ok {
			return nil, false, nil
		}
	}
	if len(list) == 0 {
		for i := range mask {
			mask[i] = c.intAttr("noop_with_empty_axes") == 0
		}
		return mask, true, nil
	}
	axes, err := c.axes(list, rank)
	if err != nil {
		return nil, false, err
	}
	for _, a := range axes {
		mask[a] = true
	}
	return mask, true, nil
}

func inferReduce(c *call) error {
	f := &c.in[0]
	if !f.ranked {
		return nil
	}
	keep := c.intAttr("keepdims") != 0
	mask, ok, err := reduceAxes(c)
	if err != nil {
		return err
	}
	if !ok {
		if keep {
			c.shape(0, make([]num, len(f.dims))...)
		} else if n, ok := c.in[1].size(); ok && n > 0 && n <= int64(len(f.dims)) {
			c.shape(0, make([]num, len(f.dims)-int(n))...)
		}
		return nil
	}
	c.reducedShape(0, f.dims, mask, keep)
	return nil
}

func (c *call) reducedShape(k int, dims []num, mask []bool, keep bool) {
	out := []num{}
	for i, d := range dims {
		switch {
		case !mask[i]:
			out = append(out, d)
		case keep:
			out = append(out, known(1))
		}
	}
	c.shape(k, out...)
}

// groups calls f once for each output element with the flat input offsets it
// comes from, in row-major order of both.
func groups(shape []int, mask []bool, f func(o int, at []int)) {
	st := strides(shape)
	var outShape, outStep, inShape, inStep []int
	for i, d := range shape {
		if mask[i] {
			inShape, inStep = append(inShape, d), append(inStep, st[i])
		} else {
			outShape, outStep = append(outShape, d), append(outStep, st[i])
		}
	}
	rel := make([]int, product(inShape))
	w := newOdometer(inShape, inStep)
	for k := range rel {
		rel[k] = w.at[0]
		w.next()
	}
	at := make([]int, len(rel))
	w = newOdometer(outShape, outStep)
	for o := range product(outShape) {
		for k, r := range rel {
			at[k] = w.at[0] + r
		}
		f(o, at)
		w.next()
	}
}

func contentReduce(c *call, f func(a, b num) num, empty int64) {
	v := c.in[0].content()
	if v == nil {
		return
	}
	mask, ok, err := reduceAxes(c)
	if err != nil || !ok {
		return
	}
	n, _ := c.out[0].size()
	out := make([]num, n)
	groups(sizesOf(c.in[0].dims), mask, func(o int, at []int) {
		if len(at) == 0 {
			if empty >= 0 {
				out[o] = known(empty)
			}
			return
		}
		acc := v[at[0]]
		for _, i := range at[1:] {
			acc = f(acc, v[i])
		}
		out[o] = acc
	})
	c.out[0].vals = out
}

func (r reducer) eval(c *call) error {
	mask, _, err := reduceAxes(c)
	if err != nil {
		return err
	}
	e := c.in[0].elem
	shape := c.t(0).Shape
	if e.IsFloat() || r.i == nil {
		return r.evalFloat(c, shape, mask)
	}
	if isUnsigned(e) {
		start := r.ustart
		if r.bounds && e == ir.Bool {
			start = min(start, 1)
		}
		return reduceInts(c, shape, mask, start, r.u, r.mean)
	}
	start := r.istart
	if lo, hi := intRange(e); r.bounds {
		start = min(max(start, lo), hi)
	}
	return reduceInts(c, shape, mask, start, r.i, r.mean)
}

func (r reducer) evalFloat(c *call, shape []int, mask []bool) error {
	v := floatsOf(c.t(0))
	out := make([]float64, product(c.sizes(0)))
	groups(shape, mask, func(o int, at []int) {
		if r.logSumExp {
			out[o] = logSumExp(v, at)
			return
		}
		acc := r.start
		for _, i := range at {
			x := v[i]
			if r.pre != nil {
				x = r.pre(x)
			}
			acc = r.fold(acc, x)
		}
		if r.mean {
			acc /= float64(len(at))
		}
		if r.post != nil {
			acc = r.post(acc)
		}
		out[o] = acc
	})
	return put(c, 0, out)
}

func reduceInts[T int64 | uint64](c *call, shape []int, mask []bool, start T, f func(a, b T) T, mean bool) error {
	v := unpack[T](c.t(0))
	out := make([]T, product(c.sizes(0)))
	var empty bool
	groups(shape, mask, func(o int, at []int) {
		acc := start
		for _, i := range at {
			acc = f(acc, v[i])
		}
		if mean && len(at) == 0 {
			empty = true
		} else if mean {
			acc /= T(len(at))
		}
		out[o] = acc
	})
	if empty {
		return c.Errorf("the mean of no integers is not defined")
	}
	return put(c, 0, out)
}

func logSumExp(v []float64, at []int) float64 {
	m := math.Inf(-1)
	for _, i := range at {
		m = max(m, v[i])
	}
	if math.IsInf(m, 0) || m != m {
		return m
	}
	s := 0.0
	for _, i := range at {
		s += math.Exp(v[i] - m)
	}
	return m + math.Log(s)
}
