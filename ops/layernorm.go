package ops

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

func twoPerElement(c *call) (int64, bool) {
	n, ok := c.out[0].size()
	if !ok {
		return 0, false
	}
	return mulInt(n, 2)
}

func inferLayerNorm(c *call) error {
	f := &c.in[0]
	c.like(0, 0)
	stats := ir.Elem(c.intAttr("stash_type"))
	for k := 1; k < len(c.out); k++ {
		c.out[k].elem = stats
	}
	if stats != ir.Float32 && stats != ir.BFloat16 {
		return c.Errorf("stash_type is %d, want 1 (f32) or 16 (bf16)", stats)
	}
	if !f.ranked {
		return nil
	}
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	for i := 1; i < 3; i++ {
		if err := c.unidirectional(i, f.dims); err != nil {
			return err
		}
	}
	if len(c.out) > 1 {
		mask := make([]bool, len(f.dims))
		for a := axis; a < len(mask); a++ {
			mask[a] = true
		}
		for k := 1; k < len(c.out); k++ {
			c.reducedShape(k, f.dims, mask, true)
		}
	}
	return nil
}

// moments gives the mean and the biased variance.
func moments(v []float64) (mean, variance float64) {
	mean = sum(v) / float64(len(v))
	for _, x := range v {
		variance += (x - mean) * (x - mean)
	}
	return mean, variance / float64(len(v))
}

func evalLayerNorm(c *call) error {
	shape := c.t(0).Shape
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	v, eps := floatsOf(c.t(0)), c.floatAttr("epsilon")
	n, rows := product(shape[axis:]), product(shape[:axis])
	means, invs := make([]float64, rows), make([]float64, rows)
	for r := range rows {
		row := v[r*n : (r+1)*n]
		mean, variance := moments(row)
		means[r], invs[r] = mean, 1/math.Sqrt(variance+eps)
		for i := range row {
			row[i] = (row[i] - mean) * invs[r]
		}
	}
	affine(c, v, shape)
	if c.wanted(1) {
		if err := put(c, 1, means); err != nil {
			return err
		}
	}
	if c.wanted(2) {
		if err := put(c, 2, invs); err != nil {
			return err
		}
	}
	return put(c, 0, v)
}

// affine multiplies by input 1 and adds input 2, both broadcast.
func affine(c *call, v []float64, shape []int) {
	for i, s := range wideOf[float64](c.t(1), shape) {
		v[i] *= s
	}
	if c.given(2) {
		for i, b := range wideOf[float64](c.t(2), shape) {
			v[i] += b
		}
	}
}

func evalRMSNorm(c *call) error {
	shape := c.t(0).Shape
	axis, err := c.axisAttr(0)
	if err != nil {
		return err
	}
	v, eps := floatsOf(c.t(0)), c.floatAttr("epsilon")
	n := product(shape[axis:])
	for r := range product(shape[:axis]) {
		row := v[r*n : (r+1)*n]
		s := 0.0
		for _, x := range row {
			s += x * x
		}
		inv := 1 / math.Sqrt(s/float64(n)+eps)
		for i := range row {
			row[i] *= inv
		}
	}
	affine(c, v, shape)
	return put(c, 0, v)
}
