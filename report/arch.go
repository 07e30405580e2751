package report

import (
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// Arch is what a recognised vision transformer is made of.
type Arch struct {
	Name    string         `json:"name"`   // "DeiT-S", "Swin-T", or "ViT 96x6" (width x blocks)
	Blocks  int            `json:"blocks"` // transformer blocks
	Heads   []int          `json:"heads"`  // attention heads, one entry a stage
	Widths  []int          `json:"widths"` // embedding width, one entry a stage
	Depths  []int          `json:"depths"` // blocks, one entry a stage
	Tokens  int            `json:"tokens"` // tokens of an attention call (of one window for Swin)
	HeadDim int            `json:"head_dim"`
	Patch   []int          `json:"patch,omitempty"` // patch height and width
	Classes []int          `json:"classes"`         // outputs of each classifier head
	Input   []int          `json:"input"`           // C, H, W
	Roles   map[string]int `json:"roles"`
	Params  int            `json:"params"` // float parameters; scalars and masks are not counted
	MACs    MACs           `json:"macs"`   // for one image
	Sizes   []Size         `json:"sizes"`  // at 32, 4, 3 and 2 bit
}

// MACs counts multiply-accumulates of one image by kind of layer.
type MACs struct {
	Linear    int64 `json:"linear"`    // qkv, proj, MLP, patch merging
	Attention int64 `json:"attention"` // QKᵀ and PV
	Patch     int64 `json:"patch"`
	Head      int64 `json:"head"`
	Other     int64 `json:"other"` // products that no role claims: they stay float
	Total     int64 `json:"total"`
}

// Size is the cost of the model with b-bit linear layers and attention and an
// 8-bit first and last layer.
type Size struct {
	Bits  int     `json:"bits"`
	Bytes int64   `json:"bytes"`   // 32 bits a float parameter + b bits a quantised one; scales not counted
	OPs   float64 `json:"ops"`     // FP MACs + {1/4, 1/8, 1/16, 1/32} of the {8, 4, 3, 2}-bit MACs
	BOPs  float64 `json:"bit_ops"` // sum of MACs x weight bits x activation bits
}

var linearRoles = []string{ir.RoleQKV, ir.RoleQ, ir.RoleK, ir.RoleV, ir.RoleProj, ir.RoleFC1, ir.RoleFC2, ir.RoleMerge}

// Describe reads the architecture off a graph with recognised roles. Symbolic
// dimensions are taken as 1, so all counts are for one image.
func Describe(g *ir.Graph) (*Arch, error) {
	one, err := oneImage(g)
	if err != nil {
		return nil, err
	}
	a := &Arch{Roles: map[string]int{}}
	if len(one.Inputs) > 0 && one.Inputs[0].Type.Rank() == 4 {
		a.Input, _ = one.Inputs[0].Type.Shape[1:].Ints()
	}
	quantised, first := 0, 0
	blocks := map[int]bool{}
	for n := range one.Nodes() {
		kind := n.Role.Kind
		if kind != "" {
			a.Roles[kind]++
		}
		macs := products(n)
		a.MACs.Total += macs
		params := weightParams(n)
		switch {
		case slices.Contains(linearRoles, kind):
			a.MACs.Linear += macs
			quantised += params
			if kind == ir.RoleFC1 {
				a.stage(n)
			}
		case kind == ir.RoleScores || kind == ir.RoleContext:
			a.MACs.Attention += macs
			if kind == ir.RoleScores {
				blocks[n.Role.Block] = true
				a.attention(n)
			}
		case kind == ir.RolePatchEmbed:
			a.MACs.Patch += macs
			first += params
			a.Patch = n.Attrs.Ints("kernel_shape")
			if a.Patch == nil && n.Is("Conv") {
				a.Patch, _ = n.Inputs[1].Type.Shape[2:].Ints()
			}
		case kind == ir.RoleHead:
			a.MACs.Head += macs
			first += params
			if t := n.Out().Type; t.Rank() > 0 {
				a.Classes = append(a.Classes, int(t.Shape[t.Rank()-1].Size))
			}
		default:
			a.MACs.Other += macs
		}
	}
	a.Blocks = len(blocks)
	a.Params = Params(one)
	a.sizes(quantised, first)
	a.name()
	return a, nil
}

// oneImage is a copy of g with every symbolic dimension taken as 1.
func oneImage(g *ir.Graph) (*ir.Graph, error) {
	one, _ := g.Clone()
	dims := map[string]int{}
	for _, v := range one.Inputs {
		for _, d := range v.Type.Shape {
			if d.Sym != "" {
				dims[d.Sym] = 1
			}
		}
	}
	if err := ops.Subst(one, dims); err != nil {
		return nil, err
	}
	_, err := ops.Infer(one)
	return one, err
}

// stage notes the width of a block's MLP input.
func (a *Arch) stage(fc1 *ir.Node) {
	t := fc1.Inputs[0].Type
	if t.Rank() < 1 {
		return
	}
	w := int(t.Shape[t.Rank()-1].Size)
	if k := len(a.Widths); k == 0 || a.Widths[k-1] != w {
		a.Widths = append(a.Widths, w)
		a.Depths = append(a.Depths, 0)
	}
	a.Depths[len(a.Depths)-1]++
}

// attention notes heads, tokens and head width from a product of q and kᵀ.
func (a *Arch) attention(scores *ir.Node) {
	q, s := scores.Inputs[0].Type, scores.Out().Type
	if q.Rank() < 3 || s.Rank() < 3 {
		return
	}
	a.Tokens = int(s.Shape[s.Rank()-1].Size)
	a.HeadDim = int(q.Shape[q.Rank()-1].Size)
	heads := int(s.Shape[s.Rank()-3].Size) // batch 1: also right for merged batch x heads
	if k := len(a.Heads); k == 0 || a.Heads[k-1] != heads {
		a.Heads = append(a.Heads, heads)
	}
}

// products counts the multiply-accumulates of matrix products and convolutions;
// normalisation does not count.
func products(n *ir.Node) int64 {
	if n.Op == "LayerNormalization" {
		return 0
	}
	macs, _ := ops.MACs(n)
	return macs
}

// weightParams counts the elements of a linear layer's weight, also behind a FakeQuant.
func weightParams(n *ir.Node) int {
	for _, v := range n.Inputs {
		if v != nil && v.Def.IsOwn("FakeQuant") {
			v = v.Def.Inputs[0]
		}
		if v.IsConst() && len(v.Const.Shape) >= 2 {
			return v.Const.Len()
		}
	}
	return 0
}

// Params counts float parameters: constants of more than one element, except
// attention masks and the scales and zero points of quantisers.
func Params(g *ir.Graph) int {
	total := 0
	for _, v := range g.Consts() {
		if isParam(v) {
			total += v.Const.Len()
		}
	}
	return total
}

func isParam(v *ir.Value) bool {
	t := v.Const
	return t.Elem.IsFloat() && t.Len() >= 2 && !isMask(t) && !quantiserParam(v)
}

// isMask reports an attention mask: zeros and large negative values only.
func isMask(t *ir.Tensor) bool {
	masked := false
	for i := range t.Len() {
		f := t.Float(i)
		if f != 0 && f > -50 {
			return false
		}
		masked = masked || f != 0
	}
	return masked
}

func quantiserParam(v *ir.Value) bool {
	for _, u := range v.Uses() {
		if !u.Node.IsOwn("FakeQuant") || u.Index == 0 {
			return false
		}
	}
	return len(v.Uses()) > 0
}

func (a *Arch) sizes(quantised, first int) {
	fp := a.Params - quantised - first
	share := map[int]float64{32: 1, 4: 1. / 8, 3: 1. / 16, 2: 1. / 32}
	low := float64(a.MACs.Linear + a.MACs.Attention)
	ends := float64(a.MACs.Patch + a.MACs.Head)
	other := float64(a.MACs.Other)
	for _, b := range []int{32, 4, 3, 2} {
		endBits, endShare := 8, 1./4
		if b == 32 {
			endBits, endShare = 32, 1
		}
		a.Sizes = append(a.Sizes, Size{
			Bits:  b,
			Bytes: (32*int64(fp) + int64(b)*int64(quantised) + int64(endBits)*int64(first) + 7) / 8,
			OPs:   other + ends*endShare + low*share[b],
			BOPs:  low*float64(b*b) + ends*float64(endBits*endBits) + other*1024,
		})
	}
}

// known lists published architectures by widths, heads and depths.
var known = []struct {
	name                  string
	widths, heads, depths []int
}{
	{"DeiT-T", []int{192}, []int{3}, []int{12}},
	{"DeiT-S", []int{384}, []int{6}, []int{12}},
	{"DeiT-B", []int{768}, []int{12}, []int{12}},
	{"ViT-L", []int{1024}, []int{16}, []int{24}},
	{"Swin-T", []int{96, 192, 384, 768}, []int{3, 6, 12, 24}, []int{2, 2, 6, 2}},
	{"Swin-S", []int{96, 192, 384, 768}, []int{3, 6, 12, 24}, []int{2, 2, 18, 2}},
	{"Swin-B", []int{128, 256, 512, 1024}, []int{4, 8, 16, 32}, []int{2, 2, 18, 2}},
}

func (a *Arch) name() {
	for _, k := range known {
		if slices.Equal(k.widths, a.Widths) && slices.Equal(k.heads, a.Heads) && slices.Equal(k.depths, a.Depths) {
			a.Name = k.name
		}
	}
	switch {
	case a.Name != "":
	case a.Blocks == 0:
		a.Name = "no transformer blocks recognised"
	case len(a.Widths) > 1:
		a.Name = fmt.Sprintf("Swin %vx%v", a.Widths, a.Depths)
	case len(a.Widths) == 1:
		a.Name = fmt.Sprintf("ViT %dx%d", a.Widths[0], a.Blocks)
	default:
		a.Name = fmt.Sprintf("transformer of %d blocks", a.Blocks)
	}
	if len(a.Classes) == 2 && len(a.Widths) == 1 {
		a.Name += " distilled"
	}
}
