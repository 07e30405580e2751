package zoo_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/zoo"
)

func cleaned(t *testing.T, g *ir.Graph) *ir.Graph {
	t.Helper()
	if _, err := (&passes.Driver{}).Run(g, passes.Clean); err != nil {
		t.Fatal(err)
	}
	return g
}

func images(n, channels, side int, seed uint64) *ir.Tensor {
	x, _ := ir.NewTensor(ir.Float32, n, channels, side, side)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range x.F32() {
		x.F32()[i] = float32(r.NormFloat64())
	}
	return x
}

func logits(t *testing.T, g *ir.Graph, x *ir.Tensor) *ir.Tensor {
	t.Helper()
	out, err := ops.EvalGraph(g, map[string]*ir.Tensor{g.Inputs[0].Name: x})
	if err != nil {
		t.Fatal(err)
	}
	return out[g.Outputs[0].Name]
}

func near(t *testing.T, have, want *ir.Tensor, tolerance float64) {
	t.Helper()
	if have.Len() != want.Len() {
		t.Fatalf("%v and %v", have.Shape, want.Shape)
	}
	for i := range have.Len() {
		if d := math.Abs(have.Float(i) - want.Float(i)); d > tolerance {
			t.Fatalf("logit %d is %v, want %v", i, have.Float(i), want.Float(i))
		}
	}
}

// A network of the same size with the weights of an exporter's gives its answers.
func TestFromExporters(t *testing.T) {
	for _, file := range []string{
		"../testdata/onnx/deit-fmnist.onnx",
		"../../shared/models/timm-deit-op11-nofold-dyn/model.onnx",
		"../../shared/models/tv-vit-op17-dyn/model.onnx",
		"../../shared/models/timm10-deit-op17-dyn/model.onnx",
	} {
		t.Run(file, func(t *testing.T) {
			src, err := onnxio.Load(file, onnxio.Options{})
			if err != nil {
				t.Skipf("not beside this repository: %v", err)
			}
			g := cleaned(t, src)
			c, err := zoo.SizesOf(g)
			if err != nil {
				t.Fatal(err)
			}
			have, err := c.From(context.Background(), g)
			if err != nil {
				t.Fatal(err)
			}
			x := images(2, c.Channels, c.Image, 1)
			near(t, logits(t, have, x), logits(t, g, x), 2e-4)
		})
	}
}

// A network for images of a quarter of the size answers, with fewer blocks, as
// its original does on the images enlarged: exactly but for the borders of the
// patches, where enlarging looks across and a resized kernel cannot.
func TestFromResizes(t *testing.T) {
	big := zoo.DeiT{Dim: 24, Depth: 2, Heads: 3, Patch: 16, Image: 64, Channels: 3, Classes: 7, Seed: 3}
	src := cleaned(t, draw(t, big))
	small := big
	small.Patch, small.Image = 4, 16
	g, err := small.From(context.Background(), src)
	if err != nil {
		t.Fatal(err)
	}
	// Constant patches enlarge to constant patches, borders included where each is
	// enlarged by itself.
	const n = 2
	x, y := images(n, 3, 16, 2), images(n, 3, 64, 2)
	for i := range y.F32() {
		col, row, plane := i%64, i/64%64, i/64/64
		y.F32()[i] = x.F32()[plane*256+row/16*4*16+col/16*4]
	}
	for i := range x.F32() {
		col, row, plane := i%16, i/16%16, i/256
		x.F32()[i] = y.F32()[plane*64*64+row/4*16*64+col/4*16]
	}
	near(t, logits(t, g, x), logits(t, src, y), 1e-4)

	other := small
	other.Patch, other.Depth, other.Classes = 8, 1, 3 // another grid, a block less, a fresh head
	if g, err = other.From(context.Background(), src); err != nil {
		t.Fatal(err)
	}
	if s := logits(t, g, x).Shape; s[1] != 3 {
		t.Errorf("logits of shape %v", s)
	}
}

