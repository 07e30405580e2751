package ops

// Running sums.
var cumulativeOps = []*Op{
	{
		Name: "CumSum", Since: 14, In: []Param{in("x", "T", wide), in("axis", "", index)}, Out: []Param{in("y", "T", wide)},
		Attrs: []Attr{attrInt("exclusive", 0), attrInt("reverse", 0)},
		infer: func(c *call) error {
			if v, ok := c.constants(1); ok && c.in[0].ranked && len(v) == 1 {
				if _, err := c.axisOf(int(v[0].c), len(c.in[0].dims)); err != nil {
					return err
				}
			}
			c.like(0, 0)
			return c.single(1)
		},
		fold: true, eval: evalCumSum,
	},
}

func evalCumSum(c *call) error {
	axis, err := c.axisOf(int(c.t(1).Int(0)), len(c.t(0).Shape))
	if err != nil {
		return err
	}
	switch e := c.in[0].elem; {
	case e.IsFloat():
		return cumSum[float64](c, axis)
	case isUnsigned(e):
		return cumSum[uint64](c, axis)
	}
	return cumSum[int64](c, axis)
}

func cumSum[T wideNum](c *call, axis int) error {
	exclusive, reverse := c.intAttr("exclusive") != 0, c.intAttr("reverse") != 0
	v := unpack[T](c.t(0))
	groups(c.t(0).Shape, axisMask(axis, len(c.t(0).Shape)), func(_ int, at []int) {
		var acc T
		for k := range at {
			i := at[k]
			if reverse {
				i = at[len(at)-1-k]
			}
			x := v[i]
			if exclusive {
				v[i] = acc
				acc += x
			} else {
				acc += x
				v[i] = acc
			}
		}
	})
	return put(c, 0, v)
}
