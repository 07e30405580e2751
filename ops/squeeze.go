package ops

import "slices"

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
