package ops

import (
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// The budget is spent node by node, to the byte; small results are free of it, and
// a product of much work or a result of unknown size is refused at once.
func TestBudget(t *testing.T) {
	g := ir.New("g")
	w := g.AddConst("w", ir.Of(make([]float32, 2000), 2000))
	fill := func(name string, shape ...int64) *ir.Node {
		return g.Add("ConstantOfShape", name, nil, g.AddConst(name+"_shape", ir.Of(shape, len(shape))))
	}
	const left = 1 << 20
	fit := fill("fit", left/4)
	more := fill("more", 1025)
	small := fill("small", 1024)
	negative := g.Add("Neg", "negative", nil, w)
	a, b := fill("a", 2048, 2048), fill("b", 2048, 2048)
	work := g.Add("MatMul", "work", nil, a.Out(), b.Out())
	odd := g.Add("mystery", "odd", nil, w)
	odd.Domain = "elsewhere"
	zeros := g.Add("NonZero", "zeros", nil, negative.Out())
	for _, n := range []*ir.Node{negative, work, odd, zeros} {
		g.AddOutput(n.Out())
	}
	if _, err := Infer(g); err != nil {
		t.Fatal(err)
	}
	budget := NewBudget(g, 0)
	budget.left = left
	for _, c := range []struct {
		n    *ir.Node
		want bool
	}{{work, false}, {odd, false}, {fit, true}, {more, false}, {small, true}} {
		if got := budget.Take(c.n); got != c.want {
			t.Errorf("%s: %v, %d bytes are left", c.n.Out().Name, got, budget.left)
		}
	}
	if budget = NewBudget(g, 0); !budget.Take(zeros) {
		t.Error("NonZero of a constant is refused")
	}
	if spent := NewBudget(g, 0).left - budget.left; spent != 8*4*2000 {
		t.Errorf("NonZero of 2,000 floats counts as %d bytes", spent)
	}
	if left := NewBudget(ir.New("empty"), 0).left; left != budgetBytes {
		t.Errorf("an empty graph may fold %d bytes", left)
	}
	if left := NewBudget(ir.New("empty"), 1000).left; left != 1000 {
		t.Errorf("an empty graph may fold %d of 1,000 bytes", left)
	}
}
