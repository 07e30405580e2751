package runtime

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// GELU spelled out, ½·x·(1 + erf(x/√2)) in any order of its factors, is one Gelu
// step. The match starts at the node that divides x by √2.

// buildScaled makes Mul and Div, or a whole GELU that starts with them.
func buildScaled(kind binaryKind) builder {
	plain := buildBinary(kind)
	return func(c *compiler, n *ir.Node) (bool, error) {
		x, nodes := c.findGelu(n, kind)
		if x == nil {
			return plain(c, n)
		}
		for _, k := range nodes {
			c.absorbed[k] = true
		}
		last := nodes[len(nodes)-1]
		u := &unary{x: c.value(x), y: c.value(last.Out()), fn: geluFn, gelu: true}
		c.addUnaryStep(last, u)
		u.op = "Gelu"
		return true, nil
	}
}

// findGelu gives the argument and the nodes of a GELU that starts at n.
func (c *compiler) findGelu(n *ir.Node, kind binaryKind) (*ir.Value, []*ir.Node) {
	near := func(v *ir.Value, want float64) bool {
		k, ok := c.fixedScalar(v)
		return ok && math.Abs(float64(k)-want) < 1e-4*want
	}
	factor := math.Sqrt2
	if kind == opMul {
		factor = math.Sqrt2 / 2
	}
	x := n.Inputs[0]
	if !near(n.Inputs[1], factor) {
		if x = n.Inputs[1]; kind == opDiv || !near(n.Inputs[0], factor) {
			return nil, nil
		}
	}
	erf := c.only(n.Out())
	if !isFloat(x) || erf == nil || !erf.Is("Erf") {
		return nil, nil
	}
	add := c.only(erf.Out())
	if add == nil || !add.Is("Add") || !near(other(add, erf.Out()), 1) {
		return nil, nil
	}
	nodes := []*ir.Node{n, erf, add}
	// What is left is the product of 1+erf, x and ½: the two products come in
	// either order, and ½·x may be a node of its own beside this chain.
	at, needX, needHalf := add.Out(), true, true
	for needX || needHalf {
		m := c.only(at)
		if m == nil || !m.Is("Mul") {
			return nil, nil
		}
		switch o := other(m, at); {
		case needX && o == x:
			needX = false
		case needHalf && near(o, 0.5):
			needHalf = false
		case needX && needHalf && c.isHalf(o, x, near):
			needX, needHalf = false, false
		default:
			return nil, nil
		}
		nodes = append(nodes, m)
		at = m.Out()
	}
	if !equalInts(c.shape(at), c.shape(x)) {
		return nil, nil
	}
	return x, nodes
}

// isHalf reports whether v is ½·x.
func (c *compiler) isHalf(v, x *ir.Value, near func(*ir.Value, float64) bool) bool {
	d := v.Def
	return d != nil && d.Is("Mul") && (d.Inputs[0] == x && near(d.Inputs[1], 0.5) || d.Inputs[1] == x && near(d.Inputs[0], 0.5))
}

// other is the operand of a binary node that is not v.
func other(n *ir.Node, v *ir.Value) *ir.Value {
	if n.Inputs[0] == v {
		return n.Inputs[1]
	}
	return n.Inputs[0]
}
