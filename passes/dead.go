package passes

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// DropDead removes what no output depends on.
var DropDead = Pass{
	Name: "drop-dead",
	Doc:  "remove nodes and constants that no output depends on",
	Run: func(g *ir.Graph, r *Report) (bool, error) {
		return dropDead(g, r), nil
	},
}

func dropDead(g *ir.Graph, r *Report) bool {
	nodes := slices.Collect(g.Nodes())
	n := 0
	for _, node := range slices.Backward(nodes) {
		if outputUsed(g, node) == 0 {
			g.Remove(node)
			n++
		}
	}
	g.DropUnusedConsts()
	r.Count("removed", n)
	return n > 0
}

// outputUsed counts the outputs of n that a node or the caller reads.
func outputUsed(g *ir.Graph, n *ir.Node) int {
	used := 0
	for _, o := range n.Outputs {
		if o != nil && (len(o.Uses()) > 0 || g.IsOutput(o)) {
			used++
		}
	}
	return used
}
