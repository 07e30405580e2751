package ops

import (
	"math"
)

// Products of quantised operands.
var qlinearOps = []*Op{
	{
		Name: "MatMulInteger", Since: 10,
		In:    []Param{in("A", "T1", bytes8), in("B", "T2", bytes8), opt("a_zero_point", "T1", bytes8), opt("b_zero_point", "T2", bytes8)},
		Out:   []Param{in("Y", "", i32)},
		infer: func(c *call) error { return c.inferMatMul(0, 1) }, eval: evalMatMulInteger,
		macs: func(c *call) (int64, bool) { return c.matmulMACs(0) },
	},
	{
		Name: "QLinearMatMul", Since: 21,
		In: []Param{in("a", "T1", bytes8), in("a_scale", "TS", scaleTypes), in("a_zero_point", "T1", bytes8),
			in("b", "T2", bytes8), in("b_scale", "TS", scaleTypes), in("b_zero_point", "T2", bytes8),
			in("y_scale", "TS", scaleTypes), in("y_zero_point", "T3", bytes8)},
		Out:   []Param{in("y", "T3", bytes8)},
		infer: func(c *call) error { return c.inferMatMul(0, 3) }, eval: evalQLinearMatMul,
		macs: func(c *call) (int64, bool) { return c.matmulMACs(0) },
	},
	{
		Name: "ConvInteger", Since: 10,
		In:    []Param{in("x", "T1", bytes8), in("w", "T2", bytes8), opt("x_zero_point", "T1", bytes8), opt("w_zero_point", "T2", bytes8)},
		Out:   []Param{in("y", "", i32)},
		Attrs: convAttrs,
		infer: func(c *call) error { return c.inferConv(0, 1, -1) }, eval: evalConvInteger,
		macs: func(c *call) (int64, bool) { return c.convMACs(1) },
	},
	{
		Name: "QLinearConv", Since: 10,
		In: []Param{in("x", "T1", bytes8), in("x_scale", "", f32), in("x_zero_point", "T1", bytes8),
			in("w", "T2", bytes8), in("w_scale", "", f32), in("w_zero_point", "T2", bytes8),
			in("y_scale", "", f32), in("y_zero_point", "T3", bytes8), opt("B", "", i32)},
		Out:   []Param{in("y", "T3", bytes8)},
		Attrs: convAttrs,
		infer: func(c *call) error { return c.inferConv(0, 3, 8) }, eval: evalQLinearConv,
		macs: func(c *call) (int64, bool) { return c.convMACs(3) },
	},
}

// perVector spreads a per-tensor, per-row or per-column parameter over a matrix
// operand: axis is the matrix axis (from the end) that a 1-D parameter runs
// along. Other shapes broadcast as they are.
func (c *call) perVector(p, of, axis int) ([]int64, error) {
	t, shape := c.t(p), c.t(of).Shape
	if t == nil {
		return make([]int64, product(shape)), nil
	}
	view := t.Shape
	if t.Len() == 1 {
		view = nil
	} else if len(view) == 1 && axis == 2 && len(shape) >= 2 {
		view = []int{view[0], 1}
	}
	r, err := t.Reshaped(view...)
	if err != nil {
		return nil, c.Errorf("%v", err)
	}
	s, ok := broadcastShapes(tensorFact(c.t(of)).dims, tensorFact(r).dims)
	if !ok || len(s) != len(shape) || !sameSizes(s, shape) {
		return nil, c.Errorf("input %d (%s) of shape %v does not fit its operand of shape %v", p, param(c.op.In, p).Name, t.Shape, shape)
	}
	return wideOf[int64](r, shape), nil
}

func sameSizes(d []num, shape []int) bool {
	for i := range d {
		if !d[i].is(int64(shape[i])) {
			return false
		}
	}
	return true
}

// centred reads integer operand x less its zero point.
func (c *call) centred(x, zp, axis int) ([]int64, error) {
	v := intsOf(c.t(x))
	z, err := c.perVector(zp, x, axis)
	if err != nil {
		return nil, err
	}
	for i := range v {
		v[i] -= z[i]
	}
	return v, nil
}

func evalMatMulInteger(c *call) error {
	out, err := c.integerProduct(0, 2, 1, 3)
	if err != nil {
		return err
	}
	return put(c, 0, out)
}

// integerProduct multiplies operands a and b, zero points taken off: one for
// each row of a, one for each column of b, or one in all.
func (c *call) integerProduct(a, az, b, bz int) ([]int64, error) {
	x, err := c.centred(a, az, 2)
	if err != nil {
		return nil, err
	}
	y, err := c.centred(b, bz, 1)
	if err != nil {
		return nil, err
	}
	return product2(x, y, c.t(a).Shape, c.t(b).Shape), nil
}

