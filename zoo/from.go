package zoo

import (
	"context"
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// From draws the network with the weights of a trained DeiT or ViT: src, a float
// graph in clean form whose parts have roles (passes.Clean), of the same width,
// heads and MLP, and at least as many blocks, of which it takes the first. The
// kernel of the patches becomes the one that answers on a patch as the trained
// one does on the patch resized, bilinearly, to its size (FlexiViT, Beyer et al.
// 2023, for a linear resize and its transpose); positions are resized as a map of
// side x side vectors, with the triangle filter. The head is taken where the
// classes are as many, else it is fresh. Each normalisation keeps its epsilon; the form
// of GELU is that of src, whatever TanhGelu says. The error names what does not fit, or
// is that of ctx; src is not changed.
func (c DeiT) From(ctx context.Context, src *ir.Graph) (*ir.Graph, error) {
	if _, err := c.check(); err != nil {
		return nil, err
	}
	t := trained{ctx: ctx, src: src, width: c.Dim, heads: c.Heads, taken: map[*ir.Tensor]bool{}}
	t.index()
	c.TanhGelu = t.tanhGelu(c.Depth)
	g, err := c.Graph(ctx)
	if err != nil {
		return nil, err
	}
	t.embedding(g, c)
	for i := range c.Depth {
		t.block(g, i)
	}
	t.norm(g, "norm", -1, 0)
	t.head(g, c.Classes)
	t.allTaken(c.Depth)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t.err != nil {
		return nil, t.err
	}
	return g, nil
}

// SizesOf reads the sizes of a DeiT or ViT from its clean graph with roles.
func SizesOf(src *ir.Graph) (DeiT, error) {
	var c DeiT
	for n := range src.Nodes() {
		var s []int
		if w := n.Input(1); w.IsConst() {
			s = w.Const.Shape
		}
		switch kind := n.Role.Kind; {
		case kind == ir.RolePatchEmbed && len(s) == 4:
			c.Dim, c.Channels, c.Patch = s[0], s[1], s[2]
		case kind == ir.RoleScores && len(n.Inputs[0].Type.Shape) == 4:
			c.Heads, c.Depth = int(n.Inputs[0].Type.Shape[1].Size), max(c.Depth, n.Role.Block+1)
		case kind == ir.RoleFC1 && len(s) == 2:
			c.MLP = float64(s[1]) / float64(s[0])
		case kind == ir.RoleHead && len(s) == 2:
			c.Classes = s[1]
		case kind == ir.RoleMerge:
			return DeiT{}, fmt.Errorf("not a DeiT or ViT: node %q merges patches, as in a Swin", n.Label())
		}
	}
	if len(src.Inputs) > 0 && len(src.Inputs[0].Type.Shape) == 4 {
		c.Image = int(src.Inputs[0].Type.Shape[2].Size)
	}
	if _, err := c.check(); err != nil {
		return DeiT{}, fmt.Errorf("not a DeiT or ViT: %w", err)
	}
	return c, nil
}

// trained reads the parts of a recognised graph; err is the first that is
// missing or does not fit.
type trained struct {
	ctx          context.Context
	src          *ir.Graph
	width, heads int
	nodes        map[ir.Role][]*ir.Node
	taken        map[*ir.Tensor]bool
	err          error
}

func (t *trained) failf(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf(format, args...)
	}
}

func (t *trained) index() {
	t.nodes = map[ir.Role][]*ir.Node{}
	for n := range t.src.Nodes() {
		if n.Role.Kind != "" {
			t.nodes[n.Role] = append(t.nodes[n.Role], n)
		}
	}
	if n := t.node(ir.RoleScores, 0, 0); n != nil {
		if s := n.Inputs[0].Type.Shape; len(s) != 4 || int(s[1].Size) != t.heads {
			t.failf("node %q computes attention of shape %v, not with %d heads", n.Label(), s, t.heads)
		}
	}
}

// node is the k-th node of a role; nil, and an error, where there is none.
func (t *trained) node(kind string, block, k int) *ir.Node {
	if l := t.nodes[ir.Role{Kind: kind, Block: block}]; k < len(l) {
		return l[k]
	}
	if block >= 0 {
		t.failf("it has no %s in block %d", kind, block)
	} else {
		t.failf("it has no %s", kind)
	}
	return nil
}

// set writes a tensor of the new network; the shapes must be equal.
func (t *trained) set(g *ir.Graph, name string, from string, x []float32, shape ...int) {
	v := g.Value(name)
	if t.err != nil {
		return
	}
	if want := v.Const.Shape; !slices.Equal(want, shape) {
		t.failf("%s has shape %v where the new network has %v", from, shape, want)
		return
	}
	v.SetConst(ir.Of(slices.Clone(x), shape...))
}

// weights are the constant that a node reads at input k.
func (t *trained) weights(n *ir.Node, k int) *ir.Tensor {
	if v := n.Input(k); v.IsConst() && v.Const.F32() != nil {
		t.taken[v.Const] = true
		return v.Const
	}
	t.failf("input %d of node %q is not a constant of float32", k, n.Label())
	return nil
}

