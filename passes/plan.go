package passes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// Forms of the information rectification module (method.md 5).
const (
	IRMOff       = "off"
	IRMLayerNorm = "layernorm" // LayerNormalization of q and k over the head width (5.2)
	IRMRescale   = "rescale"   // normalise, quantise, give the statistics back to the scores (5.5)
	IRMStatic    = "static"    // normalise by constants of calibration, which go into the projection at export (5.6)
)

// Plan says how many bits each part of the model gets. Bits are 2, 3, 4 or 8;
// 32 leaves a part in float.
type Plan struct {
	Weights int    `json:"weights"` // linear layers between the first and the last
	Acts    int    `json:"acts"`    // their inputs, and q, k, v and the attention map
	First   int    `json:"first"`   // patch embedding: weight and input
	Last    int    `json:"last"`    // heads: weight and input
	IRM     string `json:"irm"`     // off, layernorm, rescale or static

	// PerHead gives q, k, v and the attention map one scale a head; otherwise
	// one a tensor.
	PerHead bool `json:"per_head"`
	// IRMPerHead gives each head its own gamma and beta ([H,1,d] instead of [d]).
	IRMPerHead bool `json:"irm_per_head"`
	// ZeroPoints says which inputs of linear layers get a zero point: "" (or
	// "skewed") those that are not centred, behind GELU and the image; "all" every
	// signed one, as LSQ+; "none" none, as LSQ.
	ZeroPoints string `json:"zero_points,omitempty"`

	// Overrides apply in order, then Only, Exclude last. All name layers by a
	// glob on their names (blocks.*.mlp.fc1, or blocks.3 for all below), by role
	// (role:proj) or by operator (op:Conv).
	Overrides []Override `json:"overrides,omitempty"`
	Only      []string   `json:"only,omitempty"`    // every other layer is left in float
	Exclude   []string   `json:"exclude,omitempty"` // left in float
}

// Override changes the bits of the layers it matches; 0 keeps what was.
type Override struct {
	Match   string `json:"match"`
	Weights int    `json:"weights,omitempty"`
	Acts    int    `json:"acts,omitempty"`
}

// DefaultPlan is the plan of the paper at the given widths: first and last
// layer at 8 bit, scales per head, no IRM.
func DefaultPlan(weights, acts int) Plan {
	return Plan{Weights: weights, Acts: acts, First: 8, Last: 8, IRM: IRMOff, PerHead: true}
}

// Layer is one part of a graph as a plan sees it. The products of attention
// are layers of their own, named after the attention: "blocks.3.attn.scores"
// (q and k) and "blocks.3.attn.context" (the attention map and v).
type Layer struct {
	Name    string
	Role    string
	Block   int
	Op      string
	Weights int // bits; 32: float; 0: the layer has no weight
	Acts    int
	Node    *ir.Node
}

// Float reports whether nothing of the layer is quantised.
func (l Layer) Float() bool { return (l.Weights == 0 || l.Weights == 32) && l.Acts == 32 }

var planRoles = []string{ir.RolePatchEmbed, ir.RoleQKV, ir.RoleQ, ir.RoleK, ir.RoleV, ir.RoleScores, ir.RoleContext,
	ir.RoleProj, ir.RoleFC1, ir.RoleFC2, ir.RoleMerge, ir.RoleHead}

// Resolve lists what each recognised layer of g gets, in topological order. It
// fails when bits are out of range or a glob matches nothing.
func (p Plan) Resolve(g *ir.Graph) ([]Layer, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	var layers []Layer
	for n := range g.Nodes() {
		if !slices.Contains(planRoles, n.Role.Kind) {
			continue
		}
		l := Layer{Name: LayerName(n), Role: n.Role.Kind, Block: n.Role.Block, Op: n.Op, Weights: p.Weights, Acts: p.Acts, Node: n}
		switch l.Role {
		case ir.RolePatchEmbed:
			l.Weights, l.Acts = p.First, p.First
		case ir.RoleHead:
			l.Weights, l.Acts = p.Last, p.Last
		case ir.RoleScores, ir.RoleContext:
			l.Weights = 0
			l.Name = attentionName(g, n.Role.Block) + "." + l.Role
		}
		layers = append(layers, l)
	}
	for _, o := range p.Overrides {
		err := eachMatch(layers, o.Match, func(l *Layer) {
			if o.Weights != 0 && l.Weights != 0 {
				l.Weights = o.Weights
			}
			if o.Acts != 0 {
				l.Acts = o.Acts
			}
		})
		if err != nil {
			return nil, err
		}
	}
	named := map[*ir.Node]bool{}
	for _, glob := range p.Only {
		if err := eachMatch(layers, glob, func(l *Layer) { named[l.Node] = true }); err != nil {
			return nil, err
		}
	}
	for i := range layers {
		if len(p.Only) > 0 && !named[layers[i].Node] {
			layers[i].leave()
		}
	}
	for _, glob := range p.Exclude {
		if err := eachMatch(layers, glob, (*Layer).leave); err != nil {
			return nil, err
		}
	}
	return layers, nil
}

