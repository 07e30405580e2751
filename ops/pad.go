package ops

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Padding, repeating and rearranging in space.
var padOps = []*Op{
	{
		Name: "Pad", Since: 25,
		In:    []Param{in("data", "T", anyType), in("pads", "", i64), opt("constant_value", "T", anyType), opt("axes", "I", index)},
		Out:   []Param{in("output", "T", anyType)},
		Attrs: []Attr{attrStr("mode", "constant", "reflect", "edge", "wrap")},
		infer: inferPad, fold: true, eval: evalPad,
	},
	{
		Name: "Tile", Since: 13, In: []Param{in("input", "T", classic), in("repeats", "", i64)}, Out: []Param{in("output", "T", classic)},
		infer: inferTile, fold: true, content: moves(0), eval: evalTile,
	},
	{
		Name: "DepthToSpace", Since: 28, In: []Param{in("input", "T", classic)}, Out: []Param{in("output", "T", classic)},
		Attrs: []Attr{attrReq("blocksize", Int), attrStr("mode", "DCR", "CRD")},
		infer: inferDepthToSpace, eval: evalDepthToSpace,
	},
	{
		Name: "SpaceToDepth", Since: 28, In: []Param{in("input", "T", classic)}, Out: []Param{in("output", "T", classic)},
		Attrs: []Attr{attrReq("blocksize", Int), attrStr("mode", "DCR", "CRD")},
		infer: inferSpaceToDepth, eval: evalSpaceToDepth,
	},
}

// padding gives the pads before and after every axis; ok is false when they
// are not known.
func padding(c *call) (before, after []num, ok bool, err error) {
	rank := len(c.in[0].dims)
	for _, i := range []int{1, 3} {
		if err := c.vector(i); err != nil {
			return nil, nil, false, err
		}
	}
	axes := upTo(rank)
	if c.given(3) {
		list, ok := c.constants(3)
		if !ok {
			return nil, nil, false, nil
		}
		if axes, err = c.axes(list, rank); err != nil {
			return nil, nil, false, err
		}
	}
	pads := c.in[1].content()
	if pads == nil {
		return nil, nil, false, nil
	}
	if len(pads) != 2*len(axes) {
		return nil, nil, false, c.Errorf("pads has %d values for %d axes; want %d", len(pads), len(axes), 2*len(axes))
	}
	before = slices.Repeat([]num{known(0)}, rank)
	after = slices.Clone(before)
	for i, a := range axes {
		before[a], after[a] = pads[i], pads[len(axes)+i]
	}
	return before, after, true, nil
}

func inferPad(c *call) error {
	if err := c.single(2); err != nil {
		return err
	}
	f := &c.in[0]
	if !f.ranked {
		return nil
	}
	before, after, ok, err := padding(c)
	if err != nil {
		return err
	}
	out := make([]num, len(f.dims))
	if !ok {
		c.shape(0, out...)
		return nil
	}
	mode := c.strAttr("mode")
	for i, d := range f.dims {
		out[i] = d.add(before[i]).add(after[i])
		if out[i].isConst() && out[i].c < 0 {
			return c.Errorf("pads %s and %s make dimension %d of size %s negative", before[i], after[i], i, d)
		}
		// what is cut away on one side must be there
		for _, p := range []num{before[i], after[i]} {
			switch {
			case !d.isConst() || !p.isConst():
			case p.c < -d.c && mode != "constant":
				return c.Errorf("pad %s cuts more than dimension %d of size %s", p, i, d)
			case mode == "reflect" && p.c > 0 && p.c >= d.c:
				return c.Errorf("mode reflect cannot pad dimension %d of size %s by %s", i, d, p)
			case mode != "constant" && d.c == 0 && p.c > 0:
				return c.Errorf("mode %s cannot pad dimension %d of size 0", mode, i)
			}
		}
	}
	c.shape(0, out...)
	return nil
}

func evalPad(c *call) error {
	before, _, _, err := padding(c)
	if err != nil {
		return err
	}
	src, shape := c.t(0).Shape, c.sizes(0)
	srcs := []*ir.Tensor{c.t(0)}
	fill := -1
	if c.given(2) {
		srcs, fill = append(srcs, c.t(2)), 1
	}
	mode, st := c.strAttr("mode"), strides(src)
	w := newOdometer(shape)
	return c.moveTo(0, srcs, func(int) (int, int) {
		at, s := 0, 0
		for a, i := range w.index {
			k, inside := padIndex(i-int(before[a].c), src[a], mode)
			if !inside {
				s = fill
			}
			at += k * st[a]
		}
		w.next()
		if s != 0 {
			at = 0
		}
		return s, at
	})
}

