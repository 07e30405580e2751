package ops

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Positions of greatest and least elements.
var argOps = []*Op{
	argOp("ArgMax", func(a, b float64) bool { return a > b }, func(a, b int64) bool { return a > b }),
	argOp("ArgMin", func(a, b float64) bool { return a < b }, func(a, b int64) bool { return a < b }),
	{
		Name: "TopK", Since: 24, In: []Param{in("X", "T", numeric), in("K", "", i64)}, Out: []Param{in("Values", "T", numeric), in("Indices", "", i64)},
		Attrs: []Attr{attrInt("axis", -1), attrInt("largest", 1), attrInt("sorted", 1)},
		infer: inferTopK, eval: evalTopK,
	},
}

func argOp(name string, f func(a, b float64) bool, i func(a, b int64) bool) *Op {
	return &Op{
		Name: name, Since: 13, In: []Param{in("data", "T", numeric)}, Out: []Param{in("reduced", "", i64)},
		Attrs: []Attr{attrInt("axis", 0), attrInt("keepdims", 1), attrInt("select_last_index", 0)},
		infer: inferArg, fold: true,
		eval: func(c *call) error {
			e := c.in[0].elem
			if e.IsFloat() {
				return evalArg(c, floatsOf(c.t(0)), f)
			}
			v := intsOf(c.t(0))
			if e == ir.Uint64 {
				flipTop(v)
			}
			return evalArg(c, v, i)
		},
	}
}

// flipTop maps uint64 bits to int64 so that their order is kept.
func flipTop(v []int64) {
	for i := range v {
		v[i] ^= -1 << 63
	}
}

func axisMask(axis, rank int) []bool {
	m := make([]bool, rank)
	m[axis] = true
	return m
}

func inferArg(c *call) error {
	f := &c.in[0]
	if !f.ranked {
		return nil
	}
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	if f.dims[axis].is(0) {
		return c.Errorf("axis %d has no elements", axis)
	}
	c.reducedShape(0, f.dims, axisMask(axis, len(f.dims)), c.intAttr("keepdims") != 0)
	return nil
}

// evalArg takes the first NaN as the extreme, as NumPy does.
func evalArg[T float64 | int64](c *call, v []T, better func(a, b T) bool) error {
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	last := c.intAttr("select_last_index") != 0
	out := make([]int64, product(c.sizes(0)))
	groups(c.t(0).Shape, axisMask(axis, len(c.t(0).Shape)), func(o int, at []int) {
		best := 0
		for k, i := range at {
			x, y := v[i], v[at[best]]
			if better(x, y) || x != x && y == y || last && x == y {
				best = k
			}
		}
		out[o] = int64(best)
	})
	return put(c, 0, out)
}

func inferTopK(c *call) error {
	if err := c.single(1); err != nil {
		return err
	}
	f := &c.in[0]
	if !f.ranked {
		return nil
	}
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	k := unknown
	if v := c.in[1].content(); v != nil {
		k = v[0]
	}
	if k.isConst() && (k.c < 0 || f.dims[axis].isConst() && k.c > f.dims[axis].c) {
		return c.Errorf("K is %s, axis %d has %s elements", k, axis, f.dims[axis])
	}
	out := slices.Clone(f.dims)
	out[axis] = k
	for i := range c.out {
		c.shape(i, out...)
	}
	return nil
}

// evalTopK orders by value, then by index; the order is kept even where sorted
// is 0.
func evalTopK(c *call) error {
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	x := c.t(0)
	v := intsOf(x)
	if x.Elem == ir.Uint64 {
		flipTop(v)
	}
	f := []float64(nil)
	if x.Elem.IsFloat() {
		f = floatsOf(x)
	}
	order := func(a, b int) int {
		s := 0
		if f != nil {
			s = cmpFloat(f[a], f[b])
		} else if v[a] != v[b] {
			s = 1
			if v[a] < v[b] {
				s = -1
			}
		}
		if c.intAttr("largest") != 0 {
			s = -s
		}
		if s == 0 {
			s = a - b
		}
		return s
	}
	shape := c.sizes(0)
	k, inner, n := shape[axis], product(shape[axis+1:]), x.Shape[axis]
	from := make([]int, product(shape))
	index := make([]int64, len(from))
	groups(x.Shape, axisMask(axis, len(shape)), func(o int, at []int) {
		first := 0
		if len(at) > 0 {
			first = at[0]
		}
		sorted := slices.Clone(at)
		slices.SortFunc(sorted, order)
		for j := range k {
			dst := (o/inner*k+j)*inner + o%inner
			from[dst], index[dst] = sorted[j], int64((sorted[j]-first)/inner%max(n, 1))
		}
	})
	if err := put(c, 1, index); err != nil {
		return err
	}
	return c.take(0, 0, func(o int) int { return from[o] })
}

// cmpFloat puts NaN above every number.
func cmpFloat(a, b float64) int {
	switch {
	case a < b || a == a && b != b:
		return -1
	case a > b || a != a && b == b:
		return 1
	}
	return 0
}
