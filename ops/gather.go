package ops

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Operators that read elements by index.
var gatherOps = []*Op{
	{
		Name: "Gather", Since: 13, In: []Param{in("data", "T", classic), in("indices", "I", index)}, Out: []Param{in("output", "T", classic)},
		Attrs: []Attr{attrInt("axis", 0)},
		infer: inferGather, fold: true, content: moves(0), eval: evalGather,
	},
	{
		Name: "GatherElements", Since: 13, In: []Param{in("data", "T", classic), in("indices", "I", index)}, Out: []Param{in("output", "T", classic)},
		Attrs: []Attr{attrInt("axis", 0)},
		infer: inferGatherElements, fold: true, content: moves(0), eval: evalGatherElements,
	},
	{
		Name: "GatherND", Since: 13, In: []Param{in("data", "T", classic), in("indices", "", i64)}, Out: []Param{in("output", "T", classic)},
		Attrs: []Attr{attrInt("batch_dims", 0)},
		infer: inferGatherND, fold: true, content: moves(0), eval: evalGatherND,
	},
	{
		Name: "Compress", Since: 28, In: []Param{in("input", "T", classic), in("condition", "", boolean)}, Out: []Param{in("output", "T", classic)},
		Attrs: []Attr{attrOpt("axis", Int)},
		infer: inferCompress, eval: evalCompress,
	},
}

// indices reads input i and brings negative ones into [0, n).
func (c *call) indices(i, n int) ([]int, error) {
	v := intsOf(c.t(i))
	out := make([]int, len(v))
	for k, x := range v {
		if x < 0 {
			x += int64(n)
		}
		if x < 0 || x >= int64(n) {
			return nil, c.Errorf("index %d is out of range for dimension %d", v[k], n)
		}
		out[k] = int(x)
	}
	return out, nil
}

// checkIndices checks constant indices against a known dimension, so that a
// bad model fails before it runs. Long lists wait for evaluation.
func (c *call) checkIndices(i int, dim num) error {
	t := c.arg(i).tensor
	if t == nil || !dim.isConst() || t.Len() > 4*maxContent {
		return nil
	}
	for k := range t.Len() {
		if x := t.Int(k); x < -dim.c || x >= dim.c {
			return c.Errorf("index %d is out of range for dimension %d", x, dim.c)
		}
	}
	return nil
}

func inferGather(c *call) error {
	x, idx := &c.in[0], &c.in[1]
	if !x.ranked {
		return nil
	}
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	if err := c.checkIndices(1, x.dims[axis]); err != nil || !idx.ranked {
		return err
	}
	c.shape(0, slices.Concat(x.dims[:axis], idx.dims, x.dims[axis+1:])...)
	return nil
}

func evalGather(c *call) error {
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	src := c.t(0).Shape
	at, err := c.indices(1, src[axis])
	if err != nil {
		return err
	}
	inner := product(src[axis+1:])
	return c.take(0, 0, func(o int) int {
		return (o/(inner*len(at))*src[axis]+at[o/inner%len(at)])*inner + o%inner
	})
}

// sameButAxis checks that the shape of input i is at most that of input 0 on
// every axis but one.
func (c *call) sameButAxis(i, axis int) error {
	x, idx := &c.in[0], &c.in[i]
	if !idx.ranked {
		return nil
	}
	bad := len(x.dims) != len(idx.dims)
	for a := 0; a < len(x.dims) && !bad; a++ {
		bad = a != axis && x.dims[a].isConst() && idx.dims[a].isConst() && idx.dims[a].c > x.dims[a].c
	}
	if bad {
		return c.Errorf("input %d (%s) of shape %s does not fit data of shape %s", i, param(c.op.In, i).Name, numsText(idx.dims), numsText(x.dims))
	}
	return nil
}

func inferGatherElements(c *call) error {
	x := &c.in[0]
	c.like(0, 1)
	if !x.ranked {
		return nil
	}
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	if err := c.checkIndices(1, x.dims[axis]); err != nil {
		return err
	}
	return c.sameButAxis(1, axis)
}

func evalGatherElements(c *call) error {
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	at, err := c.indices(1, c.t(0).Shape[axis])
	if err != nil {
		return err
	}
	w := newOdometer(c.sizes(0), strides(c.t(0).Shape))
	st := strides(c.t(0).Shape)[axis]
	return c.take(0, 0, func(o int) int {
		k := w.at[0] + (at[o]-w.index[axis])*st
		w.next()
		return k
	})
}

