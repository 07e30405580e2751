package ops

import "github.com/qvitc/qvitc/ir"

// Budget bounds the constants that folding a graph makes, taken together, and the
// work of it: a file of a few bytes can hold nodes that make gigabytes of a number.
// What the budget refuses stays a node.
type Budget struct{ left int64 }

const (
	budgetBytes = 32 << 20 // of all constants that are made
	budgetTimes = 8        // beyond so many times the bytes of the graph's own constants
	budgetSmall = 4 << 10  // bytes of a result that is never refused, as shape arithmetic
	budgetMACs  = 1 << 30  // of one node
)

// NewBudget is the budget for folding g: 32 MiB, but not more than memory where
// that is not 0, and 8 times the bytes of the constants of g.
func NewBudget(g *ir.Graph, memory int64) *Budget {
	b := &Budget{left: budgetBytes}
	if memory > 0 {
		b.left = min(b.left, memory)
	}
	for _, v := range g.Consts() {
		b.left += budgetTimes * tensorBytes(v.Type)
	}
	return b
}

// Take reports whether the outputs of n may become constants, and deducts them.
// It goes by the types that Infer found.
func (b *Budget) Take(n *ir.Node) bool {
	if macs, ok := MACs(n); ok && macs > budgetMACs {
		return false
	}
	bytes := int64(0)
	for _, o := range n.Outputs {
		switch {
		case o == nil:
		case tensorBytes(o.Type) >= 0:
			bytes += tensorBytes(o.Type)
		case n.Is("NonZero") || n.Is("Unique") || n.Is("Compress"): // as long as the input has such elements
			in := n.Inputs[0].Type
			if tensorBytes(in) < 0 {
				return false
			}
			bytes += 8 * int64(max(1, in.Rank())) * tensorBytes(in)
		default:
			return false
		}
	}
	if bytes > budgetSmall && bytes > b.left {
		return false
	}
	b.left -= bytes
	return true
}

// tensorBytes is the size of a tensor of known shape; -1 for others.
func tensorBytes(t ir.Type) int64 {
	dims, ok := t.Shape.Ints()
	if !ok || !t.Ranked {
		return -1
	}
	n, err := ir.ByteSize(dims, t.Elem)
	if err != nil {
		return -1
	}
	if t.Elem == ir.String {
		n, _ = ir.ByteSize(dims, ir.Float64)
		n *= 2
	}
	return int64(n)
}
