package ops

import "github.com/qvitc/qvitc/ir"

// Operators that write elements by index into a copy of their input.
var scatterOps = []*Op{
	{
		Name: "ScatterND", Since: 18, In: []Param{in("data", "T", classic), in("indices", "", i64), in("updates", "T", classic)},
		Out:   []Param{in("output", "T", classic)},
		Attrs: []Attr{attrStr("reduction", "none", "add", "mul", "max", "min")},
		infer: inferScatterND, fold: true, content: movesUnreduced, eval: evalScatterND,
	},
	{
		Name: "ScatterElements", Since: 18, In: []Param{in("data", "T", classic), in("indices", "I", index), in("updates", "T", classic)},
		Out:   []Param{in("output", "T", classic)},
		Attrs: []Attr{attrInt("axis", 0), attrStr("reduction", "none", "add", "mul", "max", "min")},
		infer: inferScatterElements, fold: true, content: movesUnreduced, eval: evalScatterElements,
	},
}

func movesUnreduced(c *call) {
	if c.strAttr("reduction") == "none" {
		moves(0, 2)(c)
	}
}

func inferScatterND(c *call) error {
	c.like(0, 0)
	k, ok, err := c.tuple(1, 0)
	if err != nil || !ok || !c.in[2].ranked {
		return err
	}
	want := append(append([]num(nil), c.in[1].dims[:len(c.in[1].dims)-1]...), c.in[0].dims[k:]...)
	bad := len(want) != len(c.in[2].dims)
	for i := 0; i < len(want) && !bad; i++ {
		s, known := want[i].cmp(c.in[2].dims[i])
		bad = known && s != 0
	}
	if bad {
		return c.Errorf("updates have shape %s, want %s", numsText(c.in[2].dims), numsText(want))
	}
	return nil
}

func evalScatterND(c *call) error {
	at, inner, err := c.tuples(1, 0)
	if err != nil {
		return err
	}
	return c.scatter(func(u int) int { return at[u/inner] + u%inner })
}

func inferScatterElements(c *call) error {
	c.like(0, 0)
	if !c.in[0].ranked {
		return nil
	}
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	if err := c.checkIndices(1, c.in[0].dims[axis]); err != nil {
		return err
	}
	if err := c.sameButAxis(1, axis); err != nil || !c.in[1].ranked || !c.in[2].ranked {
		return err
	}
	bad := len(c.in[1].dims) != len(c.in[2].dims)
	for i := 0; i < len(c.in[1].dims) && !bad; i++ {
		s, known := c.in[1].dims[i].cmp(c.in[2].dims[i])
		bad = known && s != 0
	}
	if bad {
		return c.Errorf("indices of shape %s and updates of shape %s differ", numsText(c.in[1].dims), numsText(c.in[2].dims))
	}
	return nil
}

func evalScatterElements(c *call) error {
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	at, err := c.indices(1, c.t(0).Shape[axis])
	if err != nil {
		return err
	}
	st := strides(c.t(0).Shape)
	w := newOdometer(c.t(1).Shape, st)
	return c.scatter(func(u int) int {
		k := w.at[0] + (at[u]-w.index[axis])*st[axis]
		w.next()
		return k
	})
}

// scatter writes update u to element to(u) of a copy of the data, in order.
func (c *call) scatter(to func(u int) int) error {
	data, updates := c.t(0), c.t(2)
	reduction := c.strAttr("reduction")
	if reduction == "none" {
		from := make([]int, data.Len()) // 0: data, u+1: update u
		for u := range updates.Len() {
			from[to(u)] = u + 1
		}
		return c.moveTo(0, []*ir.Tensor{data, updates}, func(o int) (int, int) {
			if from[o] > 0 {
				return 1, from[o] - 1
			}
			return 0, o
		})
	}
	switch e := data.Elem; {
	case e == ir.String:
		return c.Errorf("reduction %s is not defined for strings", reduction)
	case e.IsFloat():
		return scatterWith(c, to, map[string]func(a, b float64) float64{"add": plus[float64], "mul": times[float64], "max": maxOf[float64], "min": minOf[float64]}[reduction])
	case isUnsigned(e):
		return scatterWith(c, to, map[string]func(a, b uint64) uint64{"add": plus[uint64], "mul": times[uint64], "max": maxOf[uint64], "min": minOf[uint64]}[reduction])
	}
	return scatterWith(c, to, map[string]func(a, b int64) int64{"add": plus[int64], "mul": times[int64], "max": maxOf[int64], "min": minOf[int64]}[reduction])
}

func scatterWith[T wideNum](c *call, to func(u int) int, f func(a, b T) T) error {
	v := unpack[T](c.t(0))
	for u, x := range unpack[T](c.t(2)) {
		k := to(u)
		v[k] = f(v[k], x)
	}
	return put(c, 0, v)
}
