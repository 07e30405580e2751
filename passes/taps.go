package passes

import (
	"maps"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// AttentionTap gives the values of one attention block that distillation and
// entropy reports read.
type AttentionTap struct {
	Block int
	// Q and K enter the product of scores, before any quantiser and before the
	// transposition of K: f32 [..., Heads, N, Dim]. With IRM these are the
	// rectified values.
	Q, K *ir.Value
	// V enters the product with the attention map, before any quantiser.
	V *ir.Value
	// Probs is the attention map before any quantiser: f32 [..., Heads, N, M].
	Probs *ir.Value

	Heads, Dim int
}

// Taps lists the attention blocks of a graph in order of blocks. It works on
// the graph after Clean (the teacher) and after Quantize (the student), and
// gives nothing after Lower.
func Taps(g *ir.Graph) []AttentionTap {
	byBlock := map[int]*AttentionTap{}
	at := func(b int) *AttentionTap {
		if byBlock[b] == nil {
			byBlock[b] = &AttentionTap{Block: b}
		}
		return byBlock[b]
	}
	for n := range g.Nodes() {
		switch {
		case n.Is("MatMul") && n.Role.Kind == ir.RoleScores:
			t := at(n.Role.Block)
			t.Q = beforeQuant(n.Inputs[0])
			t.K = n.Inputs[1]
			if tr := def(t.K, "Transpose"); tr != nil && samePerm(perm(tr), swapLast(t.K.Type.Rank())) {
				t.K = tr.Inputs[0]
			}
			t.K = beforeQuant(t.K)
		case n.Is("MatMul") && n.Role.Kind == ir.RoleContext:
			t := at(n.Role.Block)
			t.Probs, t.V = beforeQuant(n.Inputs[0]), beforeQuant(n.Inputs[1])
		}
	}
	var out []AttentionTap
	for _, t := range byBlock {
		if t.Q == nil || t.V == nil || t.Q.Type.Rank() < 3 {
			continue
		}
		t.Heads, t.Dim = 1, known(t.Q, -1)
		if t.Q.Type.Rank() >= 4 {
			t.Heads = known(t.Q, t.Q.Type.Rank()-3)
		}
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b AttentionTap) int { return a.Block - b.Block })
	return out
}

// beforeQuant is the input of the FakeQuant that makes v, or v itself.
func beforeQuant(v *ir.Value) *ir.Value {
	if v.Def.IsOwn("FakeQuant") {
		return v.Def.Inputs[0]
	}
	return v
}

// Blocks lists the outputs of the transformer blocks in order of blocks: the residual
// stream [..., C] where the MLP has joined it. It works on the graphs that Taps works on.
func Blocks(g *ir.Graph) (out []*ir.Value) {
	byBlock := map[int]*ir.Value{}
	for n := range g.Nodes() {
		if IsLinear(n) && n.Role.Kind == ir.RoleFC2 && n.Role.Block >= 0 {
			if _, add := joinOf(n.Out()); add != nil {
				byBlock[n.Role.Block] = add.Out()
			}
		}
	}
	for _, block := range slices.Sorted(maps.Keys(byBlock)) {
		out = append(out, byBlock[block])
	}
	return out
}