func TestFromRefuses(t *testing.T) {
	have := zoo.DeiT{Dim: 24, Depth: 2, Heads: 3, Patch: 4, Image: 16, Channels: 3, Classes: 7}
	src := cleaned(t, draw(t, have))
	for want, change := range map[string]func(c *zoo.DeiT){
		"no norm in block 2":                func(c *zoo.DeiT) { c.Depth = 3 },
		"not with 2 heads":                  func(c *zoo.DeiT) { c.Heads = 2 },
		"where the new network has [24 48]": func(c *zoo.DeiT) { c.MLP = 2 },
		"not [48, 3, side, side]":           func(c *zoo.DeiT) { c.Dim = 48 },
		"not [24, 1, side, side]":           func(c *zoo.DeiT) { c.Channels = 1 },
	} {
		c := have
		change(&c)
		if _, err := c.From(context.Background(), src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	swin := cleaned(t, draw(t, smallSwin))
	if _, err := zoo.SizesOf(swin); err == nil || !strings.Contains(err.Error(), "merges patches, as in a Swin") {
		t.Errorf("sizes of a Swin: %v", err)
	}
	if distilled, err := onnxio.Load("../../shared/models/timm-deit-distilled-op17-dyn/model.onnx", onnxio.Options{}); err == nil {
		g := cleaned(t, distilled)
		c, err := zoo.SizesOf(g)
		if err == nil {
			_, err = c.From(context.Background(), g)
		}
		if err == nil || !strings.Contains(err.Error(), "2 tokens beside those of the patches") {
			t.Errorf("distilled: %v", err)
		}
	}
	if _, err := (zoo.DeiT{Dim: 12, Depth: 2, Heads: 3, Patch: 4, Image: 16, Channels: 3, Classes: 7}).From(context.Background(), swin); err == nil {
		t.Error("took a Swin's weights")
	}
	if c, err := zoo.SizesOf(ir.New("empty")); err == nil {
		t.Errorf("sizes %+v of nothing", c)
	}
	odd := cleaned(t, draw(t, have))
	for n := range odd.Nodes() {
		if n.Role.Kind == ir.RoleFC2 && n.Role.Block == 1 {
			scaled := odd.InsertAfter(n, "", "Mul", nil, []*ir.Value{n.Out(), odd.AddConst("gamma", ir.Of(make([]float32, 24), 24))}, "scaled")
			odd.ReplaceUses(n.Out(), scaled.Out())
			scaled.SetInput(0, n.Out())
		}
	}
	if _, err := have.From(context.Background(), odd); err == nil || !strings.Contains(err.Error(), `no place for its parameter "`) {
		t.Errorf("%v", err)
	}
}

// The new network computes what the trained one does also where its GELU is the tanh
// form and its epsilons are other ones.
func TestFromKeepsForms(t *testing.T) {
	c := zoo.DeiT{Dim: 24, Depth: 2, Heads: 3, Patch: 4, Image: 16, Channels: 3, Classes: 7, Seed: 3, TanhGelu: true}
	exact := c
	exact.TanhGelu = false
	src := draw(t, c)
	eps := float32(0.05)
	for n := range src.Nodes() {
		if n.Is("LayerNormalization") {
			n.Attrs["epsilon"] = eps
			eps *= 2
		}
	}
	clean := cleaned(t, src)
	g, err := exact.From(context.Background(), clean)
	if err != nil {
		t.Fatal(err)
	}
	x := images(2, 3, 16, 1)
	near(t, logits(t, g, x), logits(t, clean, x), 1e-6)
	if have, want := g.Len(), draw(t, c).Len(); have != want {
		t.Errorf("%d nodes, want %d", have, want)
	}
	back := cleaned(t, g)
	for n := range back.Nodes() {
		if n.Role.Kind == ir.RoleAct && n.Attrs.Str("approximate", "none") != "tanh" {
			t.Errorf("%q is not the tanh form", n.Label())
		}
	}

	mixed := cleaned(t, draw(t, c))
	for n := range mixed.Nodes() {
		if n.Role.Kind == ir.RoleAct && n.Role.Block == 1 {
			n.Attrs["approximate"] = "none"
		}
	}
	if _, err := c.From(context.Background(), mixed); err == nil || !strings.Contains(err.Error(), `is of the form "none", in the first block "tanh"`) {
		t.Errorf("two forms: %v", err)
	}
	for n := range mixed.Nodes() {
		if n.Role.Kind == ir.RoleAct && n.Role.Block == 0 {
			n.Op, n.Attrs = "Relu", nil
		}
	}
	if _, err := c.From(context.Background(), mixed); err == nil || !strings.Contains(err.Error(), "no GELU, the only activation") {
		t.Errorf("ReLU: %v", err)
	}
}

// ending is a context that ends when it has been asked so many times.
type ending struct {
	context.Context
	left int
}

func (e *ending) Err() error {
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

// Drawing and resizing stop, wherever they are, when the context ends.
func TestStops(t *testing.T) {
	c := zoo.DeiT{Dim: 24, Depth: 2, Heads: 3, Patch: 4, Image: 16, Channels: 3, Classes: 7}
	src := cleaned(t, draw(t, c))
	small := c
	small.Patch, small.Image = 8, 64
	for name, f := range map[string]func(context.Context) (*ir.Graph, error){
		"deit": c.Graph, "swin": smallSwin.Graph,
		"from": func(ctx context.Context) (*ir.Graph, error) { return small.From(ctx, src) },
	} {
		all := &ending{context.Background(), 1 << 30}
		if _, err := f(all); err != nil {
			t.Fatal(err)
		}
		asked := 1<<30 - all.left
		if asked < 10 {
			t.Errorf("%s: the context is looked at %d times", name, asked)
		}
		for n := range asked {
			if g, err := f(&ending{context.Background(), n}); g != nil || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: stopped at question %d of %d: %v", name, n, asked, err)
			}
		}
	}
}
