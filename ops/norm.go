package ops

import (
	"math"
)

var epsilon = attrF("epsilon", 1e-5)

// Normalisations. All of them compute in float64 and round once.
var normOps = []*Op{
	{
		Name: "LayerNormalization", Since: 17, In: []Param{in("X", "T", floats), in("Scale", "T", floats), opt("B", "T", floats)},
		Out:   []Param{in("Y", "T", floats), opt("Mean", "", floats), opt("InvStdDev", "", floats)},
		Attrs: []Attr{attrInt("axis", -1), epsilon, attrInt("stash_type", 1)},
		infer: inferLayerNorm, eval: evalLayerNorm,
		macs: twoPerElement,
	},
	{
		Name: "RMSNormalization", Since: 23, In: []Param{in("X", "", floats), in("scale", "V", floats)}, Out: []Param{in("Y", "V", floats)},
		Attrs: []Attr{attrInt("axis", -1), epsilon, attrInt("stash_type", 1)},
		infer: inferLayerNorm, eval: evalRMSNorm,
		macs: twoPerElement,
	},
	{
		Name: "BatchNormalization", Since: 15,
		In:    []Param{in("X", "T", floats), in("scale", "T1", floats), in("B", "T1", floats), in("input_mean", "T2", floats), in("input_var", "T2", floats)},
		Out:   []Param{in("Y", "T", floats), opt("running_mean", "T2", floats), opt("running_var", "T2", floats)},
		Attrs: []Attr{epsilon, attrF("momentum", 0.9), attrInt("training_mode", 0)},
		infer: inferBatchNorm, eval: evalBatchNorm,
	},
	{
		Name: "InstanceNormalization", Since: 22, In: []Param{in("input", "T", floats), in("scale", "T", floats), in("B", "T", floats)},
		Out: []Param{in("output", "T", floats)}, Attrs: []Attr{epsilon},
		infer: inferChannelNorm, eval: func(c *call) error { return evalGroups(c, c.t(0).Shape[1]) },
	},
	{
		Name: "GroupNormalization", Since: 21, In: []Param{in("X", "T", floats), in("scale", "T", floats), in("bias", "T", floats)},
		Out: []Param{in("Y", "T", floats)}, Attrs: []Attr{epsilon, attrReq("num_groups", Int), attrInt("stash_type", 1)},
		infer: inferGroupNorm, eval: func(c *call) error { return evalGroups(c, c.intAttr("num_groups")) },
	},
	{
		Name: "MeanVarianceNormalization", Since: 13, In: []Param{in("X", "T", floats)}, Out: []Param{in("Y", "T", floats)},
		Attrs: []Attr{{Name: "axes", Kind: Ints, Default: []int64{0, 2, 3}}},
		infer: inferMVN, eval: evalMVN,
	},
	alongAxis("LpNormalization", 22, nil).lpNorm(),
	{
		Name: "LRN", Since: 13, In: []Param{in("X", "T", floats)}, Out: []Param{in("Y", "T", floats)},
		Attrs: []Attr{attrF("alpha", 0.0001), attrF("beta", 0.75), attrF("bias", 1), attrReq("size", Int)},
		infer: func(c *call) error {
			c.like(0, 0)
			if n := c.intAttr("size"); n < 1 {
				return c.Errorf("size is %d", n)
			}
			return c.wantRank(0, 2, -1)
		},
		eval: evalLRN,
	},
}

// channelVectors checks that inputs 1.. are [C] for an input [N, C, ...].
func (c *call) channelVectors() error {
	f := &c.in[0]
	if err := c.wantRank(0, 2, -1); err != nil || !f.ranked {
		return err
	}
	for i := 1; i < len(c.in); i++ {
		if err := c.vector(i); err != nil {
			return err
		}
		if p := &c.in[i]; p.ranked {
			if s, ok := p.dims[0].cmp(f.dims[1]); ok && s != 0 {
				return c.Errorf("input %d (%s) has %s values for %s channels", i, param(c.op.In, i).Name, p.dims[0], f.dims[1])
			}
		}
	}
	return nil
}

func inferBatchNorm(c *call) error {
	c.like(0, 0)
	if len(c.out) > 1 && c.intAttr("training_mode") == 0 {
		return c.Errorf("running statistics need training_mode 1")
	}
	for k := 1; k < len(c.out); k++ {
		c.like(k, 2+k)
	}
	return c.channelVectors()
}

func evalBatchNorm(c *call) error {
	shape, v := c.t(0).Shape, floatsOf(c.t(0))
	scale, bias := floatsOf(c.t(1)), floatsOf(c.t(2))
	mean, variance := floatsOf(c.t(3)), floatsOf(c.t(4))
	if c.intAttr("training_mode") != 0 {
		keep := c.floatAttr("momentum")
		mask := make([]bool, len(shape))
		for a := range mask {
			mask[a] = a != 1
		}
		runMean, runVar := make([]float64, len(mean)), make([]float64, len(mean))
		groups(shape, mask, func(ch int, at []int) {
			row := make([]float64, len(at))
			for k, i := range at {
				row[k] = v[i]
			}
			m, s := moments(row)
			runMean[ch] = mean[ch]*keep + m*(1-keep)
			runVar[ch] = variance[ch]*keep + s*(1-keep)
			mean[ch], variance[ch] = m, s
		})
		for k, r := range [][]float64{runMean, runVar} {
			if c.wanted(k + 1) {
				if err := put(c, k+1, r); err != nil {
					return err
				}
			}
		}
	}
	area, eps := product(shape[2:]), c.floatAttr("epsilon")
	for i := range v {
		ch := i / area % shape[1]
		v[i] = (v[i]-mean[ch])/math.Sqrt(variance[ch]+eps)*scale[ch] + bias[ch]
	}
	return put(c, 0, v)
}

