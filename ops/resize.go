package ops

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// Resize, one axis after the other: each element of an axis of the result is a
// weighted sum of elements of the input along that axis.
var resizeOps = []*Op{{
	Name: "Resize", Since: 19,
	In:  []Param{in("X", "T1", classic), opt("roi", "", floats), opt("scales", "", f32), opt("sizes", "", i64)},
	Out: []Param{in("Y", "T1", classic)},
	Attrs: []Attr{
		attrInt("antialias", 0), attrOpt("axes", Ints), attrF("cubic_coeff_a", -0.75), attrInt("exclude_outside", 0), attrF("extrapolation_value", 0),
		attrStr("coordinate_transformation_mode", "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn"),
		attrStr("keep_aspect_ratio_policy", "stretch", "not_larger", "not_smaller"),
		attrStr("mode", "nearest", "linear", "cubic"),
		attrStr("nearest_mode", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
	},
	infer: inferResize, fold: true, eval: evalResize,
}}

// resized is one axis.
type resized struct {
	axis    int
	in, out int
	scale   float64
	roi     [2]float64
}

// resizeAxes gives the axes that Resize names, all without the attribute.
func (c *call) resizeAxes() ([]int, error) {
	rank := len(c.in[0].dims)
	if !c.Attrs.Has("axes") {
		return upTo(rank), nil
	}
	var list []num
	for _, a := range c.Attrs.Ints("axes") {
		list = append(list, known(int64(a)))
	}
	return c.axes(list, rank)
}

func inferResize(c *call) error {
	x := &c.in[0]
	if c.given(2) == c.given(3) {
		return c.Errorf("one of scales and sizes must be given, and not both")
	}
	for i := 1; i < 4; i++ {
		if err := c.vector(i); err != nil {
			return err
		}
	}
	if !x.ranked {
		return nil
	}
	if mode := c.strAttr("mode"); mode != "nearest" && x.elem != 0 && !x.elem.IsFloat() {
		return c.Errorf("mode %s is supported for floats, not for %v", mode, x.elem)
	}
	axes, err := c.resizeAxes()
	if err != nil {
		return err
	}
	given := 3
	if c.given(2) {
		given = 2
	}
	if f := c.arg(given); f.ranked && f.dims[0].isConst() && f.dims[0].c != int64(len(axes)) {
		return c.Errorf("input %d (%s) has %s values for %d axes", given, param(c.op.In, given).Name, f.dims[0], len(axes))
	}
	out := append([]num(nil), x.dims...)
	for _, a := range axes {
		out[a] = num{}
	}
	list, err := c.resizes(axes)
	if err != nil {
		return err
	}
	for i, r := range list {
		out[axes[i]] = known(int64(r.out))
		if r.scale == 1 && c.given(2) {
			out[axes[i]] = x.dims[axes[i]]
		}
	}
	if list == nil && c.given(3) && c.strAttr("keep_aspect_ratio_policy") == "stretch" {
		for i, v := range c.in[3].content() {
			out[axes[i]] = v
		}
	}
	c.shape(0, out...)
	return nil
}

// resizes finds sizes and scales of the axes; nil while they are not known. An
// axis of unknown size is known to keep it when its scale is 1.
func (c *call) resizes(axes []int) ([]resized, error) {
	list := make([]resized, len(axes))
	if c.given(2) {
		t := c.in[2].tensor
		if t == nil || t.Len() != len(axes) {
			return nil, nil
		}
		for i, a := range axes {
			d, s := c.in[0].dims[a], t.Float(i)
			if !(s > 0) || math.IsInf(s, 0) {
				return nil, c.Errorf("scale %v of axis %d: it must be positive", s, a)
			}
			if !d.isConst() {
				if s != 1 {
					return nil, nil
				}
				list[i] = resized{axis: a, in: -1, out: -1, scale: 1}
				continue
			}
			n := math.Floor(float64(d.c) * s)
			if n > float64(maxInferred) {
				return nil, c.Errorf("the result is too large: axis %d of %d elements times %v", a, d.c, s)
			}
			list[i] = resized{axis: a, in: int(d.c), out: int(n), scale: s}
		}
		return list, nil
	}
	sizes, ok := c.constants(3)
	if !ok || len(sizes) != len(axes) {
		return nil, nil
	}
	policy, common := c.strAttr("keep_aspect_ratio_policy"), math.NaN()
	for i, a := range axes {
		d := c.in[0].dims[a]
		if !d.isConst() {
			return nil, nil
		}
		if sizes[i].c < 1 || d.c < 1 {
			return nil, c.Errorf("axis %d of %d elements cannot be resized to %d", a, d.c, sizes[i].c)
		}
		s := float64(sizes[i].c) / float64(d.c)
		if math.IsNaN(common) || policy == "not_larger" && s < common || policy == "not_smaller" && s > common {
			common = s
		}
		list[i] = resized{axis: a, in: int(d.c), out: int(sizes[i].c), scale: s}
	}
	if policy != "stretch" {
		for i := range list {
			list[i].scale = common
			list[i].out = int(math.Floor(common*float64(list[i].in) + 0.5))
		}
	}
	return list, nil
}

// taps are the elements of the input and their weights for one element of the
// result; none where the value is the extrapolation's.
type taps struct {
	at     []int
	weight []float64
}

func evalResize(c *call) error {
	axes, err := c.resizeAxes()
	if err != nil {
		return err
	}
	list, err := c.resizes(axes)
	if err != nil {
		return err
	}
	crop := c.strAttr("coordinate_transformation_mode") == "tf_crop_and_resize"
	if crop {
		roi := c.arg(1).tensor
		if roi == nil || roi.Len() != 2*len(axes) {
			return c.Errorf("tf_crop_and_resize needs roi with %d values", 2*len(axes))
		}
		for i := range list {
			list[i].roi = [2]float64{roi.Float(i), roi.Float(len(axes) + i)}
		}
	}
	nearest := c.strAttr("mode") == "nearest"
	src := c.t(0)
	shape := append([]int(nil), src.Shape...)
	index := make([]int, src.Len())
	for i := range index {
		index[i] = i
	}
	var data []float64
	if !nearest {
		data = make([]float64, src.Len())
		for i := range data {
			data[i] = src.Float(i)
		}
	}
	for _, r := range list {
		if r.in == r.out && r.scale == 1 && !crop {
			continue
		}
		if r.in == 0 && r.out > 0 {
			return c.Errorf("axis %d is empty and cannot be resized", r.axis)
		}
		line := make([]taps, r.out)
		for o := range line {
			line[o] = c.taps(r, o)
		}
		outer, inner := product(shape[:r.axis]), product(shape[r.axis+1:])
		if nearest {
			index = resample(index, outer, r.in, inner, line, func(t taps, at func(int) int) int {
				for i, w := range t.weight {
					if w == 1 {
						return at(t.at[i])
					}
				}
				return -1
			})
		} else {
			fill := c.floatAttr("extrapolation_value")
			data = resample(data, outer, r.in, inner, line, func(t taps, at func(int) float64) float64 {
				if t.at == nil {
					return fill
				}
				sum := 0.0
				for i, w := range t.weight {
					if w != 0 {
						sum += w * at(t.at[i])
					}
				}
				return sum
			})
		}
		shape[r.axis] = r.out
	}
	if !nearest {
		return put(c, 0, data)
	}
	fill, err := pack(src.Elem, []int{1}, []float64{c.floatAttr("extrapolation_value")})
	if err != nil || src.Elem == ir.String {
		fill = src
	}
	return c.moveTo(0, []*ir.Tensor{src, fill}, func(o int) (int, int) {
		if index[o] < 0 {
			return 1, 0
		}
		return 0, index[o]
	})
}

// resample makes the elements of one axis anew.
func resample[T any](x []T, outer, n, inner int, line []taps, f func(t taps, at func(int) T) T) []T {
	y := make([]T, outer*len(line)*inner)
	for o := range outer {
		for j, t := range line {
			for k := range inner {
				y[(o*len(line)+j)*inner+k] = f(t, func(i int) T { return x[(o*n+i)*inner+k] })
			}
		}
	}
	return y
}

// source is the place in the input, in elements, of element o of the result.
func (c *call) source(r resized, o int) float64 {
	x, n, wide := float64(o), float64(r.in), r.scale*float64(r.in) // wide is the size before it was rounded down
	if c.given(3) {
		wide = float64(r.out)
	}
	switch c.strAttr("coordinate_transformation_mode") {
	case "align_corners":
		if wide == 1 {
			return 0
		}
		return x * (n - 1) / (wide - 1)
	case "asymmetric":
		return x / r.scale
	case "tf_half_pixel_for_nn":
		return (x + 0.5) / r.scale
	case "tf_crop_and_resize":
		if wide == 1 {
			return (r.roi[1]-r.roi[0])*(n-1)/2 + r.roi[0]*(n-1)
		}
		return x*(r.roi[1]-r.roi[0])*(n-1)/(wide-1) + r.roi[0]*(n-1)
	case "pytorch_half_pixel":
		if wide == 1 {
			return -0.5
		}
	case "half_pixel_symmetric":
		return n/2*(1-float64(r.out)/wide) + (x+0.5)/r.scale - 0.5
	}
	return (x+0.5)/r.scale - 0.5
}

// taps finds what element o of the result is made of.
func (c *call) taps(r resized, o int) taps {
	x := c.source(r, o)
	if c.strAttr("coordinate_transformation_mode") == "tf_crop_and_resize" && (x < 0 || x > float64(r.in-1)) {
		return taps{}
	}
	base := math.Ceil(x) - 1 // the ratio lies in (0, 1]
	ratio := x - base
	var w []float64
	switch c.strAttr("mode") {
	case "nearest":
		w = nearestWeights(ratio, c.strAttr("nearest_mode"))
	case "linear":
		w = kernelWeights(ratio, c.shrink(r), 1, func(d float64) float64 { return max(0, 1-math.Abs(d)) })
	case "cubic":
		a := c.floatAttr("cubic_coeff_a")
		w = kernelWeights(ratio, c.shrink(r), 2, func(d float64) float64 {
			switch d = math.Abs(d); {
			case d <= 1:
				return ((a+2)*d-(a+3))*d*d + 1
			case d < 2:
				return ((a*d-5*a)*d+8*a)*d - 4*a
			}
			return 0
		})
	}
	first := int(base) - len(w)/2 + 1
	t := taps{make([]int, len(w)), w}
	sum := 0.0
	for i := range w {
		at := first + i
		if c.intAttr("exclude_outside") != 0 && (at < 0 || at >= r.in) {
			w[i] = 0
		}
		sum += w[i]
		t.at[i] = max(0, min(at, r.in-1))
	}
	if c.intAttr("exclude_outside") != 0 && sum != 0 {
		for i := range w {
			w[i] /= sum
		}
	}
	return t
}

// shrink is by how much an antialiased kernel is stretched: the scale where that
// is below 1.
func (c *call) shrink(r resized) float64 {
	if c.intAttr("antialias") == 0 {
		return 1
	}
	return min(r.scale, 1)
}

// nearestWeights chooses the element on the left or on the right.
func nearestWeights(ratio float64, mode string) []float64 {
	right := true
	switch {
	case ratio == 1:
	case mode == "round_prefer_floor":
		right = ratio > 0.5
	case mode == "round_prefer_ceil":
		right = ratio >= 0.5
	case mode == "floor":
		right = false
	}
	if right {
		return []float64{0, 1}
	}
	return []float64{1, 0}
}

// kernelWeights samples a kernel of the given radius, stretched by 1/shrink,
// around the place ratio behind the first of the two middle taps. Stretched
// weights are made to add up to 1.
func kernelWeights(ratio, shrink float64, radius float64, kernel func(float64) float64) []float64 {
	start := int(math.Floor(-radius/shrink)) + 1
	w := make([]float64, 2-2*start)
	sum := 0.0
	for i := range w {
		w[i] = kernel((float64(start+i) - ratio) * shrink)
		sum += w[i]
	}
	if shrink < 1 {
		for i := range w {
			w[i] /= sum
		}
	}
	return w
}
