package report

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
)

// student quantises the block to w4a4, with scales that suit its values, and
// gives its packed form too.
func student(t testing.TB, g *ir.Graph) (student, packed *ir.Graph) {
	s, _ := g.Clone()
	d := passes.Driver{Check: true}
	plan := passes.DefaultPlan(4, 4)
	plan.IRM = passes.IRMOff
	if _, err := d.Run(s, passes.Quantize(plan)); err != nil {
		t.Fatal(err)
	}
	for n := range s.Nodes() {
		if n.IsOwn("FakeQuant") {
			for i := range n.Inputs[1].Const.F32() {
				n.Inputs[1].Const.F32()[i] = 0.2
			}
		}
	}
	p, err := export.Packed(s)
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

// noise gives three batches of two inputs of the block.
func noise(i int) ([]float32, []int32, error) {
	if i == 3 {
		return nil, nil, nil
	}
	r := rand.New(rand.NewPCG(uint64(i), 1))
	x := make([]float32, 2*3*4)
	for k := range x {
		x[k] = float32(r.NormFloat64())
	}
	return x, []int32{0, -1}, nil
}

func parsed(t testing.TB) *ir.Graph {
	g, err := ir.Parse(block, ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&passes.Driver{Check: true}).Run(g, passes.Clean); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestDiffFloatAndPacked(t *testing.T) {
	g := parsed(t)
	s, p := student(t, g)
	o := DiffOptions{Name: passes.LayerName}
	one, err := Diff(context.Background(), g, p, noise, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Threads = 4
	two, err := Diff(context.Background(), g, p, noise, o)
	if err != nil {
		t.Fatal(err)
	}
	var a, b strings.Builder
	if err := one.WriteTable(&a); err != nil {
		t.Fatal(err)
	}
	if err := two.WriteTable(&b); err != nil || a.String() != b.String() {
		t.Errorf("threads change the result: %v\n%s\n%s", err, &a, &b)
	}
	// q, k, v, proj, fc1, fc2, head; the map and the product with v
	if len(one.Layers) != 9 || len(one.OnlyA)+len(one.OnlyB) != 0 || one.Images != 6 || one.Labelled != 3 {
		t.Fatalf("%+v", one)
	}
	last := -1000.0
	for _, l := range one.Layers {
		if l.SQNR == nil || *l.SQNR < last || l.MaxErr == 0 || l.WeightCodes != nil {
			t.Errorf("%+v", l)
		}
		last = *l.SQNR
		if l.Kind == KindLinear && l.BitsB != "f32" && (l.BytesB >= l.BytesA || l.WeightSQNR == nil) {
			t.Errorf("%+v", l)
		}
	}
	// the student and its packed form hold the same codes
	same, err := Diff(context.Background(), s, p, noise, o)
	if err != nil {
		t.Fatal(err)
	}
	if same.Agreement != 1 || same.MaxLogit > 1e-5 {
		t.Errorf("%+v", same)
	}
	quantised := 0
	for _, l := range same.Layers {
		if l.BitsA == "f32" && l.BitsB == "f32" { // the block has no residual sums, so its MLP is not recognised
			continue
		}
		quantised++
		if l.BitsA != l.BitsB || l.MaxErr > 1e-5 || l.Cosine < 0.9999 || l.InputCodes == nil || *l.InputCodes != 1 {
			t.Errorf("%+v", l)
		}
		if l.Kind == KindLinear && (l.WeightCodes == nil || *l.WeightCodes != 1 || l.WeightSQNR != nil) {
			t.Errorf("%+v", l)
		}
	}
	if quantised < 6 {
		t.Errorf("%d layers quantised", quantised)
	}
}

func TestDiffRefuses(t *testing.T) {
	g := parsed(t)
	o := DiffOptions{Name: passes.LayerName}
	none := func(int) ([]float32, []int32, error) { return nil, nil, nil }
	if _, err := Diff(context.Background(), g, g, none, o); err == nil {
		t.Error("no images, no error")
	}
	bad := func(int) ([]float32, []int32, error) { return make([]float32, 5), []int32{0}, nil }
	if _, err := Diff(context.Background(), g, g, bad, o); err == nil {
		t.Error("wrong size, no error")
	}
	inf, _ := g.Clone()
	inf.Value("wp").SetConst(inf.Value("wp").Const.Clone())
	inf.Value("wp").Const.F32()[0] = float32(math.Inf(1))
	if _, err := Diff(context.Background(), g, inf, noise, o); err == nil || !strings.Contains(err.Error(), "not finite") {
		t.Errorf("%v", err)
	}
}

// A layer under another name is found by its place; one too many is named.
func TestPairProducts(t *testing.T) {
	as := []*product{{name: "x", kind: KindLinear}, {name: "y", kind: KindLinear}, {name: "m", kind: KindContext}}
	bs := []*product{{name: "y", kind: KindLinear}, {name: "z", kind: KindLinear}}
	pairs, onlyA, onlyB := pairProducts(as, bs)
	if len(pairs) != 2 || pairs[0].b.name != "z" || pairs[1].b.name != "y" || fmt.Sprint(onlyA, onlyB) != "[m] []" {
		t.Errorf("%v %v %v", pairs, onlyA, onlyB)
	}
}

func ExampleDiff() {
	g, err := ir.Parse(block, ir.ParseOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	coarse, _ := g.Clone()
	w := coarse.Value("w2")
	w.SetConst(w.Const.Clone())
	for i, x := range w.Const.F32() { // fc2 in steps of a quarter
		w.Const.F32()[i] = float32(int(x*4)) / 4
	}
	c, err := Diff(context.Background(), g, coarse, noise, DiffOptions{Name: passes.LayerName})
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Layers = c.Layers[:3]
	_ = c.WriteTable(os.Stdout)
	// Output:
	// layer                        kind      bits          SQNR dB   cosine  max error   weight  w codes in codes      bytes
	// head                         linear    f32              10.7  0.96391       0.93    equal                           80
	// block0.fc2                   linear    f32              11.1  0.97147      0.716     11.5                          128
	// block0.q                     linear    f32             equal  1.00000          0    equal                           64
	// weights    272 -> 272 bytes
	// logits     largest difference 0.93, median of the images 0.768
	// top-1      0.00 % -> 0.00 % (+0.00)
	// agreement  66.67 % of 6 images get the same class
}
