package passes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// Recognise names the parts of the transformer.
var Recognise = Pass{
	Name: "recognise",
	Doc: `name what each node is in the transformer, by structure alone

Attention is found around each Softmax: scores, probs, context, the projections
q, k, v (or qkv in one) behind it and proj after it. Heads are the linear layers
that make the outputs; fc1 and fc2 are linear layers with an activation between;
merge widens a regrouped residual stream; patch_embed is what first reads the
image. Blocks are numbered along the flow of data. What is left over stays in
float and is named in a note.`,
	Run: recognise,
}

func recognise(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	c := recogniser{g: g, r: r, roles: map[*ir.Node]ir.Role{}}
	c.attention()
	c.heads()
	c.mlps()
	c.patchEmbed()
	c.merges()
	c.norms()
	return c.commit(), nil
}

type recogniser struct {
	g         *ir.Graph
	r         *Report
	roles     map[*ir.Node]ir.Role
	attn      []*attention
	last      map[*ir.Value]int // highest block that a value depends on; absent: none
	residuals map[*ir.Value]int // where attention blocks branch off the residual stream
}

func (c *recogniser) set(n *ir.Node, kind string, block int) {
	if n != nil {
		c.roles[n] = ir.Role{Kind: kind, Block: block}
	}
}

func (c *recogniser) has(n *ir.Node) bool { _, ok := c.roles[n]; return ok }

// attention numbers the attentions along the longest chain of attentions before
// each and gives them their roles.
func (c *recogniser) attention() {
	c.attn = findAttention(c.g)
	at := map[*ir.Node]*attention{}
	for _, a := range c.attn {
		at[a.context] = a
	}
	depth := map[*ir.Value]int{}
	level := map[*attention]int{}
	c.flow(func(n *ir.Node, in []*ir.Value) {
		d := 0
		for _, v := range in {
			d = max(d, depth[v])
		}
		if a := at[n]; a != nil {
			level[a] = d
			d++
		}
		for _, o := range n.Outputs {
			depth[o] = d
		}
	})
	slices.SortStableFunc(c.attn, func(a, b *attention) int { return level[a] - level[b] })
	number := map[*ir.Node]int{}
	c.residuals = map[*ir.Value]int{}
	for i, a := range c.attn {
		number[a.context] = i
		c.set(a.scores, ir.RoleScores, i)
		c.set(a.softmax, ir.RoleProbs, i)
		c.set(a.context, ir.RoleContext, i)
		c.projections(a, i)
		if a.proj != nil && !c.has(a.proj) {
			c.set(a.proj, ir.RoleProj, i)
		}
		c.residuals[sourceOf(a.qLinear.Inputs[0])] = i
	}
	c.last = map[*ir.Value]int{}
	c.flow(func(n *ir.Node, in []*ir.Value) {
		b := -1
		for _, v := range in {
			if k, ok := c.last[v]; ok {
				b = max(b, k)
			}
		}
		if i, ok := number[n]; ok {
			b = i
		}
		for _, o := range n.Outputs {
			if b >= 0 {
				c.last[o] = b
			}
		}
	})
}

// flow visits the nodes in order with their inputs.
func (c *recogniser) flow(visit func(n *ir.Node, in []*ir.Value)) {
	for n := range c.g.Nodes() {
		visit(n, n.Inputs)
	}
}

func (c *recogniser) projections(a *attention, block int) {
	shared := a.qLinear == a.kLinear || a.kLinear == a.vLinear || a.qLinear == a.vLinear
	for i, l := range []*ir.Node{a.qLinear, a.kLinear, a.vLinear} {
		kind := []string{ir.RoleQ, ir.RoleK, ir.RoleV}[i]
		if shared && (l == a.qLinear && (l == a.kLinear || l == a.vLinear) || l == a.kLinear && l == a.vLinear) {
			kind = ir.RoleQKV
		}
		c.set(l, kind, block)
	}
}

// block is the number of the last attention that v depends on; -1 for none.
func (c *recogniser) block(v *ir.Value) int {
	if b, ok := c.last[v]; ok {
		return b
	}
	return -1
}

// sourceOf goes back from v over layout and normalisation to the value that
// they rearrange.
func sourceOf(v *ir.Value) *ir.Value {
	steps := 1024 // far more than any exporter needs
	return sourceWithin(v, &steps)
}

func sourceWithin(v *ir.Value, steps *int) *ir.Value {
	for v.Def != nil && *steps > 0 {
		*steps--
		n := v.Def
		switch n.Op {
		case "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "Cast",
			"Slice", "Pad", "LayerNormalization", "RMSNormalization", "FakeQuant", "Gather":
			v = n.Inputs[0]
		case "Concat":
			s := sourceWithin(n.Inputs[0], steps)
			for _, in := range n.Inputs[1:] {
				if sourceWithin(in, steps) != s {
					return v
				}
			}
			v = s
		default:
			return v
		}
	}
	return v
}