// tuple reports the length of the index tuples: the last dimension of input i.
func (c *call) tuple(i, batch int) (int, bool, error) {
	x, idx := &c.in[0], c.arg(i)
	if !x.ranked || !idx.ranked {
		return 0, false, nil
	}
	if len(idx.dims) < 1 || len(x.dims) < 1 {
		return 0, false, c.Errorf("data and indices must not be scalars")
	}
	if batch < 0 || batch >= min(len(idx.dims), len(x.dims)) {
		return 0, false, c.Errorf("batch_dims is %d for ranks %d and %d", batch, len(x.dims), len(idx.dims))
	}
	last := idx.dims[len(idx.dims)-1]
	if !last.isConst() {
		return 0, false, nil
	}
	if last.c < 0 || last.c > int64(len(x.dims)-batch) {
		return 0, false, c.Errorf("index tuples of length %s do not fit data of rank %d", last, len(x.dims))
	}
	for a := range int(last.c) {
		if err := c.checkTuples(i, int(last.c), a, x.dims[batch+a]); err != nil {
			return 0, false, err
		}
	}
	return int(last.c), true, nil
}

// checkTuples is checkIndices for place a of the index tuples of length k.
func (c *call) checkTuples(i, k, a int, dim num) error {
	t := c.arg(i).tensor
	if t == nil || !dim.isConst() || t.Len() > 4*maxContent {
		return nil
	}
	for at := a; at < t.Len(); at += k {
		if x := t.Int(at); x < -dim.c || x >= dim.c {
			return c.Errorf("index %d is out of range for dimension %d", x, dim.c)
		}
	}
	return nil
}

func inferGatherND(c *call) error {
	batch := c.intAttr("batch_dims")
	k, ok, err := c.tuple(1, batch)
	if err != nil || !ok {
		return err
	}
	x, idx := &c.in[0], &c.in[1]
	for i := range batch {
		if s, ok := x.dims[i].cmp(idx.dims[i]); ok && s != 0 {
			return c.Errorf("batch dimensions %s and %s differ", x.dims[i], idx.dims[i])
		}
	}
	c.shape(0, slices.Concat(idx.dims[:len(idx.dims)-1], x.dims[batch+k:])...)
	return nil
}

// tuples turns the index tuples of input i into flat offsets of data, batch
// axes included.
func (c *call) tuples(i, batch int) (offsets []int, inner int, err error) {
	src, shape := c.t(0).Shape, c.t(i).Shape
	k := shape[len(shape)-1]
	v := intsOf(c.t(i))
	st := strides(src)
	per := product(shape[batch : len(shape)-1])
	offsets = make([]int, product(shape[:len(shape)-1]))
	inner = product(src[batch+k:])
	for o := range offsets {
		if batch > 0 {
			offsets[o] = o / per * st[batch-1]
		}
		for a := range k {
			x, n := v[o*k+a], int64(src[batch+a])
			if x < 0 {
				x += n
			}
			if x < 0 || x >= n {
				return nil, 0, c.Errorf("index %d is out of range for dimension %d", v[o*k+a], n)
			}
			offsets[o] += int(x) * st[batch+a]
		}
	}
	return offsets, inner, nil
}

func evalGatherND(c *call) error {
	at, inner, err := c.tuples(1, c.intAttr("batch_dims"))
	if err != nil {
		return err
	}
	return c.take(0, 0, func(o int) int { return at[o/inner] + o%inner })
}

// picked lists the positions where the condition of Compress holds, within n.
func picked(c *call, t *ir.Tensor, n int64) ([]int, error) {
	var out []int
	for i, b := range ir.Data[bool](t) {
		if b {
			if int64(i) >= n {
				return nil, c.Errorf("the condition picks element %d of %d", i, n)
			}
			out = append(out, i)
		}
	}
	return out, nil
}

func inferCompress(c *call) error {
	if err := c.vector(1); err != nil {
		return err
	}
	f := &c.in[0]
	if !f.ranked {
		return nil
	}
	out, along := []num{unknown}, prod(f.dims)
	axis := 0
	if c.Attrs.Has("axis") {
		var err error
		if axis, err = c.axisAttr(0); err != nil {
			return err
		}
		out, along = slices.Clone(f.dims), f.dims[axis]
		out[axis] = unknown
	}
	if t := c.in[1].tensor; t != nil && along.isConst() {
		p, err := picked(c, t, along.c)
		if err != nil {
			return err
		}
		out[axis] = known(int64(len(p)))
	}
	c.shape(0, out...)
	return nil
}

func evalCompress(c *call) error {
	src := c.t(0).Shape
	n, inner := c.t(0).Len(), 1
	if c.Attrs.Has("axis") {
		axis, err := c.axisAttr(0)
		if err != nil {
			return err
		}
		n, inner = src[axis], product(src[axis+1:])
	}
	at, err := picked(c, c.t(1), int64(n))
	if err != nil {
		return err
	}
	return c.take(0, 0, func(o int) int {
		return (o/(inner*len(at))*n+at[o/inner%len(at)])*inner + o%inner
	})
}
