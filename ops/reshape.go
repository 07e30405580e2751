package ops

import "slices"

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
