package ops

import "math"

// Activation functions on floats.
var activationOps = []*Op{
	unary("Relu", nil).integer(func(a float64) float64 { return max(a, 0) }, func(a int64) int64 { return max(a, 0) }),
	unary("Tanh", math.Tanh),
	unary("Sigmoid", sigmoid),
	unary("Softplus", func(a float64) float64 { return max(a, 0) + math.Log1p(math.Exp(-math.Abs(a))) }),
	unary("Softsign", func(a float64) float64 { return a / (1 + math.Abs(a)) }),
	unary("Mish", func(a float64) float64 { return a * math.Tanh(max(a, 0)+math.Log1p(math.Exp(-math.Abs(a)))) }),
	unary("HardSwish", func(a float64) float64 { return a * max(0, min(1, a/6+0.5)) }),
	{
		Name: "Gelu", Since: 20, In: []Param{in("X", "T", floats)}, Out: []Param{in("Y", "T", floats)},
		Attrs: []Attr{attrStr("approximate", "none", "tanh")},
		infer: inferSame, fold: true, eval: evalGelu,
	},
	shaped("Elu", 22, []Attr{attrF("alpha", 1)}, func(c *call) func(float64) float64 {
		alpha := c.floatAttr("alpha")
		return func(a float64) float64 {
			if a < 0 {
				return alpha * math.Expm1(a)
			}
			return a
		}
	}),
	shaped("Celu", 12, []Attr{attrF("alpha", 1)}, func(c *call) func(float64) float64 {
		alpha := c.floatAttr("alpha")
		return func(a float64) float64 { return max(0, a) + min(0, alpha*math.Expm1(a/alpha)) }
	}),
	shaped("Selu", 22, []Attr{attrF("alpha", 1.67326319217681884765625), attrF("gamma", 1.05070102214813232421875)}, func(c *call) func(float64) float64 {
		alpha, gamma := c.floatAttr("alpha"), c.floatAttr("gamma")
		return func(a float64) float64 {
			if a <= 0 {
				return gamma * alpha * math.Expm1(a)
			}
			return gamma * a
		}
	}),
	shaped("LeakyRelu", 16, []Attr{attrF("alpha", 0.01)}, func(c *call) func(float64) float64 {
		alpha := c.floatAttr("alpha")
		return func(a float64) float64 {
			if a < 0 {
				return alpha * a
			}
			return a
		}
	}),
	shaped("ThresholdedRelu", 22, []Attr{attrF("alpha", 1)}, func(c *call) func(float64) float64 {
		alpha := c.floatAttr("alpha")
		return func(a float64) float64 {
			if a > alpha || a != a {
				return a
			}
			return 0
		}
	}),
	shaped("HardSigmoid", 22, []Attr{attrF("alpha", 0.2), attrF("beta", 0.5)}, func(c *call) func(float64) float64 {
		alpha, beta := c.floatAttr("alpha"), c.floatAttr("beta")
		return func(a float64) float64 { return max(0, min(1, alpha*a+beta)) }
	}),
	shaped("Swish", 24, []Attr{attrF("alpha", 1)}, func(c *call) func(float64) float64 {
		alpha := c.floatAttr("alpha")
		return func(a float64) float64 { return a * sigmoid(alpha*a) }
	}),
	{
		Name: "PRelu", Since: 16, In: []Param{in("X", "T", wide), in("slope", "T", wide)}, Out: []Param{in("Y", "T", wide)},
		infer: inferPRelu, fold: true,
		eval: binary{prelu[float64], prelu[int64], func(a, _ uint64) uint64 { return a }}.eval,
	},
}

// integer adds the integer types to a unary operator of floats.
func (o *Op) integer(f func(float64) float64, i func(int64) int64) *Op {
	return unaryInt(o.Name, floats|signed, f, i, nil, nil)
}

// shaped is a float activation with parameters.
func shaped(name string, since int, attrs []Attr, make func(c *call) func(float64) float64) *Op {
	return &Op{
		Name: name, Since: since, In: []Param{in("X", "T", floats)}, Out: []Param{in("Y", "T", floats)}, Attrs: attrs,
		infer: inferSame, fold: true, eval: func(c *call) error { return mapped(c, make(c)) },
	}
}

func sigmoid(a float64) float64 { return 1 / (1 + math.Exp(-a)) }

func evalGelu(c *call) error {
	if c.strAttr("approximate") == "tanh" {
		return mapped(c, func(a float64) float64 {
			return 0.5 * a * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(a+0.044715*a*a*a)))
		})
	}
	return mapped(c, func(a float64) float64 { return 0.5 * a * math.Erfc(-a/math.Sqrt2) })
}

func inferPRelu(c *call) error {
	if c.in[0].ranked {
		if err := c.unidirectional(1, c.in[0].dims); err != nil {
			return err
		}
	}
	return inferSame(c)
}

func prelu[T float64 | int64](a, slope T) T {
	if a < 0 {
		return slope * a
	}
	return a
}