// evalQLinearMatMul rescales the integer product by a_scale*b_scale/y_scale and
// rounds half to even.
func evalQLinearMatMul(c *call) error {
	acc, err := c.integerProduct(0, 2, 3, 5)
	if err != nil {
		return err
	}
	shape := c.sizes(0)
	as, err := c.resultScale(1, 2, shape)
	if err != nil {
		return err
	}
	bs, err := c.resultScale(4, 1, shape)
	if err != nil {
		return err
	}
	ys, err := c.resultScale(6, 2, shape)
	if err != nil {
		return err
	}
	yz, err := c.resultScale(7, 2, shape)
	if err != nil {
		return err
	}
	for i := range acc {
		acc[i] = quantizeTo(c.out[0].elem, float64(acc[i])*as[i]*bs[i]/ys[i], int64(yz[i]))
	}
	return put(c, 0, acc)
}

// resultScale spreads parameter p over the product: along rows (axis 2) or
// columns (axis 1).
func (c *call) resultScale(p, axis int, shape []int) ([]float64, error) {
	t := c.t(p)
	view := t.Shape
	if t.Len() == 1 {
		view = nil
	} else if len(view) == 1 && axis == 2 {
		view = []int{view[0], 1}
	}
	r, err := t.Reshaped(view...)
	if err != nil {
		return nil, c.Errorf("%v", err)
	}
	out := tensorFact(r)
	dims := make([]num, len(shape))
	for i, d := range shape {
		dims[i] = known(int64(d))
	}
	if s, ok := broadcastShapes(dims, out.dims); !ok || len(s) != len(shape) || !sameSizes(s, shape) {
		return nil, c.Errorf("input %d (%s) of shape %v does not fit the result %v", p, param(c.op.In, p).Name, t.Shape, shape)
	}
	return wideOf[float64](r, shape), nil
}

func evalConvInteger(c *call) error {
	out, err := c.integerConv(0, 2, 1, 3)
	if err != nil {
		return err
	}
	return put(c, 0, out)
}

// integerConv convolves x and w, zero points taken off; padding stands for the
// zero point. The zero point of w is one value or one for each output channel.
func (c *call) integerConv(x, xz, w, wz int) ([]int64, error) {
	if c.given(xz) && c.t(xz).Len() != 1 {
		return nil, c.Errorf("input %d (%s) must hold one element", xz, param(c.op.In, xz).Name)
	}
	xv, wv := intsOf(c.t(x)), intsOf(c.t(w))
	if c.given(xz) {
		z := c.t(xz).Int(0)
		for i := range xv {
			xv[i] -= z
		}
	}
	if c.given(wz) {
		z, err := c.perChannel(wz, c.t(w).Shape[0])
		if err != nil {
			return nil, err
		}
		per := product(c.t(w).Shape[1:])
		for i := range wv {
			wv[i] -= int64(z[i/per])
		}
	}
	return convolve(c, xv, wv, x, w)
}

// perChannel reads a parameter of one value or n values as n floats.
func (c *call) perChannel(p, n int) ([]float64, error) {
	v := floatsOf(c.t(p))
	if len(v) == 1 {
		out := make([]float64, n)
		for i := range out {
			out[i] = v[0]
		}
		return out, nil
	}
	if len(v) != n {
		return nil, c.Errorf("input %d (%s) has %d values, want 1 or %d", p, param(c.op.In, p).Name, len(v), n)
	}
	return v, nil
}

func evalQLinearConv(c *call) error {
	for _, i := range []int{1, 6, 7} {
		if c.t(i).Len() != 1 {
			return c.Errorf("input %d (%s) must hold one element", i, param(c.op.In, i).Name)
		}
	}
	acc, err := c.integerConv(0, 2, 3, 5)
	if err != nil {
		return err
	}
	shape := c.sizes(0)
	if c.given(8) {
		addPerChannel(acc, intsOf(c.t(8)), shape)
	}
	ws, err := c.perChannel(4, shape[1])
	if err != nil {
		return err
	}
	area, yz := product(shape[2:]), c.t(7).Int(0)
	for i := range acc {
		q := float64(acc[i]) * c.t(1).Float(0) * ws[i/area%shape[1]] / c.t(6).Float(0)
		acc[i] = quantizeTo(c.out[0].elem, q, yz)
	}
	return put(c, 0, acc)
}

// codeRange is the range of b-bit codes: signed [-2^(b-1), 2^(b-1)-1] or
// unsigned [0, 2^b-1].
func codeRange(bits int, signed bool) (lo, hi float64) {
	if signed {
		return -math.Ldexp(1, bits-1), math.Ldexp(1, bits-1) - 1
	}
	return 0, math.Ldexp(1, bits) - 1
}