// linear gives the weight [in, out] of a layer and its bias, zeros without one.
func (t *trained) linear(n *ir.Node) (w *ir.Tensor, bias []float32) {
	if n == nil {
		return nil, nil
	}
	if !n.Is("MatMul") {
		t.failf("node %q is %s, not a linear layer", n.Label(), n.Op)
		return nil, nil
	}
	if w = t.weights(n, 1); w == nil || len(w.Shape) != 2 {
		t.failf("the weight of node %q is not a matrix", n.Label())
		return nil, nil
	}
	bias = make([]float32, w.Shape[1])
	for _, u := range n.Out().Uses() {
		if other := u.Node.Input(1 - u.Index); u.Node.Is("Add") && other.IsConst() && other.Const.Len() == len(bias) {
			copy(bias, other.Const.F32())
			t.taken[other.Const] = true
		}
	}
	return w, bias
}

func (t *trained) setLinear(g *ir.Graph, module, kind string, block int) {
	n := t.node(kind, block, 0)
	if w, b := t.linear(n); w != nil {
		t.set(g, module+".weight", n.Label(), w.F32(), w.Shape...)
		t.set(g, module+".bias", n.Label(), b, len(b))
	}
}

// norm copies the k-th normalisation of a block.
func (t *trained) norm(g *ir.Graph, module string, block, k int) {
	n := t.node(ir.RoleNorm, block, k)
	if n == nil {
		return
	}
	for i, name := range []string{"weight", "bias"} {
		if w := t.weights(n, 1+i); w != nil {
			t.set(g, module+"."+name, n.Label(), w.F32(), w.Shape...)
		}
	}
	g.Value(module + ".weight").Uses()[0].Node.Attrs["epsilon"] = n.Attrs.Float("epsilon", 1e-5)
}

// tanhGelu says whether the activation of the first blocks is GELU in its tanh form; it
// is an error where one is no GELU, or of another form than the first.
func (t *trained) tanhGelu(depth int) bool {
	form := ""
	for i := range depth {
		l := t.nodes[ir.Role{Kind: ir.RoleFC2, Block: i}]
		if len(l) == 0 {
			return false // what is missing is named later
		}
		act := l[0].Inputs[0].Def
		if act == nil || !act.Is("Gelu") {
			t.failf("what node %q reads is no GELU, the only activation of the new network", l[0].Label())
			return false
		}
		this := act.Attrs.Str("approximate", "none")
		if form == "" {
			form = this
		}
		if this != form {
			t.failf("GELU in node %q is of the form %q, in the first block %q; the new network has one form", act.Label(), this, form)
			return false
		}
	}
	return form == "tanh"
}

func (t *trained) block(g *ir.Graph, i int) {
	at := fmt.Sprintf("blocks.%d.", i)
	t.norm(g, at+"norm1", i, 0)
	if len(t.nodes[ir.Role{Kind: ir.RoleQKV, Block: i}]) > 0 {
		t.setLinear(g, at+"attn.qkv", ir.RoleQKV, i)
	} else {
		t.joinQKV(g, at+"attn.qkv", i)
	}
	t.setLinear(g, at+"attn.proj", ir.RoleProj, i)
	t.norm(g, at+"norm2", i, 1)
	t.setLinear(g, at+"mlp.fc1", ir.RoleFC1, i)
	t.setLinear(g, at+"mlp.fc2", ir.RoleFC2, i)
}

// joinQKV puts three projections side by side.
func (t *trained) joinQKV(g *ir.Graph, module string, block int) {
	d := t.width
	w, bias := make([]float32, 3*d*d), make([]float32, 0, 3*d)
	for k, kind := range []string{ir.RoleQ, ir.RoleK, ir.RoleV} {
		n := t.node(kind, block, 0)
		one, b := t.linear(n)
		if one == nil {
			return
		}
		if one.Shape[0] != d || one.Shape[1] != d {
			t.failf("%s has shape %v where the new network has %v", n.Label(), one.Shape, []int{d, d})
			return
		}
		for r := range d {
			copy(w[r*3*d+k*d:], one.F32()[r*d:(r+1)*d])
		}
		bias = append(bias, b...)
	}
	t.set(g, module+".weight", "qkv", w, d, 3*d)
	t.set(g, module+".bias", "qkv", bias, 3*d)
}

// allTaken makes sure that the first blocks hold no parameters, such as a layer
// scale, that the new network has no place for.
func (t *trained) allTaken(depth int) {
	end := t.nodes[ir.Role{Kind: ir.RoleNorm, Block: depth}]
	if len(end) == 0 {
		end = t.nodes[ir.Role{Kind: ir.RoleNorm, Block: -1}]
	}
	if t.err != nil || len(end) == 0 {
		return
	}
	seen := map[*ir.Value]bool{}
	queue := []*ir.Value{end[0].Inputs[0]}
	for len(queue) > 0 {
		v := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if v == nil || seen[v] {
			continue
		}
		seen[v] = true
		if v.IsConst() && len(v.Const.F32()) > 1 && !t.taken[v.Const] {
			t.failf("the new network has no place for its parameter %q of shape %v", v.Name, v.Const.Shape)
		}
		if v.Def != nil {
			queue = append(queue, v.Def.Inputs...)
		}
	}
}

// head copies the classifier where it fits.
func (t *trained) head(g *ir.Graph, classes int) {
	n := t.node(ir.RoleHead, -1, 0)
	w, b := t.linear(n)
	if w == nil || w.Shape[1] != classes {
		return
	}
	in := w.Shape[0]
	x := make([]float32, w.Len())
	for r := range in {
		for k := range classes {
			x[k*in+r] = w.F32()[r*classes+k]
		}
	}
	t.set(g, "head.weight", n.Label(), x, classes, in)
	t.set(g, "head.bias", n.Label(), b, classes)
}