func inferChannelNorm(c *call) error {
	c.like(0, 0)
	return c.channelVectors()
}

func inferGroupNorm(c *call) error {
	n := c.intAttr("num_groups")
	if n < 1 {
		return c.Errorf("num_groups is %d", n)
	}
	if err := inferChannelNorm(c); err != nil || !c.in[0].ranked {
		return err
	}
	if ch := c.in[0].dims[1]; ch.isConst() && ch.c%int64(n) != 0 {
		return c.Errorf("%s channels do not divide into %d groups", ch, n)
	}
	return nil
}

// evalGroups normalises over each of n groups of channels, then scales and
// shifts each channel.
func evalGroups(c *call, n int) error {
	shape, v := c.t(0).Shape, floatsOf(c.t(0))
	scale, bias := floatsOf(c.t(1)), floatsOf(c.t(2))
	size, eps, area := product(shape[1:])/max(n, 1), c.floatAttr("epsilon"), product(shape[2:])
	for g := range shape[0] * n {
		row := v[g*size : (g+1)*size]
		mean, variance := moments(row)
		for i := range row {
			row[i] = (row[i] - mean) / math.Sqrt(variance+eps)
		}
	}
	for i := range v {
		ch := i / area % shape[1]
		v[i] = v[i]*scale[ch] + bias[ch]
	}
	return put(c, 0, v)
}

// mvnMask marks the axes of MeanVarianceNormalization.
func mvnMask(c *call) ([]bool, error) {
	list := []num{known(0), known(2), known(3)}
	if c.Attrs.Has("axes") {
		list = nil
		for _, a := range c.Attrs.Ints("axes") {
			list = append(list, known(int64(a)))
		}
	}
	rank := len(c.in[0].dims)
	axes, err := c.axes(list, rank)
	mask := make([]bool, rank)
	for _, a := range axes {
		mask[a] = true
	}
	return mask, err
}

func inferMVN(c *call) error {
	c.like(0, 0)
	if !c.in[0].ranked {
		return nil
	}
	_, err := mvnMask(c)
	return err
}

// evalMVN divides by the standard deviation plus 1e-9, as the ONNX function
// body does.
func evalMVN(c *call) error {
	mask, err := mvnMask(c)
	if err != nil {
		return err
	}
	v := floatsOf(c.t(0))
	groups(c.t(0).Shape, mask, func(_ int, at []int) {
		row := make([]float64, len(at))
		for k, i := range at {
			row[k] = v[i]
		}
		mean, variance := moments(row)
		for _, i := range at {
			v[i] = (v[i] - mean) / (math.Sqrt(variance) + 1e-9)
		}
	})
	return put(c, 0, v)
}

// lpNorm makes LpNormalization out of an operator along one axis.
func (o *Op) lpNorm() *Op {
	o.Attrs = append(o.Attrs, attrInt("p", 2))
	check := o.infer
	o.infer = func(c *call) error {
		if p := c.intAttr("p"); p != 1 && p != 2 {
			return c.Errorf("p is %d, want 1 or 2", p)
		}
		return check(c)
	}
	o.eval = func(c *call) error {
		axis, err := c.axisAttr(0)
		if err != nil {
			return err
		}
		p, v := c.intAttr("p"), floatsOf(c.t(0))
		groups(c.t(0).Shape, axisMask(axis, len(c.t(0).Shape)), func(_ int, at []int) {
			s := 0.0
			for _, i := range at {
				if p == 1 {
					s += math.Abs(v[i])
				} else {
					s += v[i] * v[i]
				}
			}
			if p == 2 {
				s = math.Sqrt(s)
			}
			for _, i := range at {
				if s != 0 {
					v[i] /= s
				}
			}
		})
		return put(c, 0, v)
	}
	return o
}

func evalLRN(c *call) error {
	shape, v := c.t(0).Shape, floatsOf(c.t(0))
	n := c.intAttr("size")
	alpha, beta, bias := c.floatAttr("alpha"), c.floatAttr("beta"), c.floatAttr("bias")
	area := product(shape[2:])
	out := make([]float64, len(v))
	for i := range v {
		ch := i / area % shape[1]
		s := 0.0
		for k := max(0, ch-(n-1)/2); k <= min(shape[1]-1, ch+n/2); k++ {
			x := v[i+(k-ch)*area]
			s += x * x
		}
		out[i] = v[i] / math.Pow(bias+alpha/float64(n)*s, beta)
	}
	return put(c, 0, out)
}