// leave leaves the layer in float.
func (l *Layer) leave() {
	l.Acts = 32
	if l.Weights != 0 {
		l.Weights = 32
	}
}

func (p Plan) validate() error {
	check := func(what string, bits int) error {
		if !slices.Contains([]int{2, 3, 4, 8, 32}, bits) {
			return &ir.Error{Msg: fmt.Sprintf("plan: %s: %d bits; want 2, 3, 4, 8, or 32 for float", what, bits)}
		}
		return nil
	}
	for _, c := range []struct {
		what string
		bits int
	}{{"weights", p.Weights}, {"acts", p.Acts}, {"first", p.First}, {"last", p.Last}} {
		if err := check(c.what, c.bits); err != nil {
			return err
		}
	}
	for _, o := range p.Overrides {
		for _, b := range []int{o.Weights, o.Acts} {
			if b != 0 {
				if err := check("override "+ir.Quote(o.Match), b); err != nil {
					return err
				}
			}
		}
	}
	if !slices.Contains([]string{"", "skewed", "all", "none"}, p.ZeroPoints) {
		return &ir.Error{Msg: fmt.Sprintf("plan: zero points %s; want skewed, all or none", ir.Quote(p.ZeroPoints))}
	}
	switch p.IRM {
	case IRMOff, IRMLayerNorm, IRMRescale, IRMStatic:
		return nil
	}
	return &ir.Error{Msg: fmt.Sprintf("plan: irm %s; want off, layernorm, rescale or static", ir.Quote(p.IRM))}
}

// eachMatch applies f to the layers that a glob, "role:R" or "op:O" matches.
func eachMatch(layers []Layer, match string, f func(*Layer)) error {
	hits := 0
	var names []string
	for i := range layers {
		l := &layers[i]
		subject, glob := l.Name, match
		if s, ok := strings.CutPrefix(match, "role:"); ok {
			subject, glob = l.Role, s
		} else if s, ok := strings.CutPrefix(match, "op:"); ok {
			subject, glob = l.Op, s
		}
		ok, err := MatchGlob(glob, subject)
		if err != nil {
			return &ir.Error{Msg: fmt.Sprintf("bad glob %s: %v", ir.Quote(match), err)}
		}
		names = append(names, strings.TrimSuffix(match, glob)+subject)
		if ok {
			f(l)
			hits++
		}
	}
	if hits == 0 {
		return &ir.Error{
			Msg:  fmt.Sprintf("no layer matches %s", ir.Quote(match)),
			Hint: "nearest: " + strings.Join(Nearest(match, names, 5), ", "),
		}
	}
	return nil
}

// attentionName is the dotted name under which a block's attention stands: that
// of its projections less the last part.
func attentionName(g *ir.Graph, block int) string {
	for n := range g.Nodes() {
		if n.Role.Block != block {
			continue
		}
		switch n.Role.Kind {
		case ir.RoleQKV, ir.RoleQ, ir.RoleK, ir.RoleV, ir.RoleProj:
			if s := parentName(LayerName(n)); s != "" {
				return s
			}
		}
	}
	return fmt.Sprintf("block%d.attn", block)
}

// Describe lists what each layer of g gets, one a line, and counts what stays
// in float.
func (p Plan) Describe(g *ir.Graph) (string, error) {
	layers, err := p.Resolve(g)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	width := len("layer")
	for _, l := range layers {
		width = max(width, len(l.Name))
	}
	row := func(name, role, block, weights, acts string) {
		fmt.Fprintf(&b, "%-*s  %-11s  %5s  %7s  %5s\n", width, name, role, block, weights, acts)
	}
	row("layer", "role", "block", "weights", "acts")
	bits := func(n int) string {
		switch n {
		case 0:
			return "-"
		case 32:
			return "float"
		}
		return fmt.Sprint(n)
	}
	float := 0
	for _, l := range layers {
		block := "-"
		if l.Block >= 0 {
			block = fmt.Sprint(l.Block)
		}
		if l.Float() {
			float++
		}
		row(l.Name, l.Role, block, bits(l.Weights), bits(l.Acts))
	}
	fmt.Fprintf(&b, "irm %s, %d layers, %d of them in float\n", p.IRM, len(layers), float)
	return b.String(), nil
}
