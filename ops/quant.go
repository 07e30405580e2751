package ops

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

var (
	quantized  = bytes8 | sub8 | set(ir.Int16, ir.Uint16)
	scaleTypes = set(ir.Float32, ir.Float16, ir.BFloat16)
)

// Quantising and dequantising: per tensor, per axis and in blocks.
var quantOps = []*Op{
	{
		Name: "QuantizeLinear", Since: 25,
		In:    []Param{in("x", "", scaleTypes|i32), in("y_scale", "", scaleTypes|i32), opt("y_zero_point", "Q", quantized)},
		Out:   []Param{in("y", "Q", quantized)},
		Attrs: []Attr{attrInt("axis", 1), attrInt("block_size", 0), attrInt("output_dtype", 0), attrInt("precision", 0), attrInt("saturate", 1)},
		infer: inferQuantize, fold: true, eval: evalQuantize,
	},
	{
		Name: "DequantizeLinear", Since: 25,
		In:    []Param{in("x", "Q", quantized|i32), in("x_scale", "S", scaleTypes), opt("x_zero_point", "Q", quantized|i32)},
		Out:   []Param{in("y", "", scaleTypes)},
		Attrs: []Attr{attrInt("axis", 1), attrInt("block_size", 0), attrInt("output_dtype", 0)},
		infer: inferDequantize, fold: true, eval: evalDequantize,
	},
	{
		Name: "DynamicQuantizeLinear", Since: 11, In: []Param{in("x", "", f32)},
		Out: []Param{in("y", "", u8), in("y_scale", "", f32), in("y_zero_point", "", u8)},
		infer: func(c *call) error {
			c.like(0, 0)
			c.shape(1)
			c.shape(2)
			return nil
		},
		eval: evalDynamicQuantize,
	},
}

// scaleLayout checks the shape of scale and zero point against x: one value,
// one for each index of the axis, or one for each block of the axis.
func (c *call) scaleLayout() error {
	x, s, z := &c.in[0], &c.in[1], c.arg(2)
	if z.have && z.ranked && s.ranked {
		// [] and [1] both mean one value
		d, ok := prod(z.dims).cmp(prod(s.dims))
		bad := ok && d != 0 || len(z.dims) != len(s.dims) && len(z.dims)+len(s.dims) != 1
		for i := 0; i < len(z.dims) && len(z.dims) == len(s.dims); i++ {
			d, ok := z.dims[i].cmp(s.dims[i])
			bad = bad || ok && d != 0
		}
		if bad {
			return c.Errorf("zero point of shape %s and scale of shape %s differ", numsText(z.dims), numsText(s.dims))
		}
	}
	if !x.ranked || !s.ranked {
		return nil
	}
	block := c.intAttr("block_size")
	if block < 0 {
		return c.Errorf("block_size is %d", block)
	}
	if n, ok := s.size(); len(s.dims) == 0 || block == 0 && len(s.dims) == 1 && ok && n == 1 {
		return nil
	}
	axis, err := c.axisAttr(0)
	if err != nil {
		if block == 0 && len(s.dims) == 1 && !s.dims[0].isConst() {
			return nil // may be one value
		}
		return err
	}
	if block == 0 {
		if len(s.dims) != 1 {
			return c.Errorf("scale has shape %s, want one value or one for each index of axis %d", numsText(s.dims), axis)
		}
		lo, _ := s.dims[0].lower()
		if d, ok := s.dims[0].cmp(x.dims[axis]); ok && d != 0 && lo != 1 {
			return c.Errorf("scale has %s values, axis %d of the input has %s", s.dims[0], axis, x.dims[axis])
		}
		return nil
	}
	bad := len(s.dims) != len(x.dims)
	for i := 0; i < len(s.dims) && !bad; i++ {
		want := x.dims[i]
		if i == axis {
			want = want.ceilDiv(known(int64(block)))
		}
		d, ok := s.dims[i].cmp(want)
		bad = ok && d != 0
	}
	if bad {
		return c.Errorf("scale of shape %s does not fit input %s in blocks of %d on axis %d", numsText(s.dims), numsText(x.dims), block, axis)
	}
	return nil
}

