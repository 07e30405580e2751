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
		infer: inferSame, fold: true, content: moves(0),
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

// evalReshaped shares the data under the inferred shape.
func evalReshaped(c *call) error {
	t, err := c.t(0).Reshaped(c.sizes(0)...)
	if err != nil {
		return c.Errorf("%v", err)
	}
	c.res[0] = t
	return nil
}

func inferReshape(c *call) error {
	if err := c.vector(1); err != nil {
		return err
	}
	x, target := &c.in[0], c.in[1].content()
	if target == nil {
		if s := &c.in[1]; s.ranked && len(s.dims) == 1 && s.dims[0].isConst() {
			if s.dims[0].c > MaxRank {
				return c.Errorf("the result has rank %d; the limit is %d", s.dims[0].c, MaxRank)
			}
			c.shape(0, make([]num, s.dims[0].c)...)
		}
		return nil
	}
	if len(target) > MaxRank {
		return c.Errorf("the result has rank %d; the limit is %d", len(target), MaxRank)
	}
	out := make([]num, len(target))
	free, holes := -1, 0
	copies := c.intAttr("allowzero") == 0
	for i, t := range target {
		switch {
		case t.is(-1):
			if free >= 0 {
				return c.Errorf("more than one -1 in the target shape %s", numsText(target))
			}
			free = i
		case t.isConst() && t.c < 0:
			return c.Errorf("target shape %s has a negative dimension", numsText(target))
		case t.is(0) && copies:
			if x.ranked {
				if i >= len(x.dims) {
					return c.Errorf("target shape %s copies dimension %d, the input has rank %d", numsText(target), i, len(x.dims))
				}
				out[i] = x.dims[i]
			}
			if !out[i].ok {
				holes++
			}
		case !t.ok:
			holes++
			if holes == 1 && free < 0 {
				free = -2 - i // may be resolved as if it were -1
			}
		default:
			out[i] = t
		}
	}
	for _, t := range target {
		if free >= 0 && !copies && t.is(0) {
			return c.Errorf("target shape %s has both 0 and -1 although allowzero is set", numsText(target))
		}
	}
	c.shape(0, out...)
	if !x.ranked {
		return nil
	}
	if free < -1 && holes == 1 {
		free = -2 - free
		holes = 0
	}
	if free >= 0 && holes > 0 {
		return nil
	}
	return c.fillFree(out, free, x.dims)
}

// fillFree finds the dimension at index free (negative: none) from the number
// of elements, and checks the counts when they are known.
func (c *call) fillFree(out []num, free int, dims []num) error {
	have, rest := cancel(dims, out, free)
	h, r := prod(have), prod(rest)
	if free >= 0 {
		if q, ok := h.divExact(r); ok {
			out[free] = q
			return nil
		}
		if h.isConst() && r.isConst() {
			return c.Errorf("cannot reshape %s (%s elements) into %s: not a multiple of %s", numsText(dims), prod(dims), numsText(out), prod(without(out, free)))
		}
		return nil
	}
	if s, ok := h.cmp(r); ok && s != 0 {
		return c.Errorf("cannot reshape %s (%s elements) into %s (%s elements)", numsText(dims), prod(dims), numsText(out), prod(out))
	}
	return nil
}

func without(d []num, i int) []num { return slices.Delete(slices.Clone(d), i, i+1) }

// cancel removes dimensions that stand on both sides, so that their product
// need not be computed. Zeros are kept.
func cancel(a, b []num, skip int) (ra, rb []num) {
	used := make([]bool, len(a))
next:
	for j, y := range b {
		if j == skip {
			continue
		}
		for i, x := range a {
			if !used[i] && x.same(y) && !x.is(0) {
				used[i] = true
				continue next
			}
		}
		rb = append(rb, y)
	}
	for i, x := range a {
		if !used[i] {
			ra = append(ra, x)
		}
	}
	return ra, rb
}

func inferFlatten(c *call) error {
	f := &c.in[0]
	if !f.ranked {
		c.shape(0, unknown, unknown)
		return nil
	}
	axis := c.intAttr("axis")
	if axis < 0 {
		axis += len(f.dims)
	}
	if axis < 0 || axis > len(f.dims) {
		return c.Errorf("axis %d is out of range for rank %d", c.intAttr("axis"), len(f.dims))
	}
	c.shape(0, prod(f.dims[:axis]), prod(f.dims[axis:]))
	return nil
}

func inferSqueeze(c *call) error {
	f := &c.in[0]
	if err := c.vector(1); err != nil {
		return err
	}
	if !f.ranked {
		return nil
	}
	var drop []int
	if !c.given(1) {
		for i, d := range f.dims {
			if !d.isConst() {
				if lo, ok := d.lower(); ok && lo > 1 {
					continue
				}
				return nil // may or may not be 1
			}
			if d.c == 1 {
				drop = append(drop, i)
			}
		}
	} else {
		list, ok := c.constants(1)
		if !ok {
			if n, ok := c.in[1].size(); ok && n <= int64(len(f.dims)) {
				c.shape(0, make([]num, len(f.dims)-int(n))...)
			}
			return nil
		}
		var err error
		if drop, err = c.axes(list, len(f.dims)); err != nil {
			return err
		}
	}
	var out []num
	for i, d := range f.dims {
		if !slices.Contains(drop, i) {
			out = append(out, d)
		} else if lo, ok := d.lower(); d.is(0) || ok && lo > 1 {
			return c.Errorf("cannot squeeze axis %d of shape %s: its size is %s, not 1", i, numsText(f.dims), d)
		}
	}
	c.shape(0, out...)
	return nil
}

func inferUnsqueeze(c *call) error {
	f := &c.in[0]
	if !f.ranked {
		return nil
	}
	list, ok := c.constants(1)
	if !ok {
		if n, ok := c.in[1].size(); ok && n <= MaxRank {
			c.shape(0, make([]num, len(f.dims)+int(n))...)
		}
		return nil
	}
	rank := len(f.dims) + len(list)
	at, err := c.axes(list, rank)
	if err != nil {
		return err
	}
	out := make([]num, 0, rank)
	rest := f.dims
	for i := range rank {
		if slices.Contains(at, i) {
			out = append(out, known(1))
		} else {
			out = append(out, rest[0])
			rest = rest[1:]
		}
	}
	c.shape(0, out...)
	return nil
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
	s := slices.Sorted(slices.Values(p))
	for i := range s {
		if s[i] != i {
			return nil, c.Errorf("perm %v is not a permutation", p)
		}
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
