package passes

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// headOps may stand between a classifier and the output.
var headOps = map[string]bool{
	"Add": true, "Sub": true, "Mul": true, "Div": true, "Softmax": true, "LogSoftmax": true, "Sigmoid": true,
	"Reshape": true, "Squeeze": true, "Unsqueeze": true, "Flatten": true, "Identity": true, "Cast": true,
	"Concat": true, "Sum": true, "Mean": true, "ReduceMean": true, "FakeQuant": true, "ArgMax": true, "Dropout": true,
}

// heads finds the linear layers that make the outputs, and those before them
// through an activation.
func (c *recogniser) heads() {
	for _, out := range c.g.Outputs {
		var found []*ir.Node
		if c.collect(out, headOps, &found, visited{}, 64) {
			for _, n := range found {
				c.set(n, ir.RoleHead, -1)
			}
		}
	}
	// a hidden layer of the classifier
	for n := range c.g.Nodes() {
		if c.roles[n].Kind != ir.RoleHead {
			continue
		}
		var hidden []*ir.Node
		if c.collect(n.Inputs[0], mlpOps, &hidden, visited{}, 32) && len(hidden) == 1 {
			c.set(hidden[0], ir.RoleHead, -1)
		}
	}
}

// collect goes back from v over the given operators and gathers linear layers
// without a role. It fails when a way back ends anywhere else.
func (c *recogniser) collect(v *ir.Value, through map[string]bool, found *[]*ir.Node, seen visited, depth int) bool {
	if v == nil || v.IsConst() || !seen.first(v) {
		return true
	}
	n := v.Def
	if n == nil || depth == 0 {
		return false
	}
	if IsLinear(n) {
		if c.has(n) && c.roles[n].Kind != ir.RoleHead {
			return false
		}
		if !slices.Contains(*found, n) {
			*found = append(*found, n)
		}
		return true
	}
	if !through[n.Op] {
		return false
	}
	for _, in := range dataInputs(n) {
		if !c.collect(in, through, found, seen, depth-1) {
			return false
		}
	}
	return len(*found) > 0
}

// activations are what makes two linear layers an MLP.
var activations = map[string]bool{
	"Gelu": true, "Relu": true, "Erf": true, "Tanh": true, "Sigmoid": true, "HardSwish": true, "HardSigmoid": true,
	"Softplus": true, "Elu": true, "LeakyRelu": true, "PRelu": true, "Mish": true, "Celu": true, "Swish": true,
	"Selu": true, "ThresholdedRelu": true,
}

// mlpOps may stand between fc1 and fc2.
var mlpOps = func() map[string]bool {
	m := map[string]bool{}
	for op := range activations {
		m[op] = true
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Pow", "Exp", "Neg", "Sqrt", "Reciprocal", "Clip", "Max", "Min",
		"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "Slice", "Gather", "Identity", "Dropout", "Cast",
		"LayerNormalization", "RMSNormalization", "FakeQuant"} {
		m[op] = true
	}
	return m
}()

// mlps finds fc2 and the one fc1 (or two, when one gates the other) before it.
func (c *recogniser) mlps() {
	for fc2 := range c.g.Nodes() {
		if !IsLinear(fc2) || c.has(fc2) {
			continue
		}
		var fc1 []*ir.Node
		acts := map[*ir.Node]bool{}
		if !c.collect(fc2.Inputs[0], mlpOps, &fc1, visited{}, 48) || len(fc1) > 2 {
			continue
		}
		for _, n := range fc1 {
			actsBetween(n.Out(), fc2, acts, map[*ir.Value]bool{}, 48)
		}
		if len(acts) == 0 || slices.ContainsFunc(fc1, func(n *ir.Node) bool { return c.roles[n].Kind == ir.RoleHead }) {
			continue
		}
		block := c.block(fc1[0].Inputs[0])
		if b, ok := c.residuals[sourceOf(fc1[0].Inputs[0])]; ok && len(c.attn) > 0 {
			block = b // attention and MLP side by side
		}
		for _, n := range fc1 {
			c.set(n, ir.RoleFC1, block)
		}
		c.set(fc2, ir.RoleFC2, block)
		for n := range acts {
			if n.Is("Gelu") {
				c.set(n, ir.RoleAct, block)
			}
		}
	}
}

// actsBetween marks the activations on the way from v to the node end.
func actsBetween(v *ir.Value, end *ir.Node, acts map[*ir.Node]bool, known map[*ir.Value]bool, depth int) bool {
	if r, ok := known[v]; ok {
		return r
	}
	reached := false
	for _, n := range users(v) {
		if n == end {
			reached = true
			continue
		}
		if depth == 0 || !mlpOps[n.Op] {
			continue
		}
		if actsBetween(n.Out(), end, acts, known, depth-1) {
			reached = true
			if activations[n.Op] {
				acts[n] = true
			}
		}
	}
	known[v] = reached
	return reached
}
