package report

import (
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// Part is one part of a model as its builder thinks of it: a layer, or a group
// of layers such as a block, its attention or its MLP.
type Part struct {
	Name   string  `json:"name"`             // role, or "block 3", "attention", "mlp", "other"
	Layer  string  `json:"layer,omitempty"`  // what the file calls it
	Op     string  `json:"op,omitempty"`     // operator of a layer
	In     []int   `json:"in,omitempty"`     // shape of the first input for one image, without the batch
	Out    []int   `json:"out,omitempty"`    // shape of the output
	Params int     `json:"params,omitempty"` // float parameters, those of the parts with them
	Parts  []*Part `json:"parts,omitempty"`
}

// attentionRoles and mlpRoles are the layers of a block that go under one heading.
var (
	attentionRoles = map[string]bool{ir.RoleQKV: true, ir.RoleQ: true, ir.RoleK: true, ir.RoleV: true, ir.RoleIRMQ: true, ir.RoleIRMK: true,
		ir.RoleScores: true, ir.RoleProbs: true, ir.RoleContext: true, ir.RoleProj: true}
	mlpRoles = map[string]bool{ir.RoleFC1: true, ir.RoleAct: true, ir.RoleFC2: true}
)

// Tree arranges the nodes of a graph with recognised roles as model, blocks,
// attention and MLP, in the order of the data. name gives what people call a
// layer. The parameters of all parts add up to those of Describe; those that
// belong to no layer (tokens, position embedding) stand under "other".
//
// Shapes are of one image; the leading batch dimension of 1 is left out.
func Tree(g *ir.Graph, name func(*ir.Node) string) (*Part, error) {
	one, err := oneImage(g)
	if err != nil {
		return nil, err
	}
	t := treeBuilder{root: &Part{Name: "model"}, groups: map[string]*Part{}, parts: map[*ir.Node]*Part{}, name: name}
	for n := range one.Nodes() {
		if n.Role.Kind != "" {
			t.add(n)
		}
	}
	other := &Part{Name: "other"}
	for _, v := range one.Consts() {
		if !isParam(v) {
			continue
		}
		p := t.parts[owner(v)]
		if p == nil {
			p = &Part{Name: v.Name, Out: v.Const.Shape}
			other.Parts = append(other.Parts, p)
		}
		p.Params += v.Const.Len()
	}
	if len(other.Parts) > 0 {
		t.root.Parts = append(t.root.Parts, other)
	}
	t.root.sum()
	return t.root, nil
}

type treeBuilder struct {
	root   *Part
	groups map[string]*Part
	parts  map[*ir.Node]*Part
	name   func(*ir.Node) string
}

func (t *treeBuilder) add(n *ir.Node) {
	in := t.root
	kind := n.Role.Kind
	if b := n.Role.Block; b >= 0 && kind != ir.RoleMerge {
		in = t.group(in, fmt.Sprintf("block %d", b), fmt.Sprint(b))
		switch {
		case attentionRoles[kind]:
			in = t.group(in, "attention", fmt.Sprint(b, " attention"))
		case mlpRoles[kind]:
			in = t.group(in, "mlp", fmt.Sprint(b, " mlp"))
		}
	}
	p := &Part{Name: kind, Layer: t.name(n), Op: n.Op, Out: perImage(n.Outputs[0])}
	if len(n.Inputs) > 0 {
		p.In = perImage(n.Inputs[0])
	}
	in.Parts = append(in.Parts, p)
	t.parts[n] = p
}

func (t *treeBuilder) group(in *Part, name, key string) *Part {
	p := t.groups[key]
	if p == nil {
		p = &Part{Name: name}
		t.groups[key] = p
		in.Parts = append(in.Parts, p)
	}
	return p
}

// perImage gives the known shape of a value without a leading 1.
func perImage(v *ir.Value) []int {
	if v == nil {
		return nil
	}
	dims, _ := v.Type.Shape.Ints()
	if len(dims) > 1 && dims[0] == 1 {
		dims = dims[1:]
	}
	return dims
}

// owner is the layer that a parameter belongs to: the one that reads it, behind
// a FakeQuant or not, or the one whose output it is added to.
func owner(v *ir.Value) *ir.Node {
	if len(v.Uses()) == 0 {
		return nil
	}
	n := v.Uses()[0].Node
	for n.IsOwn("FakeQuant") && len(n.Outputs[0].Uses()) > 0 {
		n = n.Outputs[0].Uses()[0].Node
	}
	if n.Role.Kind != "" || !n.Is("Add") {
		return n
	}
	for _, in := range n.Inputs {
		if in != v && in.Def != nil && v.Type.Rank() == 1 {
			return in.Def
		}
	}
	return nil
}

func (p *Part) sum() int {
	for _, q := range p.Parts {
		p.Params += q.sum()
	}
	return p.Params
}

// String prints the parts below p, one a line.
func (p *Part) String() string {
	var b strings.Builder
	for _, q := range p.Parts {
		q.print(&b, 0)
	}
	return b.String()
}

func (p *Part) print(b *strings.Builder, depth int) {
	shape := times(p.Out)
	if s := times(p.In); s != shape && s != "" {
		shape = s + " -> " + shape
	}
	params := ""
	if p.Params > 0 {
		params = fmt.Sprint(p.Params)
	}
	line := fmt.Sprintf("%-20s %-18s %-24s %10s  %s", strings.Repeat("  ", depth)+p.Name, p.Op, shape, params, p.Layer)
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	for _, q := range p.Parts {
		q.print(b, depth+1)
	}
}

// times writes a shape as 3x17x32.
func times(dims []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(dims), " ", "x"), "[]")
}
