package runtime

import (
	"math"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// unary is a function of one variable applied to each element. keepX and keepY
// say whether the gradient needs the argument or the result.
type unary struct {
	base
	x, y int
	dx   grad
	fn   unaryFn
	p, q float32 // parameters of fn
	gelu bool    // fn is GELU in its exact form
}

type unaryFn struct {
	forward      func(y, x []float32, p, q float32)
	backward     func(dx, x, y, dy []float32, p, q float32, acc bool)
	keepX, keepY bool
}

func (u *unary) forward(s *State) error {
	u.fn.forward(s.v[u.y], s.v[u.x], u.p, u.q)
	return nil
}

func (u *unary) backward(s *State) {
	if u.dx.want {
		u.fn.backward(s.g[u.x], s.v[u.x], s.v[u.y], s.g[u.y], u.p, u.q, u.dx.acc)
	}
}

func (c *compiler) addUnary(n *ir.Node, fn unaryFn, p, q float32) (bool, error) {
	if !isFloat(n.Inputs[0]) {
		return false, nil
	}
	c.addUnaryStep(n, &unary{x: c.value(n.Inputs[0]), y: c.value(n.Out()), fn: fn, p: p, q: q})
	return true, nil
}

func (c *compiler) addUnaryStep(n *ir.Node, u *unary) {
	u.in, u.out, u.dx.id = []int{u.x}, []int{u.y}, u.x
	u.base.dx = []*grad{&u.dx}
	if u.fn.keepX {
		u.keep = append(u.keep, u.x)
	}
	if u.fn.keepY {
		u.keep = append(u.keep, u.y)
	}
	c.emit(n, u)
}

// elementwise builds the step of a unary operator without parameters.
func elementwise(fn unaryFn) builder {
	return func(c *compiler, n *ir.Node) (bool, error) { return c.addUnary(n, fn, 0, 0) }
}

// plain makes a unaryFn from a scalar function and its derivative, given as a
// function of argument and result.
func plain(f func(x float32) float32, df func(x, y float32) float32, keepX, keepY bool) unaryFn {
	return unaryFn{
		forward: func(y, x []float32, _, _ float32) {
			for i, v := range x[:len(y)] {
				y[i] = f(v)
			}
		},
		backward: func(dx, x, y, dy []float32, _, _ float32, acc bool) {
			for i, g := range dy[:len(dx)] {
				d := g * df(x[i], y[i])
				if acc {
					d += dx[i]
				}
				dx[i] = d
			}
		},
		keepX: keepX, keepY: keepY,
	}
}

var (
	geluFn = unaryFn{
		forward:  func(y, x []float32, _, _ float32) { kernel.Gelu(y, x) },
		backward: func(dx, x, _, dy []float32, _, _ float32, acc bool) { kernel.GeluBackward(dx, x, dy, acc) },
		keepX:    true,
	}
	erfFn = unaryFn{
		forward: func(y, x []float32, _, _ float32) { kernel.Erf(y, x) },
		backward: func(dx, x, _, dy []float32, _, _ float32, acc bool) {
			for i, v := range x[:len(dx)] {
				d := dy[i] * float32(2/math.SqrtPi*math.Exp(-float64(v)*float64(v)))
				if acc {
					d += dx[i]
				}
				dx[i] = d
			}
		},
		keepX: true,
	}
	tanhFn = unaryFn{
		forward: func(y, x []float32, _, _ float32) { kernel.Tanh(y, x) },
		backward: plain(nil, func(_, y float32) float32 { return 1 - y*y }, false, true).
			backward,
		keepY: true,
	}
	expFn = unaryFn{
		forward:  func(y, x []float32, _, _ float32) { kernel.Exp(y, x) },
		backward: plain(nil, func(_, y float32) float32 { return y }, false, true).backward,
		keepY:    true,
	}
	sqrtFn = plain(func(x float32) float32 { return float32(math.Sqrt(float64(x))) },
		func(_, y float32) float32 { return 0.5 / y }, false, true)
	negFn = plain(func(x float32) float32 { return -x },
		func(_, _ float32) float32 { return -1 }, false, false)
	absFn = plain(func(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) },
		func(x, _ float32) float32 {
			switch {
			case x > 0:
				return 1
			case x < 0:
				return -1
			}
			return 0
		}, true, false)
	reciprocalFn = plain(func(x float32) float32 { return 1 / x },
		func(_, y float32) float32 { return -y * y }, false, true)
	logFn = plain(func(x float32) float32 { return float32(math.Log(float64(x))) },
		func(x, _ float32) float32 { return 1 / x }, true, false)
	sigmoidFn = plain(func(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) },
		func(_, y float32) float32 { return y * (1 - y) }, false, true)
	reluFn = plain(func(x float32) float32 {
		if x < 0 {
			return 0
		}
		return x
	}, func(x, _ float32) float32 {
		if x > 0 {
			return 1
		}
		return 0
	}, true, false)
	geluTanhFn = plain(geluTanh, geluTanhSlope, true, false)
)

