package ops

import (
	"math"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Operators that cut tensors apart and put them together.
var sliceOps = []*Op{
	{
		Name: "Concat", Since: 13, In: []Param{many("inputs", "T", classic)}, Out: []Param{in("concat_result", "T", classic)},
		Attrs: []Attr{attrReq("axis", Int)},
		infer: inferConcat, fold: true,
		content: func(c *call) { moves(upTo(len(c.in))...)(c) }, eval: evalConcat,
	},
	{
		Name: "Split", Since: 18, In: []Param{in("input", "T", classic), opt("split", "", i64)}, Out: []Param{many("outputs", "T", classic)},
		Attrs: []Attr{attrInt("axis", 0), attrOpt("num_outputs", Int)},
		infer: inferSplit, fold: true, content: moves(0), eval: evalSplit,
	},
	{
		Name: "Slice", Since: 13,
		In:    []Param{in("data", "T", classic), in("starts", "I", index), in("ends", "I", index), opt("axes", "I", index), opt("steps", "I", index)},
		Out:   []Param{in("output", "T", classic)},
		infer: inferSlice, fold: true, content: moves(0), eval: evalSlice,
	},
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func inferConcat(c *call) error {
	rank := -1
	for i := range c.in {
		if !c.in[i].ranked {
			return nil
		}
		if r := len(c.in[i].dims); rank >= 0 && r != rank {
			return c.Errorf("input %d has rank %d, input 0 has rank %d", i, r, rank)
		}
		rank = len(c.in[i].dims)
	}
	if rank == 0 {
		return c.Errorf("cannot concatenate scalars")
	}
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	out := slices.Clone(c.in[0].dims)
	for i := range c.in[1:] {
		for a, d := range c.in[i+1].dims {
			switch {
			case a == axis:
				out[a] = out[a].add(d)
			case out[a].isConst() && d.isConst() && out[a].c != d.c:
				return c.Errorf("input %d has shape %s, which differs from %s outside axis %d", i+1, numsText(c.in[i+1].dims), numsText(c.in[0].dims), axis)
			case d.isConst() || !out[a].ok:
				out[a] = d
			}
		}
	}
	c.shape(0, out...)
	return nil
}

func evalConcat(c *call) error {
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	shape := c.sizes(0)
	srcs := make([]*ir.Tensor, len(c.in))
	var part, offset []int // of each index along the axis
	for i := range srcs {
		srcs[i] = c.t(i)
		for k := range srcs[i].Shape[axis] {
			part, offset = append(part, i), append(offset, k)
		}
	}
	inner := product(shape[axis+1:])
	return c.moveTo(0, srcs, func(o int) (int, int) {
		k := o / inner % shape[axis]
		p := part[k]
		return p, (o/inner/shape[axis]*srcs[p].Shape[axis]+offset[k])*inner + o%inner
	})
}

// splitSizes gives the sizes along the axis; nil when they are not known.
func splitSizes(c *call, dim num) ([]num, error) {
	n := len(c.Outputs)
	if c.given(1) {
		if c.Attrs.Has("num_outputs") {
			return nil, c.Errorf("both input split and attribute num_outputs are given")
		}
		if err := c.vector(1); err != nil {
			return nil, err
		}
		s := c.in[1].content()
		if s == nil {
			return nil, nil
		}
		if len(s) != n {
			return nil, c.Errorf("split has %d sizes, the node has %d outputs", len(s), n)
		}
		total := known(0)
		for _, v := range s {
			if v.isConst() && v.c < 0 {
				return nil, c.Errorf("split size %s is negative", v)
			}
			total = total.add(v)
		}
		if d, ok := total.cmp(dim); ok && d != 0 {
			return nil, c.Errorf("split sizes %s do not add up to %s", numsText(s), dim)
		}
		return s, nil
	}
	if v := c.intAttr("num_outputs"); c.Attrs.Has("num_outputs") && v != n {
		return nil, c.Errorf("num_outputs is %d, the node has %d outputs", v, n)
	}
	out := make([]num, n)
	if q, ok := dim.divExact(known(int64(n))); ok {
		for i := range out {
			out[i] = q
		}
		return out, nil
	}
	if !dim.isConst() {
		return nil, nil
	}
	chunk := (dim.c + int64(n) - 1) / int64(n)
	for i := range out {
		out[i] = known(chunk)
	}
	if out[n-1] = known(dim.c - chunk*int64(n-1)); out[n-1].c < 0 {
		return nil, c.Errorf("cannot split %d into %d parts of %d", dim.c, n, chunk)
	}
	return out, nil
}

func inferSplit(c *call) error {
	f := &c.in[0]
	if !f.ranked {
		return nil
	}
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	sizes, err := splitSizes(c, f.dims[axis])
	if err != nil {
		return err
	}
	for k := range c.out {
		d := slices.Clone(f.dims)
		d[axis] = unknown
		if sizes != nil {
			d[axis] = sizes[k]
		}
		c.shape(k, d...)
	}
	return nil
}

func evalSplit(c *call) error {
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	src := c.t(0).Shape
	inner, start := product(src[axis+1:]), 0
	for k := range c.res {
		n := c.sizes(k)[axis]
		err := c.take(k, 0, func(o int) int {
			return (o/(inner*n)*src[axis]+start)*inner + o%(inner*n)
		})
		if err != nil {
			return err
		}
		start += n
	}
	return nil
}

// cut is what Slice does on one axis.
type cut struct {
	axis              int
	start, step, size num
}

// cuts resolves the inputs of Slice; ok is false when they are not known well
// enough, and then the axes touched are marked in open.
func cuts(c *call, dims []num) (list []cut, open []bool, err error) {
	for i := 1; i < 5; i++ {
		if err := c.vector(i); err != nil {
			return nil, nil, err
		}
	}
	open = make([]bool, len(dims))
	all := func() ([]cut, []bool, error) {
		for i := range open {
			open[i] = true
		}
		return nil, open, nil
	}
	starts, ends := c.in[1].content(), c.in[2].content()
	axes := c.arg(3).content()
	n, ok := c.in[1].size()
	if !ok {
		n, ok = c.in[2].size()
	}
	if c.given(3) {
		if axes == nil {
			return all()
		}
		n, ok = int64(len(axes)), true
	} else if ok {
		for i := range n {
			axes = append(axes, known(i))
		}
	}
	if !ok || n > int64(len(dims)) {
		if ok {
			return nil, nil, c.Errorf("slices %d axes, the input has rank %d", n, len(dims))
		}
		return all()
	}
	for i := range axes {
		if !axes[i].isConst() {
			return all()
		}
	}
	at, err := c.axes(axes, len(dims))
	if err != nil {
		return nil, nil, err
	}
	steps := c.arg(4).content()
	if !c.given(4) {
		steps = slices.Repeat([]num{known(1)}, len(axes))
	}
	for _, l := range [][]num{starts, ends, steps} {
		if l != nil && len(l) != len(axes) {
			return nil, nil, c.Errorf("starts, ends, axes and steps have different lengths")
		}
	}
	for i, a := range at {
		if steps == nil || !steps[i].isConst() {
			open[a] = true
			continue
		}
		if steps[i].c == 0 {
			return nil, nil, c.Errorf("step must not be 0")
		}
		k := cut{axis: a, step: steps[i], start: unknown, size: unknown}
		if starts != nil && ends != nil {
			k.start, k.size = cutRange(starts[i], ends[i], steps[i].c, dims[a])
		}
		if open[a] = !k.size.ok; k.size.ok {
			list = append(list, k)
		}
	}
	return list, open, nil
}

// cutRange clamps start and end to the dimension and counts the steps, by the
// rules of Python.
func cutRange(start, end num, step int64, dim num) (first, size num) {
	if start.isConst() && end.isConst() && dim.isConst() {
		f, n := cutKnown(start.c, end.c, step, dim.c)
		return known(f), known(n)
	}
	lo, hi := known(0), dim // step > 0
	if step < 0 {
		lo, hi = known(-1), dim.sub(known(1))
	}
	first = clampEnd(start, dim, known(0), hi)
	end = clampEnd(end, dim, lo, hi)
	if step < 0 {
		return first, maxNum(known(0), first.sub(end).ceilDiv(known(-max(step, -math.MaxInt64))))
	}
	return first, maxNum(known(0), end.sub(first).ceilDiv(known(step)))
}

// cutKnown is cutRange on known integers.
func cutKnown(start, end, step, dim int64) (first, size int64) {
	if start < 0 {
		start += dim
	}
	if end < 0 {
		end += dim
	}
	if dim == 0 {
		return 0, 0
	}
	if step > 0 {
		start, end = min(max(start, 0), dim), min(max(end, 0), dim)
		if end <= start {
			return start, 0
		}
		return start, (end-start-1)/step + 1
	}
	start, end = min(max(start, 0), dim-1), min(max(end, -1), dim-1)
	if start <= end {
		return start, 0
	}
	return start, (start-end-1)/-max(step, -math.MaxInt64) + 1
}

// clampEnd resolves one end of a slice of a symbolic dimension. A magnitude of
// 2^31-1 or more means the end of the dimension, as exporters write it.
func clampEnd(v, dim, lo, hi num) num {
	switch {
	case v.isConst() && v.c <= -(1<<31-1):
		return lo
	case v.isConst() && v.c >= 1<<31-1:
		return hi
	case v.isConst() && v.c < 0:
		v = dim.add(v)
	default:
		if low, ok := v.lower(); !ok || low < 0 {
			if low, ok := v.neg().lower(); !ok || low <= 0 {
				return unknown // negative values would count from the end
			}
			v = dim.add(v)
		}
	}
	return maxNum(lo, minNum(v, hi))
}

func inferSlice(c *call) error {
	f := &c.in[0]
	if !f.ranked {
		return nil
	}
	list, open, err := cuts(c, f.dims)
	if err != nil {
		return err
	}
	out := slices.Clone(f.dims)
	for i := range out {
		if open[i] {
			out[i] = unknown
		}
	}
	for _, k := range list {
		out[k.axis] = k.size
	}
	c.shape(0, out...)
	return nil
}

func evalSlice(c *call) error {
	list, _, err := cuts(c, c.in[0].dims)
	if err != nil {
		return err
	}
	step := strides(c.t(0).Shape)
	st := slices.Clone(step)
	base := 0
	for _, k := range list {
		base += int(k.start.c) * st[k.axis]
		step[k.axis] = int(k.step.c) * st[k.axis]
	}
	return c.walk(0, step, base)
}
