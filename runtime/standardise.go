package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Normalisation spelled out in single operators,
//
//	mean = ReduceMean(x)      c = x - mean      v = ReduceMean(c·c)
//	spread = √(v + eps)       y = c / spread    [· gamma]  [+ beta]
//
// along the last axis, is one layerNorm step. Unlike ONNX LayerNormalization,
// mean and spread may have other readers, and gradients flow back through them
// (the rescale form of IRM, method.md 5.5).

// spelled is such a normalisation found in the graph.
type spelled struct {
	x, mean, spread   *ir.Value
	gamma, beta, y    *ir.Value
	eps               float32
	meanUsed, sprUsed bool
	nodes             []*ir.Node
}

// only gives the one live node that reads v, which must not be an output or tap.
func (c *compiler) only(v *ir.Value) *ir.Node {
	if c.kept(v) || c.users(v) != 1 {
		return nil
	}
	for _, u := range v.Uses() {
		if c.live[u.Node] {
			return u.Node
		}
	}
	return nil
}

// findSpelled matches the pattern from its first node.
func (c *compiler) findSpelled(first *ir.Node) *spelled {
	if !c.lastAxisMean(first) {
		return nil
	}
	p := &spelled{x: first.Inputs[0], mean: first.Out(), nodes: []*ir.Node{first}}
	var sub *ir.Node
	for _, u := range p.mean.Uses() {
		if c.live[u.Node] && u.Node.Is("Sub") && u.Index == 1 && u.Node.Inputs[0] == p.x {
			sub = u.Node
		}
	}
	if sub == nil || c.kept(sub.Out()) {
		return nil
	}
	p.meanUsed = c.users(p.mean) > 1 || c.kept(p.mean)
	var square, div *ir.Node
	for _, u := range sub.Out().Uses() {
		switch n := u.Node; {
		case !c.live[n]:
		case n.Is("Mul") && n.Inputs[0] == n.Inputs[1], n.Is("Pow") && u.Index == 0:
			square = n
		case n.Is("Div") && u.Index == 0:
			div = n
		default:
			return nil
		}
	}
	if square == nil || div == nil {
		return nil
	}
	if square.Is("Pow") {
		if e, ok := c.fixedScalar(square.Inputs[1]); !ok || e != 2 || c.users(sub.Out()) != 2 {
			return nil
		}
	} else if c.users(sub.Out()) != 3 {
		return nil
	}
	variance := c.only(square.Out())
	if variance == nil || !c.lastAxisMean(variance) {
		return nil
	}
	add := c.only(variance.Out())
	if add == nil || !add.Is("Add") {
		return nil
	}
	eps, ok := c.fixedScalar(add.Inputs[0])
	if !ok {
		if eps, ok = c.fixedScalar(add.Inputs[1]); !ok {
			return nil
		}
	}
	root := c.only(add.Out())
	if root == nil || !root.Is("Sqrt") || div.Inputs[1] != root.Out() {
		return nil
	}
	p.eps, p.spread, p.y = eps, root.Out(), div.Out()
	p.sprUsed = c.users(p.spread) > 1 || c.kept(p.spread)
	p.nodes = append(p.nodes, sub, square, variance, add, root, div)
	if n, v := c.affinePart(p.y, "Mul"); n != nil {
		p.gamma, p.y = v, n.Out()
		p.nodes = append(p.nodes, n)
	}
	if n, v := c.affinePart(p.y, "Add"); n != nil {
		p.beta, p.y = v, n.Out()
		p.nodes = append(p.nodes, n)
	}
	return p
}

// lastAxisMean reports whether n is the mean over the last axis, kept.
func (c *compiler) lastAxisMean(n *ir.Node) bool {
	if !n.Is("ReduceMean") || n.Attrs.Int("keepdims", 1) == 0 || !isFloat(n.Inputs[0]) {
		return false
	}
	axes, ok := c.fixedInts(n.Input(1))
	r := len(c.shape(n.Inputs[0]))
	return ok && r > 0 && len(axes) == 1 && wrapAxis(axes[0], r) == r-1
}

// affinePart finds the only reader of v when it is op with a constant row.
func (c *compiler) affinePart(v *ir.Value, op string) (*ir.Node, *ir.Value) {
	n := c.only(v)
	if n == nil || !n.Is(op) || n.Inputs[0] == n.Inputs[1] {
		return nil, nil
	}
	other := n.Inputs[0]
	if other == v {
		other = n.Inputs[1]
	}
	s := c.shape(v)
	row := c.shape(other)
	if !other.IsConst() || len(row) == 0 || len(row) > len(s) || size(row) != s[len(s)-1] || row[len(row)-1] != s[len(s)-1] {
		return nil, nil
	}
	return n, other
}

func buildReduceMean(c *compiler, n *ir.Node) (bool, error) {
	p := c.findSpelled(n)
	if p == nil {
		return buildReduce(true)(c, n)
	}
	in := c.shape(p.x)
	width := in[len(in)-1]
	if width == 0 {
		return buildReduce(true)(c, n)
	}
	for _, k := range p.nodes[1:] {
		c.absorbed[k] = true
	}
	s := &layerNorm{rows: size(in) / width, n: width, eps: p.eps, spread: -1}
	s.x, s.gamma, s.beta, s.y = c.value(p.x), c.value(p.gamma), c.value(p.beta), c.value(p.y)
	if p.meanUsed {
		s.mean = c.value(p.mean)
		s.meanOut = true
		s.out, s.keep = append(s.out, s.mean), append(s.keep, s.mean)
	}
	if p.sprUsed {
		s.spread = c.value(p.spread)
		s.out = append(s.out, s.spread)
	}
	c.addLayerNorm(p.nodes[slices.IndexFunc(p.nodes, func(k *ir.Node) bool { return k.Is("Div") })], s)
	s.op = "LayerNormalization"
	return true, nil
}
