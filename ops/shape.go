package ops

import (
	"slices"
)

// Operators that look at shapes or give the same elements another shape.
var shapeOps = []*Op{
	{
		Name: "Shape", Since: 25, In: []Param{in("data", "", anyType)}, Out: []Param{in("shape", "", i64)},
		Attrs: []Attr{attrInt("start", 0), attrOpt("end", Int)},
		infer: inferShape, content: contentShape,
		eval: func(c *call) error {
			lo, hi := shapeRange(c, len(c.t(0).Shape))
			return put(c, 0, intsFrom(c.t(0).Shape[lo:hi]))
		},
	},
	{
		Name: "Size", Since: 25, In: []Param{in("data", "", anyType)}, Out: []Param{in("size", "", i64)},
		infer: func(c *call) error { c.shape(0); return nil },
		content: func(c *call) {
			if f := &c.in[0]; f.ranked {
				c.out[0].vals = []num{prod(f.dims)}
			}
		},
		eval: func(c *call) error { return put(c, 0, []int64{int64(c.t(0).Len())}) },
	},
	{
		Name: "Identity", Since: 25, In: []Param{in("input", "V", anyType)}, Out: []Param{in("output", "V", anyType)},
		infer: inferSame, fold: true, content: sameContent,
		eval: func(c *call) error { c.res[0] = c.t(0); return nil },
	},
	{
		Name: "Reshape", Since: 25, In: []Param{in("data", "T", anyType), in("shape", "", i64)}, Out: []Param{in("reshaped", "T", anyType)},
		Attrs: []Attr{attrInt("allowzero", 0)},
		infer: inferReshape, fold: true, content: moves(0), eval: evalReshaped,
	},
	{
		Name: "Flatten", Since: 25, In: []Param{in("input", "T", anyType)}, Out: []Param{in("output", "T", anyType)},
		Attrs: []Attr{attrInt("axis", 1)},
		infer: inferFlatten, fold: true, content: moves(0), eval: evalReshaped,
	},
	{
		Name: "Squeeze", Since: 25, In: []Param{in("data", "T", anyType), opt("axes", "", i64)}, Out: []Param{in("squeezed", "T", anyType)},
		infer: inferSqueeze, fold: true, content: moves(0), eval: evalReshaped,
	},
	{
		Name: "Unsqueeze", Since: 25, In: []Param{in("data", "T", anyType), in("axes", "", i64)}, Out: []Param{in("expanded", "T", anyType)},
		infer: inferUnsqueeze, fold: true, content: moves(0), eval: evalReshaped,
	},
	{
		Name: "Transpose", Since: 25, In: []Param{in("data", "T", anyType)}, Out: []Param{in("transposed", "T", anyType)},
		Attrs: []Attr{attrOpt("perm", Ints)},
		infer: inferTranspose, fold: true, content: moves(0), eval: evalTranspose,
	},
	{
		Name: "Expand", Since: 13, In: []Param{in("input", "T", classic), in("shape", "", i64)}, Out: []Param{in("output", "T", classic)},
		infer: inferExpand, fold: true, content: moves(0),
		eval: func(c *call) error { return c.walk(0, spread(c.t(0).Shape, c.sizes(0)), 0) },
	},
}

func intsFrom(s []int) []int64 {
	out := make([]int64, len(s))
	for i, v := range s {
		out[i] = int64(v)
	}
	return out
}

func prod(dims []num) num {
	n := known(1)
	for _, d := range dims {
		n = n.mul(d)
	}
	return n
}

// walk stores result 0 by reading input i along the given strides of the
// result's axes, from offset base.
func (c *call) walk(i int, step []int, base int) error {
	w := newOdometer(c.sizes(0), step)
	return c.take(0, i, func(int) int {
		at := base + w.at[0]
		w.next()
		return at
	})
}

func shapeRange(c *call, rank int) (lo, hi int) {
	clamp := func(a int) int {
		if a < 0 {
			a += rank
		}
		return max(0, min(a, rank))
	}
	lo, hi = clamp(c.intAttr("start")), rank
	if c.Attrs.Has("end") {
		hi = clamp(c.intAttr("end"))
	}
	return lo, max(lo, hi)
}

func inferShape(c *call) error {
	c.shape(0, unknown)
	if f := &c.in[0]; f.ranked {
		lo, hi := shapeRange(c, len(f.dims))
		c.shape(0, known(int64(hi-lo)))
	}
	return nil
}

func contentShape(c *call) {
	if f := &c.in[0]; f.ranked {
		lo, hi := shapeRange(c, len(f.dims))
		c.out[0].vals = slices.Clone(f.dims[lo:hi])
		if lo == hi {
			c.out[0].vals = []num{}
		}
	}
}

// permutation reads attribute perm; the default reverses the axes.
func permutation(c *call, rank int) ([]int, error) {
	p := c.Attrs.Ints("perm")
	if !c.Attrs.Has("perm") {
		for i := rank - 1; i >= 0; i-- {
			p = append(p, i)
		}
		return p, nil
	}
	seen := 0
	for _, a := range p {
		if a < 0 || a >= len(p) || len(p) > MaxRank || seen>>a&1 != 0 {
			return nil, c.Errorf("perm %v is not a permutation", p)
		}
		seen |= 1 << a
	}
	if len(p) != rank {
		return nil, c.Errorf("perm %v does not fit rank %d", p, rank)
	}
	return p, nil
}

func inferTranspose(c *call) error {
	f := &c.in[0]
	if !f.ranked {
		if p := c.Attrs.Ints("perm"); p != nil {
			if _, err := permutation(c, len(p)); err != nil {
				return err
			}
			c.shape(0, make([]num, len(p))...)
		}
		return nil
	}
	p, err := permutation(c, len(f.dims))
	if err != nil {
		return err
	}
	out := make([]num, len(p))
	for i, a := range p {
		out[i] = f.dims[a]
	}
	c.shape(0, out...)
	return nil
}

func evalTranspose(c *call) error {
	p, err := permutation(c, len(c.t(0).Shape))
	if err != nil {
		return err
	}
	st := strides(c.t(0).Shape)
	step := make([]int, len(p))
	for i, a := range p {
		step[i] = st[a]
	}
	return c.walk(0, step, 0)
}

func inferExpand(c *call) error {
	if err := c.vector(1); err != nil {
		return err
	}
	f, target := &c.in[0], c.in[1].content()
	if !f.ranked {
		return nil
	}
	if target == nil {
		if n, ok := c.in[1].size(); ok && n <= MaxRank {
			c.shape(0, make([]num, max(int(n), len(f.dims)))...)
		}
		return nil
	}
	for _, t := range target {
		if t.isConst() && t.c < 0 {
			return c.Errorf("target shape %s has a negative dimension", numsText(target))
		}
	}
	out, ok := broadcastShapes(f.dims, target)
	if !ok {
		return c.Errorf("shape %s does not expand to %s", numsText(f.dims), numsText(target))
	}
	c.shape(0, out...)
	return nil
}
