package ops

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// Operators that make tensors from sizes, and triangles of matrices.
var generateOps = []*Op{
	{
		Name: "ConstantOfShape", Since: 25, In: []Param{in("input", "", i64)}, Out: []Param{{Name: "output", Types: anyType}},
		Attrs: []Attr{attrOpt("value", Tensor)},
		infer: inferConstantOfShape, content: contentConstantOfShape, fold: true, eval: evalConstantOfShape,
	},
	{
		Name: "Range", Since: 27, In: []Param{in("start", "T", floats|index|set(ir.Int16)), in("limit", "T", floats|index|set(ir.Int16)), in("delta", "T", floats|index|set(ir.Int16))},
		Out:   []Param{in("output", "T", floats|index|set(ir.Int16))},
		Attrs: []Attr{attrInt("stash_type", 1)},
		infer: inferRange, fold: true, eval: evalRange,
	},
	{
		Name: "EyeLike", Since: 22, In: []Param{in("input", "", numeric|boolean)}, Out: []Param{{Name: "output", Types: numeric | boolean}},
		Attrs: []Attr{attrOpt("dtype", Int), attrInt("k", 0)},
		infer: inferEyeLike, eval: evalEyeLike,
	},
	{
		Name: "OneHot", Since: 11, In: []Param{in("indices", "", numeric), in("depth", "", numeric), in("values", "T", classic)},
		Out:   []Param{in("output", "T", classic)},
		Attrs: []Attr{attrInt("axis", -1)},
		infer: inferOneHot, eval: evalOneHot,
	},
	{
		Name: "Trilu", Since: 14, In: []Param{in("input", "T", classic), opt("k", "", i64)}, Out: []Param{in("output", "T", classic)},
		Attrs: []Attr{attrInt("upper", 1)},
		infer: func(c *call) error {
			if err := c.single(1); err != nil {
				return err
			}
			c.like(0, 0)
			return c.wantRank(0, 2, -1)
		},
		fold: true, eval: evalTrilu,
	},
	{
		Name: "NonZero", Since: 13, In: []Param{in("X", "", classic)}, Out: []Param{in("Y", "", i64)},
		infer: inferNonZero, fold: true, eval: evalNonZero,
	},
}

func inferConstantOfShape(c *call) error {
	c.out[0].elem = ir.Float32
	if v := c.Attrs.Tensor("value"); v != nil {
		if v.Len() != 1 {
			return c.Errorf("attribute value must hold one element, has shape %v", v.Shape)
		}
		c.out[0].elem = v.Elem
	}
	if err := c.vector(0); err != nil {
		return err
	}
	dims := c.in[0].content()
	if dims == nil {
		if n, ok := c.in[0].size(); ok {
			if n > MaxRank {
				return c.Errorf("the result has rank %d; the limit is %d", n, MaxRank)
			}
			c.shape(0, make([]num, n)...)
		}
		return nil
	}
	c.shape(0, dims...)
	return nil
}

func constantValue(c *call) *ir.Tensor {
	if v := c.Attrs.Tensor("value"); v != nil {
		return v
	}
	return ir.Scalar(float32(0))
}

// contentConstantOfShape serves shapes that are known although the content of
// the input was not followed as a tensor.
func contentConstantOfShape(c *call) {
	n, _ := c.out[0].size()
	one := tensorFact(constantValue(c))
	v := one.content()
	if v == nil {
		return
	}
	c.out[0].vals = make([]num, n)
	for i := range c.out[0].vals {
		c.out[0].vals[i] = v[0]
	}
}

func evalConstantOfShape(c *call) error {
	return c.moveTo(0, []*ir.Tensor{constantValue(c)}, func(int) (int, int) { return 0, 0 })
}

func inferRange(c *call) error {
	c.shape(0, unknown)
	for i := range 3 {
		if err := c.single(i); err != nil {
			return err
		}
	}
	if a, b, d := c.in[0].tensor, c.in[1].tensor, c.in[2].tensor; a != nil && b != nil && d != nil {
		n, err := rangeLen(c, a, b, d)
		c.shape(0, known(n))
		return err
	}
	a, b, d := c.in[0].content(), c.in[1].content(), c.in[2].content()
	if a != nil && b != nil && d != nil && d[0].isConst() && d[0].c > 0 {
		c.shape(0, maxNum(known(0), b[0].sub(a[0]).ceilDiv(d[0])))
	}
	return nil
}