// padIndex maps an index outside [0, n) back by the mode of Pad.
func padIndex(i, n int, mode string) (k int, inside bool) {
	if i >= 0 && i < n {
		return i, true
	}
	switch mode {
	case "edge":
		return min(max(i, 0), n-1), true
	case "wrap":
		return ((i % n) + n) % n, true
	case "reflect":
		if n == 1 {
			return 0, true
		}
		i = ((i % (2*n - 2)) + 2*n - 2) % (2*n - 2)
		return min(i, 2*n-2-i), true
	}
	return 0, false
}

func inferTile(c *call) error {
	if err := c.vector(1); err != nil {
		return err
	}
	f := &c.in[0]
	if !f.ranked {
		return nil
	}
	if n, ok := c.in[1].size(); ok && n != int64(len(f.dims)) {
		return c.Errorf("repeats has %d values for rank %d", n, len(f.dims))
	}
	out := make([]num, len(f.dims))
	r := c.in[1].content()
	for i := range out {
		if r == nil {
			continue
		}
		if r[i].isConst() && r[i].c < 0 {
			return c.Errorf("cannot repeat %s times", r[i])
		}
		if out[i] = f.dims[i].mul(r[i]); !out[i].ok && f.dims[i].isConst() && r[i].isConst() {
			return c.Errorf("the result is too large: dimension %d of %s repeated %s times", i, f.dims[i], r[i])
		}
	}
	c.shape(0, out...)
	return nil
}

func evalTile(c *call) error {
	src := c.t(0).Shape
	st := strides(src)
	w := newOdometer(c.sizes(0))
	return c.take(0, 0, func(int) int {
		at := 0
		for a, i := range w.index {
			at += i % src[a] * st[a]
		}
		w.next()
		return at
	})
}

func blockSize(c *call) (int64, error) {
	b := c.intAttr("blocksize")
	if b < 1 || b > 1<<15 {
		return 0, c.Errorf("blocksize is %d", b)
	}
	return int64(b), c.wantRank(0, 4, 4)
}

func inferDepthToSpace(c *call) error {
	b, err := blockSize(c)
	if err != nil || !c.in[0].ranked {
		return err
	}
	d := c.in[0].dims
	ch, ok := d[1].divExact(known(b * b))
	if !ok && d[1].isConst() {
		return c.Errorf("%s channels are not a multiple of blocksize² %d", d[1], b*b)
	}
	c.shape(0, d[0], ch, d[2].mul(known(b)), d[3].mul(known(b)))
	return nil
}

func evalDepthToSpace(c *call) error {
	b := c.intAttr("blocksize")
	crd := c.strAttr("mode") == "CRD"
	ch := c.sizes(0)[1]
	st := strides(c.t(0).Shape)
	w := newOdometer(c.sizes(0))
	return c.take(0, 0, func(int) int {
		n, k, y, x := w.index[0], w.index[1], w.index[2], w.index[3]
		at := k*b*b + y%b*b + x%b
		if !crd {
			at = (y%b*b+x%b)*ch + k
		}
		at = n*st[0] + at*st[1] + y/b*st[2] + x/b
		w.next()
		return at
	})
}

func inferSpaceToDepth(c *call) error {
	b, err := blockSize(c)
	if err != nil || !c.in[0].ranked {
		return err
	}
	d := c.in[0].dims
	out := []num{d[0], d[1].mul(known(b * b)), unknown, unknown}
	for i := 2; i < 4; i++ {
		var ok bool
		if out[i], ok = d[i].divExact(known(b)); !ok && d[i].isConst() {
			return c.Errorf("dimension %d of size %s is not a multiple of blocksize %d", i, d[i], b)
		}
	}
	c.shape(0, out...)
	return nil
}

func evalSpaceToDepth(c *call) error {
	b := c.intAttr("blocksize")
	crd := c.strAttr("mode") == "CRD"
	ch := c.t(0).Shape[1]
	st := strides(c.t(0).Shape)
	w := newOdometer(c.sizes(0))
	return c.take(0, 0, func(int) int {
		n, k, y, x := w.index[0], w.index[1], w.index[2], w.index[3]
		block, ci := k/ch, k%ch
		if crd {
			ci, block = k/(b*b), k%(b*b)
		}
		at := n*st[0] + ci*st[1] + (y*b+block/b)*st[2] + x*b + block%b
		w.next()
		return at
	})
}
