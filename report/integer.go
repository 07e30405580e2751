package report

import (
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// IntegerMACs counts the multiply-accumulates of one image: those of packed
// operators (QLinear..., QMatMul...), which run on integer codes, and all.
// Symbolic dimensions are taken as 1; LayerNormalization does not count.
func IntegerMACs(g *ir.Graph) (integer, total int64, err error) {
	one, err := oneImage(g)
	if err != nil {
		return 0, 0, err
	}
	for n := range one.Nodes() {
		macs := products(n)
		total += macs
		if isInteger(n) {
			integer += macs
		}
	}
	return integer, total, nil
}

func isInteger(n *ir.Node) bool {
	if n.Domain == ir.Domain {
		return ops.Lookup(n.Domain, n.Op) != nil && (strings.HasPrefix(n.Op, "QLinear") || strings.HasPrefix(n.Op, "QMatMul"))
	}
	switch n.Op {
	case "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv":
		return n.Domain == ""
	}
	return false
}