// rangeLen is max(ceil((limit-start)/delta), 0).
func rangeLen(c *call, a, b, d *ir.Tensor) (int64, error) {
	if d.Float(0) == 0 {
		return 0, c.Errorf("delta must not be 0")
	}
	if a.Elem.IsFloat() {
		n := math.Ceil((b.Float(0) - a.Float(0)) / d.Float(0))
		if n != n || n > 1<<40 {
			return 0, c.Errorf("range from %v to %v by %v is too large", a.Float(0), b.Float(0), d.Float(0))
		}
		return int64(max(n, 0)), nil
	}
	lo, hi, step := a.Int(0), b.Int(0), d.Int(0)
	if step < 0 {
		lo, hi = hi, lo
	}
	if hi <= lo {
		return 0, nil
	}
	n := (uint64(hi)-uint64(lo)-1)/magnitude(step) + 1
	if n > 1<<40 {
		return 0, c.Errorf("range from %d to %d by %d is too large", a.Int(0), b.Int(0), step)
	}
	return int64(n), nil
}

func evalRange(c *call) error {
	n := c.sizes(0)[0]
	if c.in[0].elem.IsFloat() {
		a, d := c.t(0).Float(0), c.t(2).Float(0)
		v := make([]float64, n)
		for i := range v {
			v[i] = a + float64(i)*d
		}
		return put(c, 0, v)
	}
	a, d := c.t(0).Int(0), c.t(2).Int(0)
	v := make([]int64, n)
	for i := range v {
		v[i] = a + int64(i)*d
	}
	return put(c, 0, v)
}

func inferEyeLike(c *call) error {
	c.out[0].elem = c.in[0].elem
	if c.Attrs.Has("dtype") {
		c.out[0].elem = ir.Elem(c.intAttr("dtype"))
		if !(numeric | boolean).Has(c.out[0].elem) {
			return c.Errorf("attribute dtype is %d", c.intAttr("dtype"))
		}
	}
	c.like(0, 0)
	return c.wantRank(0, 2, 2)
}

func evalEyeLike(c *call) error {
	s, k := c.sizes(0), c.intAttr("k")
	v := make([]int64, product(s))
	for i := range s[0] {
		if j := i + k; j >= 0 && j < s[1] {
			v[i*s[1]+j] = 1
		}
	}
	if c.out[0].elem.IsFloat() {
		f := make([]float64, len(v))
		for i := range v {
			f[i] = float64(v[i])
		}
		return put(c, 0, f)
	}
	return put(c, 0, v)
}

func inferOneHot(c *call) error {
	if n, ok := c.in[2].size(); ok && n != 2 {
		return c.Errorf("values must be [off, on], has %d elements", n)
	}
	if err := c.single(1); err != nil {
		return err
	}
	f := &c.in[0]
	if !f.ranked {
		return nil
	}
	axis, err := c.axisOf(c.intAttr("axis"), len(f.dims)+1)
	if err != nil {
		return err
	}
	depth := unknown
	if v := c.in[1].content(); v != nil {
		depth = v[0]
	}
	out := append(append(append([]num(nil), f.dims[:axis]...), depth), f.dims[axis:]...)
	c.shape(0, out...)
	return nil
}

func evalOneHot(c *call) error {
	if !c.out[0].dims[0].ok {
		return c.Errorf("depth must be a whole number")
	}
	axis, err := c.axisOf(c.intAttr("axis"), len(c.t(0).Shape)+1)
	if err != nil {
		return err
	}
	shape, idx := c.sizes(0), floatsOf(c.t(0))
	depth, inner := shape[axis], product(shape[axis+1:])
	return c.take(0, 2, func(o int) int {
		i := int(idx[o/(inner*depth)*inner+o%inner])
		if i < 0 {
			i += depth
		}
		if i == o/inner%depth {
			return 1
		}
		return 0
	})
}

func evalTrilu(c *call) error {
	k := 0
	if c.given(1) {
		k = int(max(min(c.t(1).Int(0), 1<<30), -1<<30))
	}
	upper := c.intAttr("upper") != 0
	s := c.sizes(0)
	rows, cols := s[len(s)-2], s[len(s)-1]
	return c.moveTo(0, []*ir.Tensor{c.t(0)}, func(o int) (int, int) {
		d := o%cols - o/cols%rows
		if upper && d < k || !upper && d > k {
			return -1, 0
		}
		return 0, o
	})
}

func inferNonZero(c *call) error {
	f := &c.in[0]
	rank := unknown
	if f.ranked {
		rank = known(int64(max(len(f.dims), 0)))
	}
	count := unknown
	if f.tensor != nil {
		count = known(int64(len(nonZero(f.tensor))))
	}
	c.shape(0, rank, count)
	return nil
}

func nonZero(t *ir.Tensor) []int {
	var out []int
	for i := range t.Len() {
		if t.Elem == ir.String && ir.Data[string](t)[i] != "" || t.Elem != ir.String && t.Float(i) != 0 {
			out = append(out, i)
		}
	}
	return out
}

func evalNonZero(c *call) error {
	at, shape := nonZero(c.t(0)), c.t(0).Shape
	st := strides(shape)
	out := make([]int64, len(at)*len(shape))
	for i, o := range at {
		for a := range shape {
			out[a*len(at)+i] = int64(o / st[a] % shape[a])
		}
	}
	return put(c, 0, out)
}
