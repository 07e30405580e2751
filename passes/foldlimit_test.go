package passes

import (
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// Folding makes constants of FoldBudget bytes and none larger, unless the result
// is no larger than what it is made of.
func TestFoldBudget(t *testing.T) {
	for _, c := range []struct {
		name        string
		bytes, from int // of the result, of the constant it is made from
		folds       bool
	}{
		{"at the limit", FoldBudget, 4, true},
		{"past the limit", FoldBudget + 4, 4, false},
		{"past the limit, from as much", FoldBudget + 4, FoldBudget + 4, true},
	} {
		g := ir.New("g")
		x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(1)))
		w := g.AddConst("w", ir.Of(make([]float32, c.from/4), c.from/4))
		wide := g.Add("Expand", "wide", nil, w, g.AddConst("shape", ir.Of([]int64{int64(c.bytes / 4)}, 1)))
		g.AddOutput(g.Add("Add", "y", nil, x, wide.Out()).Out())
		res, err := (&Driver{Check: true}).Run(g, []Pass{FoldConstants})
		if err != nil {
			t.Fatal(err)
		}
		if folded := g.Len() == 1; folded != c.folds {
			t.Errorf("%s: %d nodes are left, notes %v", c.name, g.Len(), res.Steps[0].Report.Notes)
		}
	}
}
