package report

import (
	"fmt"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// block is one attention block in recognised form: width 4, 2 heads of 2, 3 tokens.
const block = `graph "vit" {
  input %x: f32[batch,3,4]
  const %wq: f32[4,4] = rand(1)
  const %wk: f32[4,4] = rand(2)
  const %wv: f32[4,4] = rand(3)
  const %wp: f32[4,4] = rand(4)
  const %w1: f32[4,8] = rand(5)
  const %w2: f32[8,4] = rand(6)
  const %wh: f32[4,5] = rand(7)
  const %bh: f32[5] = rand(8)
  const %mask: f32[3,3] = [0, -100, 0, 0, 0, 0, 0, 0, 0]
  const %split: i64[4] = [0, 3, 2, 2]
  const %merge: i64[3] = [0, 3, 4]
  %q0: f32[batch,3,4] = MatMul(%x, %wq) @q(0)
  %q1: f32[batch,3,2,2] = Reshape(%q0, %split)
  %q: f32[batch,2,3,2] = Transpose(%q1) {perm=[0, 2, 1, 3]i}
  %k0: f32[batch,3,4] = MatMul(%x, %wk) @k(0)
  %k1: f32[batch,3,2,2] = Reshape(%k0, %split)
  %k: f32[batch,2,2,3] = Transpose(%k1) {perm=[0, 2, 3, 1]i}
  %v0: f32[batch,3,4] = MatMul(%x, %wv) @v(0)
  %v1: f32[batch,3,2,2] = Reshape(%v0, %split)
  %v: f32[batch,2,3,2] = Transpose(%v1) {perm=[0, 2, 1, 3]i}
  %s0: f32[batch,2,3,3] = MatMul(%q, %k) @scores(0)
  %s: f32[batch,2,3,3] = Add(%s0, %mask)
  %p: f32[batch,2,3,3] = Softmax(%s) {axis=-1} @probs(0)
  %c0: f32[batch,2,3,2] = MatMul(%p, %v) @context(0)
  %c1: f32[batch,3,2,2] = Transpose(%c0) {perm=[0, 2, 1, 3]i}
  %c: f32[batch,3,4] = Reshape(%c1, %merge)
  %o: f32[batch,3,4] = MatMul(%c, %wp) @proj(0)
  %h0: f32[batch,3,8] = MatMul(%o, %w1) @fc1(0)
  %h1: f32[batch,3,8] = Gelu(%h0) @act(0)
  %h: f32[batch,3,4] = MatMul(%h1, %w2) @fc2(0)
  %l0: f32[batch,3,5] = MatMul(%h, %wh) @head(-1)
  %l: f32[batch,3,5] = Add(%l0, %bh)
  output %l
}
`

func TestDescribe(t *testing.T) {
	g, err := ir.Parse(block, ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before := g.String()
	a, err := Describe(g)
	if err != nil {
		t.Fatal(err)
	}
	if g.String() != before {
		t.Error("Describe changed the graph")
	}
	const quantised, first = 4*16 + 2*32, 20
	if a.Blocks != 1 || fmt.Sprint(a.Heads, a.Widths, a.Tokens, a.HeadDim, a.Classes) != "[2] [4] 3 2 [5]" {
		t.Errorf("%+v", a)
	}
	if a.Params != quantised+first+5 { // the mask and the shapes are no parameters
		t.Errorf("%d parameters", a.Params)
	}
	want := MACs{Linear: 3 * quantised, Attention: 2 * 3 * 3 * 4, Head: 3 * 20, Total: 3*quantised + 72 + 60}
	if a.MACs != want {
		t.Errorf("MACs %+v, want %+v", a.MACs, want)
	}
	for _, s := range a.Sizes {
		bytes, ops := int64(4*(quantised+first+5)), float64(want.Total)
		if s.Bits < 32 {
			bytes = int64(quantised*s.Bits+first*8+5*32+7) / 8
			ops = float64(want.Linear+want.Attention)/map[int]float64{4: 8, 3: 16, 2: 32}[s.Bits] + float64(want.Head)/4
		}
		if s.Bytes != bytes || s.OPs != ops {
			t.Errorf("%d bit: %d bytes, %g OPs; want %d, %g", s.Bits, s.Bytes, s.OPs, bytes, ops)
		}
	}
}

func ExampleDescribe() {
	g, err := ir.Parse(block, ir.ParseOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	a, err := Describe(g)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Name, a.Heads, a.Params, a.MACs.Total)
	// Output:
	// ViT 4x1 [2] 153 516
}
