package passes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

const twoHeads = `graph "g" {
  input %%x: f32[b,4]
  const %%w1: f32[4,3] = rand(1)
  const %%w2: f32[4,3] = rand(2)
  const %%b1: f32[3] = [1, 2, 3]
  const %%half: f32[] = [0.5]
  %%h1 = MatMul(%%x, %%w1)
  %%y1 = Add(%%h1, %%b1)
  %%y2 = MatMul(%%x, %%w2)
  %s
}`

func TestNewHead(t *testing.T) {
	for _, end := range []string{
		"output %y1\n output %y2",
		"%s = Add(%y1, %y2)\n  %m: f32[b,3] = Mul(%s, %half)\n  output %m",
		"%s = Add(%y1, %y2)\n  %m = Mul(%s, %half)\n  %p: f32[b,3] = Softmax(%m) {axis=-1}\n  output %p",
	} {
		g, err := ir.Parse(fmt.Sprintf(twoHeads, end), ir.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		d := Driver{Check: true}
		fresh := func(g *ir.Graph) {
			t.Helper()
			if _, err := d.Run(g, Clean); err != nil {
				t.Fatal(err)
			}
			if err := NewHead(g, 7, 1); err != nil {
				t.Fatal(err)
			}
			if err := g.Check(); err != nil {
				t.Fatal(err)
			}
		}
		fresh(g)
		if p := HeadParams(g); len(p) != 3 {
			t.Errorf("%d parameters of the heads", len(p))
		}
		out, err := ops.EvalGraph(g, map[string]*ir.Tensor{"x": ir.Of(make([]float32, 8), 2, 4)})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range g.Outputs {
			if got := out[v.Name]; fmt.Sprint(got.Shape) != "[2 7]" || v.Type.Shape[1] != ir.D(7) || v.Type.Shape[0].Sym != "b" {
				t.Errorf("output %s has shape %v, type %v", v.Name, got.Shape, v.Type)
			} else if x := got.F32()[0]; x != 0 && x != 1/float32(7) {
				t.Errorf("a fresh head answers %v for an image of zeros", x)
			}
		}
		again, _ := ir.Parse(fmt.Sprintf(twoHeads, end), ir.ParseOptions{})
		if fresh(again); again.String() != g.String() {
			t.Error("the same seed gives another head")
		}
	}
}

func TestNewHeadRefusals(t *testing.T) {
	for end, want := range map[string]string{
		"%s = Mul(%y1, %b1)\n  output %s":                "holds numbers for each class",
		"%s = Concat(%y1, %y2) {axis=-1}\n  output %s":   "stands between the classifier and the output",
		"%s = ReduceSum(%y1) {keepdims=1}\n  output %s":  "stands between the classifier and the output",
		"%s = Relu(%x)\n  %t = Identity(%s)\n output %t": "stands between the classifier and the output",
	} {
		g, err := ir.Parse(fmt.Sprintf(twoHeads, end), ir.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		d := Driver{Check: true}
		if _, err := d.Run(g, Clean); err != nil {
			t.Fatal(err)
		}
		if err := NewHead(g, 7, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", end, err)
		}
	}
}
