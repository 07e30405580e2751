package ops

import (
	"math"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// The examples of the ONNX documentation of Resize, one of each mode, and the
// errors.
func TestResize(t *testing.T) {
	square := func(n int) *ir.Tensor {
		x := make([]float32, n*n)
		for i := range x {
			x[i] = float32(i + 1)
		}
		return ir.Of(x, 1, 1, n, n)
	}
	wide := ir.Of([]float32{1, 2, 3, 4}, 1, 1, 1, 4)
	for _, c := range []struct {
		name  string
		attrs ir.Attrs
		in    []*ir.Tensor
		shape []int
		want  []float64
		err   string
	}{
		{"linear", ir.Attrs{"mode": "linear"}, ts(square(2), nil, f(1, 1, 2, 2)), []int{1, 1, 4, 4},
			[]float64{1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4}, ""},
		{"antialias", ir.Attrs{"mode": "linear", "antialias": int64(1)}, ts(square(4), nil, f(1, 1, 0.6, 0.6)), []int{1, 1, 2, 2},
			[]float64{2.875, 4.5, 9.375, 11}, ""},
		{"cubic without what is outside", ir.Attrs{"mode": "cubic", "cubic_coeff_a": float32(-0.5), "exclude_outside": int64(1)}, ts(square(4), nil, f(1, 1, 0.8, 0.8)), []int{1, 1, 3, 3},
			[]float64{1.36812675, 2.6695014, 4.0133367, 6.573625, 7.875, 9.218835, 11.948966, 13.2503413, 14.5941764}, ""},
		{"crop", ir.Attrs{"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": float32(10)},
			ts(square(4), f(0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7), nil, i(1, 1, 3, 3)), []int{1, 1, 3, 3}, []float64{7.6, 10, 10, 12.4, 10, 10, 10, 10, 10}, ""},
		{"symmetric", ir.Attrs{"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"}, ts(wide, nil, f(1, 1, 1, 0.6)), []int{1, 1, 1, 2},
			[]float64{5.0 / 3, 10.0 / 3}, ""},
		{"one column", ir.Attrs{"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}, ts(square(4), nil, nil, i(1, 1, 3, 1)), []int{1, 1, 3, 1},
			[]float64{5.0 / 3, 7, 37.0 / 3}, ""},
		{"nearest of two axes", ir.Attrs{"axes": ir.Int64s(2, 3)}, ts(square(2), nil, f(1, 2)), []int{1, 1, 2, 4}, []float64{1, 1, 2, 2, 3, 3, 4, 4}, ""},
		{"nearest, ceil", ir.Attrs{"nearest_mode": "ceil", "coordinate_transformation_mode": "asymmetric"}, ts(wide, nil, f(1, 1, 1, 1.5)), []int{1, 1, 1, 6},
			[]float64{1, 2, 3, 3, 4, 4}, ""},
		{"corners", ir.Attrs{"mode": "linear", "coordinate_transformation_mode": "align_corners"}, ts(wide, nil, nil, i(1, 1, 1, 7)), []int{1, 1, 1, 7},
			[]float64{1, 1.5, 2, 2.5, 3, 3.5, 4}, ""},
		{"not larger", ir.Attrs{"axes": ir.Int64s(2, 3), "keep_aspect_ratio_policy": "not_larger"}, ts(square(2), nil, nil, i(3, 2)), []int{1, 1, 2, 2}, []float64{1, 2, 3, 4}, ""},
		{"both", nil, ts(wide, nil, f(1, 1, 1, 1), i(1, 1, 1, 4)), nil, nil, "and not both"},
		{"neither", nil, ts(wide), nil, nil, "must be given"},
		{"scale of 0", nil, ts(wide, nil, f(1, 1, 1, 0)), nil, nil, "must be positive"},
		{"NaN", nil, ts(wide, nil, f(1, 1, 1, float32(math.NaN()))), nil, nil, "must be positive"},
		{"three scales", nil, ts(wide, nil, f(1, 1, 1)), nil, nil, "3 values for 4 axes"},
		{"size of 0", nil, ts(wide, nil, nil, i(1, 1, 1, 0)), nil, nil, "cannot be resized to 0"},
		{"too large", nil, ts(wide, nil, f(1, 1, 1e9, 1e9)), nil, nil, "too large"},
		{"crop without roi", ir.Attrs{"coordinate_transformation_mode": "tf_crop_and_resize"}, ts(wide, nil, f(1, 1, 1, 2)), nil, nil, "needs roi"},
		{"linear of integers", ir.Attrs{"mode": "linear"}, ts(ir.Of([]int32{1, 2}, 2), nil, f(2)), nil, nil, "supported for floats"},
	} {
		got, err := Eval(single("Resize", c.attrs, 1, c.in...), c.in)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: want %q, have %v", c.name, c.err, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for k, w := range c.want {
			if d := math.Abs(got[0].Float(k) - w); !(d <= 1e-6*(1+w)) || got[0].Len() != len(c.want) {
				t.Errorf("%s: %v %v, want %v", c.name, got[0].Shape, got[0].Raw(), c.want)
				break
			}
		}
		if s := got[0].Type().Shape; s.String() != ir.Known(c.shape...).String() {
			t.Errorf("%s: shape %v, want %v", c.name, s, c.shape)
		}
	}
	// Scales of 1 keep a size that is not known.
	g := ir.New("g")
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(3)}))
	n := g.Add("Resize", "y", nil, x, nil, g.AddConst("s", f(1, 2)))
	if _, err := Infer(g); err != nil || n.Out().Type.String() != "f32[batch,6]" {
		t.Errorf("%v, %v", n.Out().Type, err)
	}
}
