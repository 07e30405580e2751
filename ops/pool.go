package ops

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

var poolAttrs = append([]Attr{attrReq("kernel_shape", Ints), attrInt("ceil_mode", 0)}, windowAttrs...)

// Pooling over the spatial axes of [N, C, ...].
var poolOps = []*Op{
	{
		Name: "AveragePool", Since: 22, In: []Param{in("X", "T", floats)}, Out: []Param{in("Y", "T", floats)},
		Attrs: append([]Attr{attrInt("count_include_pad", 0)}, poolAttrs...),
		infer: inferPool, eval: evalAveragePool,
	},
	{
		Name: "MaxPool", Since: 22, In: []Param{in("X", "T", floats|bytes8)}, Out: []Param{in("Y", "T", floats|bytes8), opt("Indices", "", i64)},
		Attrs: append([]Attr{attrInt("storage_order", 0)}, poolAttrs...),
		infer: inferPool, eval: evalMaxPool,
	},
	{
		Name: "GlobalAveragePool", Since: 22, In: []Param{in("X", "T", floats)}, Out: []Param{in("Y", "T", floats)},
		infer: inferGlobalPool,
		eval: func(c *call) error {
			return evalGlobalPool(c, func(v []float64) float64 { return sum(v) / float64(len(v)) })
		},
	},
	{
		Name: "GlobalMaxPool", Since: 22, In: []Param{in("X", "T", floats)}, Out: []Param{in("Y", "T", floats)},
		infer: inferGlobalPool,
		eval: func(c *call) error {
			return evalGlobalPool(c, func(v []float64) float64 {
				m := math.Inf(-1)
				for _, x := range v {
					m = max(m, x)
				}
				return m
			})
		},
	},
}

func sum(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x
	}
	return s
}

func (c *call) poolWindow() (*window, error) {
	d := c.in[0].dims
	kernel := c.Attrs.Ints("kernel_shape")
	if len(kernel) != len(d)-2 {
		return nil, c.Errorf("kernel_shape has %d values, the input has %d spatial axes", len(kernel), len(d)-2)
	}
	return c.windowOf(d[2:], kernel, c.intAttr("ceil_mode") != 0)
}

func inferPool(c *call) error {
	if err := c.wantRank(0, 3, -1); err != nil || !c.in[0].ranked {
		return err
	}
	w, err := c.poolWindow()
	if err != nil {
		return err
	}
	for k := range c.out {
		c.shape(k, append([]num{c.in[0].dims[0], c.in[0].dims[1]}, w.out...)...)
	}
	return nil
}

func evalAveragePool(c *call) error {
	w, err := c.poolWindow()
	if err != nil {
		return err
	}
	withPad := c.intAttr("count_include_pad") != 0
	shape := c.sizes(0)
	x, plane, area := floatsOf(c.t(0)), product(c.t(0).Shape[2:]), product(shape[2:])
	out := make([]float64, product(shape))
	pos := newOdometer(shape[2:])
	for p := range area {
		var at []int
		n := w.each(pos.index, func(_, i int) { at = append(at, i) })
		if !withPad {
			n = len(at)
		}
		for ch := range shape[0] * shape[1] {
			s := 0.0
			for _, i := range at {
				s += x[ch*plane+i]
			}
			if n > 0 {
				out[ch*area+p] = s / float64(n)
			}
		}
		pos.next()
	}
	return put(c, 0, out)
}

// evalMaxPool gives the greatest element of each window; Indices are flat in
// the whole input, row-major, or with storage_order 1 column-major in the last
// two spatial axes.
func evalMaxPool(c *call) error {
	w, err := c.poolWindow()
	if err != nil {
		return err
	}
	shape, xs := c.sizes(0), c.t(0).Shape
	x, plane, area := floatsOf(c.t(0)), product(xs[2:]), product(shape[2:])
	out := make([]float64, product(shape))
	index := make([]int64, len(out))
	pos := newOdometer(shape[2:])
	for p := range area {
		var at []int
		w.each(pos.index, func(_, i int) { at = append(at, i) })
		for ch := range shape[0] * shape[1] {
			best := -1
			for _, i := range at {
				if v := x[ch*plane+i]; best < 0 || v > x[ch*plane+best] || v != v {
					best = i
				}
			}
			o := ch*area + p
			if best < 0 {
				out[o] = lowest(c.in[0].elem)
				continue
			}
			out[o], index[o] = x[ch*plane+best], int64(ch*plane+best)
			if n := len(xs); c.intAttr("storage_order") != 0 && n >= 4 {
				h, v := xs[n-2], xs[n-1]
				index[o] = int64(ch*plane + best/(h*v)*h*v + best%v*h + best/v%h)
			}
		}
		pos.next()
	}
	if c.wanted(1) {
		if err := put(c, 1, index); err != nil {
			return err
		}
	}
	return put(c, 0, out)
}

// lowest is the least value of an element type.
func lowest(e ir.Elem) float64 {
	if e.IsFloat() {
		return math.Inf(-1)
	}
	lo, _ := intRange(e)
	return float64(lo)
}

func inferGlobalPool(c *call) error {
	f := &c.in[0]
	if err := c.wantRank(0, 3, -1); err != nil || !f.ranked {
		return err
	}
	out := []num{f.dims[0], f.dims[1]}
	for range f.dims[2:] {
		out = append(out, known(1))
	}
	c.shape(0, out...)
	return nil
}

func evalGlobalPool(c *call, f func(v []float64) float64) error {
	x := floatsOf(c.t(0))
	n := product(c.t(0).Shape[2:])
	out := make([]float64, product(c.sizes(0)))
	for i := range out {
		out[i] = f(x[i*n : (i+1)*n])
	}
	return put(c, 0, out)
}