// clipFn limits to [p, q]; the gradient passes where p <= x <= q.
var clipFn = unaryFn{
	forward: func(y, x []float32, p, q float32) {
		for i, v := range x[:len(y)] {
			if v < p {
				v = p
			}
			if v > q {
				v = q
			}
			y[i] = v
		}
	},
	backward: func(dx, x, _, dy []float32, p, q float32, acc bool) {
		for i, v := range x[:len(dx)] {
			var d float32
			if p <= v && v <= q {
				d = dy[i]
			}
			if acc {
				d += dx[i]
			}
			dx[i] = d
		}
	},
	keepX: true,
}

// powFn is x^p for a fixed exponent p.
var powFn = unaryFn{
	forward: func(y, x []float32, p, _ float32) {
		switch p {
		case 2:
			kernel.Mul(y, x, x)
		case 0.5:
			sqrtFn.forward(y, x, 0, 0)
		default:
			for i, v := range x[:len(y)] {
				y[i] = float32(math.Pow(float64(v), float64(p)))
			}
		}
	},
	backward: func(dx, x, _, dy []float32, p, _ float32, acc bool) {
		for i, v := range x[:len(dx)] {
			var d float32
			if p == 2 {
				d = dy[i] * 2 * v
			} else {
				d = dy[i] * float32(float64(p)*math.Pow(float64(v), float64(p)-1))
			}
			if acc {
				d += dx[i]
			}
			dx[i] = d
		}
	},
	keepX: true,
}

const (
	geluC = 0.7978845608028654 // √(2/π)
	geluA = 0.044715
)

// geluTanh is ONNX Gelu-20 with approximate="tanh".
func geluTanh(x float32) float32 {
	v := float64(x)
	return float32(0.5 * v * (1 + math.Tanh(geluC*(v+geluA*v*v*v))))
}

func geluTanhSlope(x, _ float32) float32 {
	v := float64(x)
	t := math.Tanh(geluC * (v + geluA*v*v*v))
	return float32(0.5*(1+t) + 0.5*v*(1-t*t)*geluC*(1+3*geluA*v*v))
}

func buildGelu(c *compiler, n *ir.Node) (bool, error) {
	if n.Attrs.Str("approximate", "none") == "tanh" {
		return c.addUnary(n, geluTanhFn, 0, 0)
	}
	if !isFloat(n.Inputs[0]) {
		return false, nil
	}
	c.addUnaryStep(n, &unary{x: c.value(n.Inputs[0]), y: c.value(n.Out()), fn: geluFn, gelu: true})
	return true, nil
}

func buildClip(c *compiler, n *ir.Node) (bool, error) {
	lo, hi := float32(math.Inf(-1)), float32(math.Inf(1))
	for i, p := range []*float32{&lo, &hi} {
		v := n.Input(i + 1)
		if v == nil {
			continue
		}
		k, ok := c.fixedScalar(v)
		if !ok {
			return false, nil
		}
		*p = k
	}
	return c.addUnary(n, clipFn, lo, hi)
}

// buildPow makes Pow with a fixed scalar exponent.
func buildPow(c *compiler, n *ir.Node) (bool, error) {
	p, ok := c.fixedScalar(n.Input(1))
	if !ok || !equalInts(c.shape(n.Inputs[0]), c.shape(n.Out())) {
		return false, nil
	}
	return c.addUnary(n, powFn, p, 0)
}
