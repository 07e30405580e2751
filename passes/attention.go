package passes

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// attention is one softmax attention found by structure: a Softmax between a
// product of two activations (scores) and another (context).
type attention struct {
	scores, softmax, context *ir.Node

	qSide    int // which operand of scores is q: 0, or 1 for k·qᵀ
	probSide int // which operand of context comes from the softmax

	qLinear, kLinear, vLinear, proj *ir.Node // proj may be nil
	heads, dim                      int      // head count; 0 when it cannot be told
}

// findAttention lists the attentions of g in topological order. Names of nodes
// and values play no part.
func findAttention(g *ir.Graph) []*attention {
	var out []*attention
	for n := range g.Nodes() {
		if n.Is("Softmax") {
			if a := matchAttention(n); a != nil {
				out = append(out, a)
			}
		}
	}
	return out
}

func matchAttention(softmax *ir.Node) *attention {
	rank := softmax.Out().Type.Rank()
	axis := axisAttr(softmax, "axis", -1, rank)
	a := &attention{softmax: softmax}
	switch axis {
	case -1, rank - 1:
	case rank - 2:
		a.qSide = 1
	default:
		return nil
	}
	if a.scores = productBehind(softmax.Inputs[0], visited{}, 12); a.scores == nil {
		return nil
	}
	from := softmax.Out()
	if a.context, from = productAhead(from, visited{}, 8); a.context == nil || a.context == a.scores {
		return nil
	}
	if a.context.Inputs[0] != from {
		a.probSide = 1
	}
	ends := newEnds()
	if a.qLinear = ends.behind(a.q()); a.qLinear == nil {
		return nil
	}
	if a.kLinear = newEnds().behind(a.k()); a.kLinear == nil {
		return nil
	}
	if a.vLinear = newEnds().behind(a.v()); a.vLinear == nil {
		return nil
	}
	a.proj = linearAhead(a.context.Out(), visited{}, 16)
	a.countHeads()
	return a
}

func (a *attention) q() *ir.Value { return a.scores.Inputs[a.qSide] }
func (a *attention) k() *ir.Value { return a.scores.Inputs[1-a.qSide] }
func (a *attention) v() *ir.Value { return a.context.Inputs[1-a.probSide] }

// countHeads divides the width of the q projection by the width of a head.
func (a *attention) countHeads() {
	q := a.q()
	d := known(q, -1)
	if a.qSide == 1 { // qᵀ
		d = known(q, -2)
	}
	width := weightOf(a.qLinear).Const.Shape[1]
	share := 1
	if a.qLinear == a.kLinear {
		share++
	}
	if a.qLinear == a.vLinear {
		share++
	}
	if d <= 0 || width%(share*d) != 0 {
		return
	}
	a.heads, a.dim = width/(share*d), d
}

// isProduct reports whether n multiplies two values that both depend on data
// (or are not matrices of weights).
func isProduct(n *ir.Node) bool {
	return n.Is("MatMul") && weightOf(n) == nil && !(n.Inputs[0].IsConst() && n.Inputs[1].IsConst()) &&
		!(n.Inputs[0].IsConst() && len(n.Inputs[0].Const.Shape) <= 2)
}

// scoreOps may stand between the scores and the softmax: scale, mask, bias,
// soft cap, and reshaping for them.
var scoreOps = map[string]bool{
	"Add": true, "Sub": true, "Mul": true, "Div": true, "Reshape": true, "Transpose": true, "Where": true,
	"Cast": true, "Identity": true, "Clip": true, "Max": true, "Min": true, "Tanh": true, "Squeeze": true, "Unsqueeze": true,
	"Expand": true,
}

// visited keeps a search from walking anything twice: graphs may share values
// so often that the number of ways is exponential.
type visited map[*ir.Value]bool

// first reports whether v is met for the first time.
func (s visited) first(v *ir.Value) bool {
	if s[v] {
		return false
	}
	s[v] = true
	return true
}

// productBehind searches back from v to the nearest product of activations.
func productBehind(v *ir.Value, seen visited, depth int) *ir.Node {
	if v == nil || v.Def == nil || depth == 0 || !seen.first(v) {
		return nil
	}
	n := v.Def
	if isProduct(n) {
		return n
	}
	if n.Domain != "" || !scoreOps[n.Op] {
		return nil
	}
	inputs := n.Inputs
	switch n.Op {
	case "Reshape", "Expand", "Squeeze", "Unsqueeze", "Clip":
		inputs = inputs[:1]
	case "Where":
		inputs = inputs[1:]
	}
	for _, in := range inputs {
		if in == nil || in.IsConst() {
			continue
		}
		if p := productBehind(in, seen, depth-1); p != nil {
			return p
		}
	}
	return nil
}

