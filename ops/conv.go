package ops

import "slices"

var convAttrs = append([]Attr{attrInt("group", 1), attrOpt("kernel_shape", Ints)}, windowAttrs...)

// Convolutions. ConvInteger and QLinearConv stand with the quantised operators.
var convOps = []*Op{
	{
		Name: "Conv", Since: 22, In: []Param{in("X", "T", floats), in("W", "T", floats), opt("B", "T", floats)}, Out: []Param{in("Y", "T", floats)},
		Attrs: convAttrs,
		infer: func(c *call) error { return c.inferConv(0, 1, 2) }, eval: evalConv,
		macs: func(c *call) (int64, bool) { return c.convMACs(1) },
	},
}

// convMACs is output elements times the weights of one output channel.
func (c *call) convMACs(w int) (int64, bool) {
	n, ok := c.out[0].size()
	f := &c.in[w]
	if !ok || !f.ranked || len(f.dims) < 2 {
		return 0, false
	}
	k := prod(f.dims[1:])
	if !k.isConst() {
		return 0, false
	}
	return mulInt(n, k.c)
}

// convWindow resolves the window of inputs x and w, which must be ranked; nil
// when the kernel's sizes are not known.
func (c *call) convWindow(x, w int) (*window, error) {
	d := c.in[w].dims
	kernel := make([]int, len(d)-2)
	given := c.Attrs.Ints("kernel_shape")
	if c.Attrs.Has("kernel_shape") && len(given) != len(kernel) {
		return nil, c.Errorf("kernel_shape has %d values, the weight has %d spatial axes", len(given), len(kernel))
	}
	for i := range kernel {
		k := d[i+2]
		if given != nil {
			if k.isConst() && k.c != int64(given[i]) {
				return nil, c.Errorf("kernel_shape %v differs from the weight's shape %s", given, numsText(d))
			}
			k = known(int64(given[i]))
		}
		if !k.isConst() {
			return nil, nil
		}
		kernel[i] = int(min(k.c, maxWindow+1))
	}
	return c.windowOf(c.in[x].dims[2:], kernel, false)
}

func (c *call) inferConv(x, w, b int) error {
	xf, wf := &c.in[x], &c.in[w]
	if !xf.ranked || !wf.ranked {
		return nil
	}
	xn, wn := c.Inputs[x].Name, c.Inputs[w].Name
	if len(xf.dims) != len(wf.dims) {
		return c.Errorf("weight %q has rank %d, input %q has rank %d", wn, len(wf.dims), xn, len(xf.dims))
	}
	if len(xf.dims) < 3 {
		return c.Errorf("input %q has rank %d, wants at least 3", xn, len(xf.dims))
	}
	group := c.intAttr("group")
	if group < 1 {
		return c.Errorf("group is %d", group)
	}
	channels, want, outs := xf.dims[1], wf.dims[1].mul(known(int64(group))), wf.dims[0]
	if s, ok := channels.cmp(want); ok && s != 0 {
		return c.Errorf("input %q has %s channels, weight %q wants %s", xn, channels, wn, want)
	}
	if outs.isConst() && outs.c%int64(group) != 0 {
		return c.Errorf("%s output channels do not divide into %d groups", outs, group)
	}
	if bf := c.arg(b); bf.have && bf.ranked {
		if s, ok := prod(bf.dims).cmp(outs); len(bf.dims) != 1 || ok && s != 0 {
			return c.Errorf("bias has shape %s, want [%s]", numsText(bf.dims), outs)
		}
	}
	win, err := c.convWindow(x, w)
	if err != nil {
		return err
	}
	out := slices.Repeat([]num{unknown}, len(xf.dims))
	out[0], out[1] = xf.dims[0], outs
	if win != nil {
		copy(out[2:], win.out)
	}
	c.shape(0, out...)
	return nil
}

// convolve computes the sums of products of a convolution in a wide type.
func convolve[T wideNum](c *call, x, w []T, xi, wi int) ([]T, error) {
	win, err := c.convWindow(xi, wi)
	if err != nil {
		return nil, err
	}
	ws, xs, shape := c.t(wi).Shape, c.t(xi).Shape, c.sizes(0)
	group := c.intAttr("group")
	per := ws[0] / max(group, 1) // output channels of a group
	plane, area, taps := product(xs[2:]), product(shape[2:]), product(ws[2:])
	out := make([]T, product(shape))
	pos := newOdometer(shape[2:])
	for p := range area {
		win.each(pos.index, func(k, at int) {
			for b := range shape[0] {
				for oc := range ws[0] {
					src := b*xs[1] + oc/per*ws[1]
					sum := T(0)
					for ic := range ws[1] {
						sum += x[(src+ic)*plane+at] * w[(oc*ws[1]+ic)*taps+k]
					}
					out[(b*shape[1]+oc)*area+p] += sum
				}
			}
		})
		pos.next()
	}
	return out, nil
}

func evalConv(c *call) error {
	out, err := convolve(c, floatsOf(c.t(0)), floatsOf(c.t(1)), 0, 1)
	if err != nil {
		return err
	}
	if c.given(2) {
		addPerChannel(out, floatsOf(c.t(2)), c.sizes(0))
	}
	return put(c, 0, out)
}

func addPerChannel[T wideNum](v, bias []T, shape []int) {
	area := product(shape[2:])
	for i := range v {
		v[i] += bias[i/area%shape[1]]
	}
}
