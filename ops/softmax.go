package ops

import "math"

// Softmax and its relatives along one axis (opset 13 semantics).
var softmaxOps = []*Op{
	alongAxis("Softmax", 13, func(v []float64, at []int) {
		m, s := softmaxSum(v, at)
		for _, i := range at {
			v[i] = math.Exp(v[i]-m) / s
		}
	}),
	alongAxis("LogSoftmax", 13, func(v []float64, at []int) {
		m, s := softmaxSum(v, at)
		for _, i := range at {
			v[i] = v[i] - m - math.Log(s)
		}
	}),
	alongAxis("Hardmax", 13, func(v []float64, at []int) {
		best := 0
		for k, i := range at {
			if v[i] > v[at[best]] {
				best = k
			}
		}
		for k, i := range at {
			v[i] = 0
			if k == best {
				v[i] = 1
			}
		}
	}),
}

// softmaxSum gives the maximum m and the sum of exp(v-m).
func softmaxSum(v []float64, at []int) (m, s float64) {
	m = math.Inf(-1)
	for _, i := range at {
		m = max(m, v[i])
	}
	for _, i := range at {
		s += math.Exp(v[i] - m)
	}
	return m, s
}

func alongAxis(name string, since int, f func(v []float64, at []int)) *Op {
	return &Op{
		Name: name, Since: since, In: []Param{in("input", "T", floats)}, Out: []Param{in("output", "T", floats)},
		Attrs: []Attr{attrInt("axis", -1)},
		infer: func(c *call) error {
			c.like(0, 0)
			if !c.in[0].ranked {
				return nil
			}
			_, err := c.axisAttr(0)
			return err
		},
		eval: func(c *call) error {
			axis, err := c.axisAttr(0)
			if err != nil {
				return err
			}
			v := floatsOf(c.t(0))
			groups(c.t(0).Shape, axisMask(axis, len(c.t(0).Shape)), func(_ int, at []int) { f(v, at) })
			return put(c, 0, v)
		},
	}
}