// scaleIndex gives, for every element of x in order, the index of its scale.
func (c *call) scaleIndex() (func() int, error) {
	shape, s := c.t(0).Shape, c.t(1)
	if s.Len() == 1 {
		return func() int { return 0 }, nil
	}
	axis, err := c.axisAttr(0)
	if err != nil {
		return nil, err
	}
	w := newOdometer(shape)
	block := c.intAttr("block_size")
	if block == 0 {
		return func() int {
			i := w.index[axis]
			w.next()
			return i
		}, nil
	}
	st := strides(s.Shape)
	return func() int {
		at := 0
		for a, i := range w.index {
			if a == axis {
				i /= block
			}
			at += i * st[a]
		}
		w.next()
		return at
	}, nil
}

func inferQuantize(c *call) error {
	c.like(0, 0)
	if t := ir.Elem(c.intAttr("output_dtype")); t != 0 {
		if c.out[0].elem != 0 && c.given(2) && c.out[0].elem != t {
			return c.Errorf("zero point is %v, output_dtype is %v", c.out[0].elem, t)
		}
		if !quantized.Has(t) {
			return c.Errorf("output_dtype is %v; want one of %v", t, quantized)
		}
		c.out[0].elem = t
	} else if !c.given(2) {
		c.out[0].elem = ir.Uint8
	}
	if x, s := c.in[0].elem, c.in[1].elem; x == ir.Int32 && s != 0 && !s.IsFloat() && s != ir.Int32 {
		return c.Errorf("scale is %v", s)
	}
	return c.scaleLayout()
}

// evalQuantize is saturate(round(x / scale) + zero point), the division in the
// precision of the operands (attribute precision overrides it), half to even.
func evalQuantize(c *call) error {
	x, scale := floatsOf(c.t(0)), floatsOf(c.t(1))
	next, err := c.scaleIndex()
	if err != nil {
		return err
	}
	prec := ir.Elem(c.intAttr("precision"))
	if prec == 0 {
		if prec = c.in[1].elem; !prec.IsFloat() {
			prec = ir.Float32
		}
	}
	zp := make([]int64, len(scale))
	if c.given(2) {
		zp = intsOf(c.t(2))
	}
	e := c.out[0].elem
	out := make([]int64, len(x))
	for i, v := range x {
		k := next()
		out[i] = quantizeTo(e, roundElem(prec, v/scale[k]), zp[k])
	}
	return put(c, 0, out)
}

// quantizeTo rounds a quotient half to even, adds the zero point and saturates.
// NaN gives the zero point.
func quantizeTo(e ir.Elem, q float64, zp int64) int64 {
	lo, hi := intRange(e)
	if q != q {
		return zp
	}
	return int64(min(max(math.RoundToEven(q)+float64(zp), float64(lo)), float64(hi)))
}

func inferDequantize(c *call) error {
	c.like(0, 0)
	c.out[0].elem = c.in[1].elem
	if t := ir.Elem(c.intAttr("output_dtype")); t != 0 {
		if !scaleTypes.Has(t) {
			return c.Errorf("output_dtype is %v; want one of %v", t, scaleTypes)
		}
		c.out[0].elem = t
	}
	return c.scaleLayout()
}

func evalDequantize(c *call) error {
	x, scale := intsOf(c.t(0)), floatsOf(c.t(1))
	next, err := c.scaleIndex()
	if err != nil {
		return err
	}
	zp := make([]int64, len(scale))
	if c.given(2) {
		zp = intsOf(c.t(2))
	}
	out := make([]float64, len(x))
	for i, v := range x {
		k := next()
		out[i] = float64(v-zp[k]) * scale[k]
	}
	return put(c, 0, out)
}

// evalDynamicQuantize finds an unsigned 8-bit range that holds 0 and all of x.
// Each step is rounded to float32, as the ONNX function body computes it.
func evalDynamicQuantize(c *call) error {
	x := floatsOf(c.t(0))
	lo, hi := 0.0, 0.0
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	scale := float64(float32(float32(hi-lo) / 255))
	zp := int64(0)
	if scale > 0 {
		zp = quantizeTo(ir.Uint8, min(max(float64(float32(-lo/scale)), 0), 255), 0)
	}
	out := make([]int64, len(x))
	for i, v := range x {
		if scale > 0 {
			out[i] = quantizeTo(ir.Uint8, float64(float32(v/scale)), zp)
		}
	}
	if err := put(c, 1, []float64{scale}); err != nil {
		return err
	}
	if err := put(c, 2, []int64{zp}); err != nil {
		return err
	}
	return put(c, 0, out)
}
