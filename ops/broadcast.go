package ops

import "github.com/qvitc/qvitc/ir"

// broadcastDims joins two dimensions by the rules of NumPy: equal, or one of
// them 1. A known dimension above 1 decides over an unknown one; two different
// symbols give an unknown dimension.
func broadcastDims(a, b num) (num, bool) {
	switch {
	case a.same(b) || b.is(1):
		return a, true
	case a.is(1):
		return b, true
	case a.isConst() && b.isConst():
		return unknown, false
	case a.isConst():
		return a, true
	case b.isConst():
		return b, true
	}
	return unknown, true
}

// broadcastShapes joins two shapes, aligned at their last axes.
func broadcastShapes(a, b []num) ([]num, bool) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := append([]num(nil), a...)
	off := len(a) - len(b)
	for i := range b {
		d, ok := broadcastDims(a[off+i], b[i])
		if !ok {
			return nil, false
		}
		out[off+i] = d
	}
	return out, true
}

// broadcast gives output 0 the joint shape of all inputs (or of the listed
// ones).
func (c *call) broadcast(which ...int) error {
	if which == nil {
		for i := range c.in {
			which = append(which, i)
		}
	}
	shape := []num{}
	for _, i := range which {
		f := c.arg(i)
		if !f.have {
			continue
		}
		if !f.ranked {
			return nil
		}
		s, ok := broadcastShapes(shape, f.dims)
		if !ok {
			return c.Errorf("shapes %v and %v do not broadcast", numsText(shape), numsText(f.dims))
		}
		shape = s
	}
	c.shape(0, shape...)
	return nil
}

func inferBroadcast(c *call) error { return c.broadcast() }

func inferSame(c *call) error {
	c.like(0, 0)
	return nil
}

// unidirectional checks that input i broadcasts to the shape of input to.
func (c *call) unidirectional(i int, to []num) error {
	f := c.arg(i)
	if !f.have || !f.ranked {
		return nil
	}
	s, ok := broadcastShapes(to, f.dims)
	bad := !ok || len(s) != len(to)
	for k := 0; k < len(to) && !bad; k++ {
		bad = to[k].isConst() && s[k].isConst() && s[k].c != to[k].c
	}
	if bad {
		return c.Errorf("input %d (%s) of shape %v does not broadcast to %v", i, param(c.op.In, i).Name, numsText(f.dims), numsText(to))
	}
	return nil
}

// wideOf reads t broadcast to shape in a wide type.
func wideOf[T wideNum](t *ir.Tensor, shape []int) []T {
	v := unpack[T](t)
	if len(v) == product(shape) {
		return v
	}
	out := make([]T, product(shape))
	w := newOdometer(shape, spread(t.Shape, shape))
	for o := range out {
		out[o] = v[w.at[0]]
		w.next()
	}
	return out
}

// binary is an operation on two elements in each of the wide types; a nil
// function means that the operator does not take such types.
type binary struct {
	f func(a, b float64) float64
	i func(a, b int64) int64
	u func(a, b uint64) uint64
}

// eval combines all inputs elementwise, left to right, in a wide type.
func (b binary) eval(c *call) error {
	switch e := c.in[0].elem; {
	case e.IsFloat():
		return combine(c, b.f)
	case isUnsigned(e):
		return combine(c, b.u)
	}
	return combine(c, b.i)
}

func combine[T wideNum](c *call, f func(a, b T) T) error {
	return put(c, 0, combined(c, f))
}

func combined[T wideNum](c *call, f func(a, b T) T) []T {
	shape := c.sizes(0)
	acc := wideOf[T](c.t(0), shape)
	for i := 1; i < len(c.in); i++ {
		for o, v := range wideOf[T](c.t(i), shape) {
			acc[o] = f(acc[o], v)
		}
	}
	return acc
}

// elemwise is the content rule of operators that work element by element.
func elemwise(f func(c *call, x []num) num) func(c *call) {
	return func(c *call) {
		shape := c.sizes(0)
		vals := make([][]num, len(c.in))
		steps := make([][]int, len(c.in))
		for i := range c.in {
			if !c.in[i].have {
				steps[i] = make([]int, len(shape))
				continue
			}
			if vals[i] = c.in[i].content(); vals[i] == nil {
				n, ok := c.in[i].size()
				if !ok || n > maxContent {
					return
				}
				vals[i] = make([]num, n)
			}
			dims := make([]int, len(c.in[i].dims))
			for k, d := range c.in[i].dims {
				dims[k] = int(d.c)
			}
			steps[i] = spread(dims, shape)
		}
		out := make([]num, product(shape))
		w := newOdometer(shape, steps...)
		x := make([]num, len(c.in))
		for o := range out {
			for i := range x {
				x[i] = unknown
				if vals[i] != nil {
					x[i] = vals[i][w.at[i]]
				}
			}
			out[o] = f(c, x)
			w.next()
		}
		c.out[0].vals = out
	}
}

// sameContent is the content rule of operators that hand on their input.
func sameContent(c *call) { c.out[0].vals = c.in[0].content() }

// moves is the content rule of operators that only move elements of the listed
// inputs: it runs the operator on numbers that stand for the elements.
func moves(data ...int) func(c *call) {
	return func(c *call) {
		d := *c
		d.in = append([]fact(nil), c.in...)
		d.out = append([]fact(nil), c.out...)
		var pool []num
		for _, i := range data {
			if i >= len(c.in) || !c.in[i].have {
				continue
			}
			f := &d.in[i]
			n, ok := f.size()
			if !ok || n > maxContent {
				return
			}
			v := f.content()
			if v == nil {
				v = make([]num, n)
			}
			ids := make([]int64, n)
			for k := range ids {
				ids[k] = int64(len(pool) + k)
			}
			pool = append(pool, v...)
			dims := make([]int, len(f.dims))
			for k, x := range f.dims {
				dims[k] = int(x.c)
			}
			f.elem, f.vals = ir.Int64, nil
			f.tensor = ir.Of(ids, dims...)
		}
		for i := range d.in {
			if d.in[i].have && d.in[i].tensor == nil {
				return
			}
		}
		for k := range d.out {
			d.out[k].elem = ir.Int64
		}
		if d.evaluate() != nil {
			return
		}
		for k, t := range d.res {
			if t == nil {
				continue
			}
			vals := make([]num, t.Len())
			for o, id := range t.I64() {
				vals[o] = pool[id]
			}
			c.out[k].vals = vals
		}
	}
}