// productAhead searches forward from v to the product that reads it; it gives
// the product and the operand through which it is reached.
func productAhead(v *ir.Value, seen visited, depth int) (*ir.Node, *ir.Value) {
	if depth == 0 || !seen.first(v) {
		return nil, nil
	}
	for _, n := range users(v) {
		switch {
		case isProduct(n):
			return n, v
		case n.Is("Reshape"), n.Is("Transpose"), n.Is("Cast"), n.Is("Dropout"), n.Is("Identity"),
			n.Is("Squeeze"), n.Is("Unsqueeze"), n.IsOwn("FakeQuant"):
			if n.Inputs[0] != v {
				continue
			}
			if p, from := productAhead(n.Out(), seen, depth-1); p != nil {
				return p, from
			}
		}
	}
	return nil, nil
}

// pathOps may stand between a projection and the product that reads it: splits
// and layout, biases, scales, normalisation of q and k, rotary embedding.
var pathOps = map[string]bool{
	"Transpose": true, "Reshape": true, "Squeeze": true, "Unsqueeze": true, "Split": true, "Gather": true,
	"Slice": true, "Flatten": true, "Identity": true, "Dropout": true, "Cast": true, "Concat": true,
	"LayerNormalization": true, "RMSNormalization": true, "Add": true, "Sub": true, "Mul": true, "Div": true,
	"Neg": true, "Pow": true, "Sqrt": true, "Reciprocal": true, "Clip": true, "Max": true, "Min": true,
	"ReduceMean": true, "ReduceSum": true, "ReduceL2": true, "ReduceSumSquare": true, "LpNormalization": true,
	"Expand": true, "Pad": true, "FakeQuant": true, "Abs": true,
}

// dataInputs are the inputs of a path operator through which data flows.
func dataInputs(n *ir.Node) []*ir.Value {
	switch n.Op {
	case "Reshape", "Squeeze", "Unsqueeze", "Split", "Gather", "Slice", "Expand", "Pad", "Clip",
		"LayerNormalization", "RMSNormalization", "Dropout", "FakeQuant", "ReduceMean", "ReduceSum",
		"ReduceL2", "ReduceSumSquare", "Cast":
		return n.Inputs[:1]
	}
	return n.Inputs
}

// ends collects the linear layers at which a walk back ends.
type ends struct {
	linears []*ir.Node
	foreign bool // the walk met something else
	seen    visited
	steps   int
}

func newEnds() *ends { return &ends{seen: visited{}} }

// behind gives the one linear layer from which v is made by path operators;
// nil when there is none or another source.
func (e *ends) behind(v *ir.Value) *ir.Node {
	e.walk(v)
	if e.foreign || len(e.linears) != 1 {
		return nil
	}
	return e.linears[0]
}

func (e *ends) walk(v *ir.Value) {
	if v.IsConst() || e.foreign || !e.seen.first(v) {
		return
	}
	n := v.Def
	if e.steps++; n == nil || e.steps > 256 {
		e.foreign = true
		return
	}
	if IsLinear(n) {
		if !slices.Contains(e.linears, n) {
			e.linears = append(e.linears, n)
		}
		e.foreign = len(e.linears) > 1
		return
	}
	if !pathOps[n.Op] || n.Domain != "" && n.Domain != ir.Domain {
		e.foreign = true
		return
	}
	for _, in := range dataInputs(n) {
		if in != nil {
			e.walk(in)
		}
	}
}

// linearAhead follows v forward over layout, normalisation and FakeQuant to the
// one linear layer that reads it.
func linearAhead(v *ir.Value, seen visited, depth int) *ir.Node {
	if depth == 0 || !seen.first(v) {
		return nil
	}
	var found *ir.Node
	for _, n := range users(v) {
		var l *ir.Node
		switch {
		case IsLinear(n) && n.Inputs[0] == v:
			l = n
		case n.Is("Reshape"), n.Is("Transpose"), n.Is("Squeeze"), n.Is("Unsqueeze"), n.Is("Flatten"), n.Is("Identity"),
			n.Is("Dropout"), n.Is("Cast"), n.Is("LayerNormalization"), n.IsOwn("FakeQuant"):
			if n.Inputs[0] == v {
				l = linearAhead(n.Out(), seen, depth-1)
			}
		}
		if l != nil && found != nil && l != found {
			return nil
		}
		if l != nil {
			found = l
		}
	}
	return found
}
