package ops

import "slices"

// Sliding windows: what Conv, ConvInteger, QLinearConv and the pools share.

// window is the resolved geometry along the spatial axes.
type window struct {
	kernel, stride, dilation []int
	before                   []int // padding in front
	after                    []int // padding behind, as given or as auto_pad makes it
	in, out                  []num // spatial sizes
}

// windowAttrs are the attributes of every sliding window but kernel_shape.
var windowAttrs = []Attr{
	attrStr("auto_pad", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"),
	attrOpt("dilations", Ints), attrOpt("pads", Ints), attrOpt("strides", Ints),
}

// maxWindow bounds kernel, stride, dilation and padding.
const maxWindow = 1 << 24

// spatialList reads a list of n numbers of at least lo, all def when it is left
// out.
func (c *call) spatialList(name string, n, def, lo int) ([]int, error) {
	v := c.Attrs.Ints(name)
	if !c.Attrs.Has(name) {
		v = slices.Repeat([]int{def}, n)
	}
	if len(v) != n {
		return nil, c.Errorf("attribute %s has %d values, want %d", name, len(v), n)
	}
	for _, x := range v {
		if x < lo || x > maxWindow {
			return nil, c.Errorf("attribute %s has the value %d", name, x)
		}
	}
	return v, nil
}

// windowOf resolves the geometry for spatial sizes in and the given kernel.
// With ceil set the last window may start inside the input or its front padding
// and reach past the end (ceil_mode).
func (c *call) windowOf(in []num, kernel []int, ceil bool) (w *window, err error) {
	n := len(in)
	w = &window{kernel: kernel, in: in, out: make([]num, n), before: make([]int, n), after: make([]int, n)}
	if w.stride, err = c.spatialList("strides", n, 1, 1); err != nil {
		return nil, err
	}
	if w.dilation, err = c.spatialList("dilations", n, 1, 1); err != nil {
		return nil, err
	}
	for _, k := range kernel {
		if k < 1 || k > maxWindow {
			return nil, c.Errorf("kernel_shape has size %d", k)
		}
	}
	pads, err := c.spatialList("pads", 2*n, 0, -maxWindow)
	if err != nil {
		return nil, err
	}
	auto := c.strAttr("auto_pad")
	for i := range n {
		reach := (kernel[i]-1)*w.dilation[i] + 1
		s := known(int64(w.stride[i]))
		switch auto {
		case "SAME_UPPER", "SAME_LOWER":
			w.out[i] = in[i].ceilDiv(s)
			need := maxNum(known(0), w.out[i].sub(known(1)).mul(s).add(known(int64(reach))).sub(in[i]))
			if need.isConst() {
				w.before[i] = int(need.c / 2)
				if auto == "SAME_LOWER" {
					w.before[i] = int(need.c+1) / 2
				}
				w.after[i] = int(need.c) - w.before[i]
			}
			continue
		case "NOTSET":
			w.before[i], w.after[i] = pads[i], pads[n+i]
		}
		room := in[i].add(known(int64(w.before[i] + w.after[i] - reach)))
		if room.isConst() && room.c < 0 {
			return nil, c.Errorf("the kernel reaches over %d elements, axis %d has %s with its padding", reach, i+2, room.add(known(int64(reach))))
		}
		if !ceil {
			w.out[i] = room.quo(s).add(known(1))
			continue
		}
		w.out[i] = room.ceilDiv(s).add(known(1))
		// a window that would start in the padding behind is dropped
		last := w.out[i].sub(known(1)).mul(s)
		if lo, ok := last.sub(in[i].add(known(int64(w.before[i])))).lower(); ok && lo >= 0 {
			w.out[i] = w.out[i].sub(known(1))
		}
	}
	return w, nil
}

// sizesOf gives known sizes as ints during evaluation.
func sizesOf(d []num) []int {
	out := make([]int, len(d))
	for i, x := range d {
		out[i] = int(x.c)
	}
	return out
}

// each calls f for every kernel position of the window at out that lies inside
// the input: kernel offset k (flat) and input offset at (flat). It returns the
// number of positions that lie inside the padded input.
func (w *window) each(out []int, f func(k, at int)) (padded int) {
	n := len(w.kernel)
	in := sizesOf(w.in)
	st := strides(in)
	o := newOdometer(w.kernel)
	for k := range product(w.kernel) {
		at, inside, within := 0, true, true
		for a := range n {
			p := out[a]*w.stride[a] - w.before[a] + o.index[a]*w.dilation[a]
			inside = inside && p >= 0 && p < in[a]
			within = within && p < in[a]+w.after[a]
			at += p * st[a]
		}
		if within {
			padded++
		}
		if inside {
			f(k, at)
		}
		o.next()
	}
	return padded
}
