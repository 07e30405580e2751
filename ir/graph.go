package ir

import (
	"fmt"
	"iter"
	"slices"
)

// Domain is the operator domain of this tool's own operators.
const Domain = "ai.qvitc"

// Domains of other people's quantised operators that are understood.
const (
	Microsoft = "com.microsoft"           // contrib operators of ONNX Runtime
	QONNX     = "qonnx.custom_op.general" // QONNX, FINN, hls4ml
	Brevitas  = "onnx.brevitas"           // the same operators under an older name
	FINN      = "finn.custom_op.general"  // and under an older one still
)

// Graph is a model: values flow from Inputs and constants through the nodes,
// which are kept in topological order, to Outputs.
type Graph struct {
	Name      string
	Inputs    []*Value
	Outputs   []*Value
	Meta      map[string]string // ONNX metadata_props
	Functions []*Function       // model-local functions that nodes call

	first, last *Node
	len         int
	names       map[string]*Value
	suffix      map[string]int // next suffix that Unique tries for a base
}

// Function is a model-local function: an operator of a custom domain whose
// meaning is its Body (ONNX FunctionProto). The body's inputs and outputs are
// the formal parameters; their types may be unknown. Attrs lists the names of
// attributes that calls carry; bodies here do not refer to them.
type Function struct {
	Domain, Name string
	Doc          string
	Attrs        []string
	Body         *Graph
}

// Function finds a model-local function; nil when there is none.
func (g *Graph) Function(domain, name string) *Function {
	for _, f := range g.Functions {
		if f.Domain == domain && f.Name == name {
			return f
		}
	}
	return nil
}

// Value is an edge: defined once, by a node (Def), as a constant (Const) or as
// a graph input (neither). Fields are for reading; edits go through Graph.
type Value struct {
	Name  string
	Type  Type
	Const *Tensor
	Def   *Node

	uses []Use
}

// Use is one place where a node reads a value.
type Use struct {
	Node  *Node
	Index int
}

// Uses lists the node inputs that read v, in no particular order. Graph
// outputs are not among them (see Graph.IsOutput).
func (v *Value) Uses() []Use { return v.uses }

// IsConst reports whether v is a constant.
func (v *Value) IsConst() bool { return v != nil && v.Const != nil }

// Node is one operation. A nil input or output is an optional one left out.
type Node struct {
	Domain  string // "" is ai.onnx
	Op      string // canonical name, newest form
	Name    string // as in the original file; may be empty
	Attrs   Attrs
	Inputs  []*Value
	Outputs []*Value
	Role    Role
	Origin  Origin

	prev, next *Node
	dead       bool
}

// Is reports whether the node is the ai.onnx operator op.
func (n *Node) Is(op string) bool { return n != nil && n.Domain == "" && n.Op == op }

// IsOwn reports whether the node is the ai.qvitc operator op.
func (n *Node) IsOwn(op string) bool { return n != nil && n.Domain == Domain && n.Op == op }

// Input gives input i, or nil when it is left out.
func (n *Node) Input(i int) *Value {
	if i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return nil
}

// Label is the name that people know n by: its own, its name in the file that it
// came from, that of its first output, or its operator.
func (n *Node) Label() string {
	switch {
	case n.Name != "":
		return n.Name
	case n.Origin.Name != "":
		return n.Origin.Name
	case len(n.Outputs) > 0 && n.Outputs[0] != nil:
		return n.Outputs[0].Name
	}
	return n.Op
}

// Out is the first output.
func (n *Node) Out() *Value { return n.Outputs[0] }

// Next is the following node in topological order; nil at the end.
func (n *Node) Next() *Node { return n.next }

// Origin leads back to the file the user gave.
type Origin struct {
	File  string
	Name  string   // node name there
	Op    string   // operator there
	Index int      // 1-based position in the file; 0 when made by a pass
	By    []string // passes that rewrote it
}

// Role says what a node is in a transformer, as recognised by structure.
type Role struct {
	Kind  string // one of the Role constants, or empty
	Block int    // 0-based block index; -1 outside blocks
}

// Roles of nodes. Projection roles sit on the MatMul, Gemm or Conv itself.
const (
	RolePatchEmbed = "patch_embed"
	RoleQKV        = "qkv" // fused projection
	RoleQ          = "q"   // separate projections
	RoleK          = "k"
	RoleV          = "v"
	RoleScores     = "scores"  // q·kᵀ
	RoleProbs      = "probs"   // softmax
	RoleContext    = "context" // probs·v
	RoleProj       = "proj"
	RoleFC1        = "fc1"
	RoleFC2        = "fc2"
	RoleMerge      = "merge" // Swin patch merging
	RoleHead       = "head"
	RoleNorm       = "norm"
	RoleAct        = "act" // GELU
	RoleIRMQ       = "irm_q"
	RoleIRMK       = "irm_k"
)

// New makes an empty graph.
func New(name string) *Graph {
	return &Graph{Name: name, Meta: map[string]string{}, names: map[string]*Value{}, suffix: map[string]int{}}
}

// Len is the number of nodes.
func (g *Graph) Len() int { return g.len }

// First is the first node in topological order; nil when there is none.
func (g *Graph) First() *Node { return g.first }

// Nodes walks the nodes in topological order. The walk survives removal of any
// node and sees nodes inserted after the current one.
func (g *Graph) Nodes() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for n := g.first; n != nil; n = n.next {
			if n.dead {
				continue
			}
			if !yield(n) {
				return
			}
		}
	}
}

// Value finds a value by name; nil when there is none.
func (g *Graph) Value(name string) *Value { return g.names[name] }

// IsOutput reports whether v is a graph output.
func (g *Graph) IsOutput(v *Value) bool { return slices.Contains(g.Outputs, v) }

// Consts lists the constants in order of first use, then unused ones that are
// graph outputs.
func (g *Graph) Consts() []*Value {
	var out []*Value
	seen := map[*Value]bool{}
	add := func(v *Value) {
		if v.IsConst() && !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	for n := range g.Nodes() {
		for _, v := range n.Inputs {
			add(v)
		}
	}
	for _, v := range g.Outputs {
		add(v)
	}
	return out
}

// Unique gives base, or base with a free suffix _2, _3, ... that was not given
// out before.
func (g *Graph) Unique(base string) string {
	if base == "" {
		base = "v"
	}
	name := base
	for g.names[name] != nil {
		g.suffix[base] = max(2, g.suffix[base]+1)
		name = fmt.Sprintf("%s_%d", base, g.suffix[base])
	}
	return name
}

func (g *Graph) newValue(name string, t Type) *Value {
	v := &Value{Name: g.Unique(name), Type: t}
	g.names[v.Name] = v
	return v
}

// AddInput appends a graph input. The name is made unique.
func (g *Graph) AddInput(name string, t Type) *Value {
	v := g.newValue(name, t)
	g.Inputs = append(g.Inputs, v)
	return v
}

// AddConst makes a constant. The name is made unique.
func (g *Graph) AddConst(name string, t *Tensor) *Value {
	v := g.newValue(name, t.Type())
	v.Const = t
	return v
}

// AddOutput marks v as the next graph output.
func (g *Graph) AddOutput(v *Value) { g.Outputs = append(g.Outputs, v) }

// SetConst replaces the tensor of a constant (shape and type may change).
func (v *Value) SetConst(t *Tensor) { v.Const, v.Type = t, t.Type() }