// regroups tells a convolution that merges patches, each read once, from one
// that mixes neighbours within a block.
func regroups(n *ir.Node) bool {
	strides := n.Attrs.Ints("strides")
	w := convWeight(n).Const.Shape
	if n.Attrs.Int("group", 1) != 1 || len(strides) != len(w)-2 {
		return false
	}
	for i, s := range strides {
		if s < 2 || w[2+i] != s {
			return false
		}
	}
	return true
}

// patchEmbed finds the convolutions before the first attention, and linear
// layers that read the rearranged image.
func (c *recogniser) patchEmbed() {
	for n := range c.g.Nodes() {
		if c.has(n) {
			continue
		}
		switch {
		case n.Is("Conv") && convWeight(n) != nil:
			if c.block(n.Out()) < 0 {
				c.set(n, ir.RolePatchEmbed, -1)
			} else if regroups(n) {
				c.set(n, ir.RoleMerge, c.block(n.Out()))
			}
		case IsLinear(n) && c.block(n.Out()) < 0:
			if img := imageOf(n.Inputs[0]); slices.Contains(c.g.Inputs, img) && img.Type.Rank() >= 4 {
				c.set(n, ir.RolePatchEmbed, -1)
			}
		}
	}
}

// convWeight is the constant weight of a Conv, also behind a FakeQuant.
func convWeight(n *ir.Node) *ir.Value {
	w := n.Input(1)
	if w != nil && w.Def.IsOwn("FakeQuant") {
		w = w.Def.Inputs[0]
	}
	if w.IsConst() && w.Const.Elem.IsFloat() {
		return w
	}
	return nil
}

// imageOf goes back over layout, normalisation and arithmetic with constants.
func imageOf(v *ir.Value) *ir.Value {
	for {
		s := sourceOf(v)
		n := s.Def
		if n == nil || !(n.Is("Add") || n.Is("Sub") || n.Is("Mul") || n.Is("Div")) {
			return s
		}
		switch {
		case n.Inputs[1].IsConst():
			v = n.Inputs[0]
		case n.Inputs[0].IsConst():
			v = n.Inputs[1]
		default:
			return s
		}
	}
}

// merges finds linear layers that read a regrouped, wider residual stream.
func (c *recogniser) merges() {
	for n := range c.g.Nodes() {
		if !IsLinear(n) || c.has(n) || c.block(n.Out()) < 0 {
			continue
		}
		src := known(sourceOf(n.Inputs[0]), -1)
		if k := weightOf(n).Const.Shape[0]; src > 0 && k > src && k%src == 0 {
			c.set(n, ir.RoleMerge, c.block(n.Out()))
		}
	}
}

// norms gives each LayerNormalization the block of the layers that read it.
func (c *recogniser) norms() {
	for n := range c.g.Nodes() {
		if n.Is("Gelu") && !c.has(n) {
			c.set(n, ir.RoleAct, c.block(n.Out()))
		}
		if !n.Is("LayerNormalization") || n.Role.Kind == ir.RoleIRMQ || n.Role.Kind == ir.RoleIRMK {
			continue
		}
		block := -1
		if l := linearAhead(n.Out(), visited{}, 16); l != nil {
			block = c.roles[l].Block
		} else if b := c.readerBlock(n.Out(), visited{}, 16); b >= 0 {
			block = b
		}
		if l := linearAhead(n.Out(), visited{}, 16); l != nil && !c.has(l) {
			block = -1
		}
		c.set(n, ir.RoleNorm, block)
	}
}

// readerBlock is the block of the first node with a role that reads v through
// layout operators.
func (c *recogniser) readerBlock(v *ir.Value, seen visited, depth int) int {
	if depth == 0 || !seen.first(v) {
		return -1
	}
	for _, n := range users(v) {
		if r, ok := c.roles[n]; ok && r.Kind != ir.RoleHead {
			return r.Block
		}
		switch n.Op {
		case "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Concat", "Pad", "Mul", "Split", "Gather", "Cast":
			if b := c.readerBlock(n.Outputs[0], seen, depth-1); b >= 0 {
				return b
			}
		}
	}
	return -1
}

// commit writes the roles, counts them and names what is left over.
func (c *recogniser) commit() bool {
	changed := false
	var left []string
	for n := range c.g.Nodes() {
		role, ok := c.roles[n]
		if !ok {
			role = ir.Role{Block: -1}
			if n.Role.Kind == ir.RoleIRMQ || n.Role.Kind == ir.RoleIRMK {
				role = n.Role
			}
		}
		if n.Role != role {
			n.Role = role
			changed = true
		}
		if role.Kind != "" {
			c.r.Count(role.Kind, 1)
		}
		if role.Kind == "" && (IsLinear(n) || n.Is("MatMul") || n.Is("Gemm") || n.Is("Conv") || n.Is("Einsum") || n.Is("Softmax")) {
			left = append(left, fmt.Sprintf("%s (%s)", LayerName(n), n.Op))
		}
	}
	c.r.Count("blocks", len(c.attn))
	if len(left) > 0 {
		c.r.Note(nil, "not recognised, left in float: %s", strings.Join(left, ", "))
	}
	return changed
}
