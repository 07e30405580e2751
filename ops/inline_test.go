package ops

import (
	"fmt"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// caller is y = f0(x) where each function calls the next width times and the
// last is a Relu; the functions of a cycle call the first again.
func caller(depth, width int, cycle bool) *ir.Graph {
	g := ir.New("g")
	for d := range depth {
		body := ir.New("body")
		v := body.AddInput("x", ir.Type{})
		for i := range width {
			domain, op := "f", fmt.Sprint("f", d+1)
			if d == depth-1 && !cycle {
				domain, op = "", "Relu"
			} else if d == depth-1 {
				op = "f0"
			}
			v = body.InsertBefore(nil, domain, op, nil, []*ir.Value{v}, fmt.Sprint("v", i)).Out()
		}
		body.AddOutput(v)
		g.Functions = append(g.Functions, &ir.Function{Domain: "f", Name: fmt.Sprint("f", d), Body: body})
	}
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(1)))
	g.AddOutput(g.InsertBefore(nil, "f", "f0", nil, []*ir.Value{x}, "y").Out())
	return g
}

func TestInline(t *testing.T) {
	for _, c := range []struct {
		name         string
		depth, width int
		cycle        bool
		words        string
	}{
		{"one", 1, 1, false, ""},
		{"deep", 200, 1, false, ""},
		{"many", 3, 10, false, ""},
		{"bomb", 40, 2, false, "more than 1000000 nodes"},
		{"wide bomb", 10, 300, false, "more than 1000000 nodes"},
		{"recursion", 3, 1, true, "calls itself"},
	} {
		g := caller(c.depth, c.width, c.cycle)
		y := g.Outputs[0]
		moved := 0
		err := Inline(g, func(old, new *ir.Value) {
			if old == y {
				y = new
			}
			moved++
		})
		if c.words != "" {
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%s: want %q, have %v", c.name, c.words, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := 1
		for range c.depth {
			want *= c.width
		}
		if err := g.Check(); err != nil || g.Len() != want || y != g.Outputs[0] || y.Name != "y" || moved == 0 {
			t.Errorf("%s: %d nodes, want %d; output %q; %v", c.name, g.Len(), want, y.Name, err)
		}
	}
}

// A call with too many operands, and one whose result is an input that it leaves
// out, are errors that name the node.
func TestInlineErrors(t *testing.T) {
	g := caller(1, 1, false)
	call := g.First()
	call.Name = "call"
	call.Inputs = append(call.Inputs, nil)
	if err := Inline(g, nil); err == nil || !strings.Contains(err.Error(), `"call"`) {
		t.Error(err)
	}
	g = caller(1, 1, false)
	g.Functions[0].Body.Outputs[0] = g.Functions[0].Body.Inputs[0]
	g.First().SetInput(0, nil)
	if err := Inline(g, nil); err == nil || !strings.Contains(err.Error(), "not computed") {
		t.Error(err)
	}
}
