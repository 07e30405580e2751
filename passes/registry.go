package passes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// Clean brings the graph of any exporter into one form and names its parts.
var Clean = []Pass{
	ToFloat32, FoldConstants, DropIdentity, DropMasks, DropDead, ExpandEinsum, FuseLayerNorm, FuseGelu, CanonicalLinear,
	MergeLayout, CanonicalAttention, Recognise,
}

// Quantize inserts the quantisers and the IRM of a plan into a clean graph.
func Quantize(p Plan) []Pass {
	return []Pass{InsertIRM(p), InsertFakeQuant(p)}
}

// Lower turns a calibrated or trained student into operators that a file can
// hold: packed products of the domain ai.qvitc, and standard ones.
var Lower = []Pass{LowerPacked, LowerConv, LowerFakeQuant, LowerGelu}

// Targets lists what writes quantisers in the forms of targets other than packed.
var Targets = []Pass{LowerQDQ(QDQ{}), LowerQDQ(QDQ{Bytes: true}), LowerQDQ(QDQ{Int2: true}), WeightsOnly, LowerNBits(NBits{TwoBits: true}), LowerQONNX}

// Constraint says that one pass must run before another where both are in a
// list, and why.
type Constraint struct{ Before, After, Why string }

// Order lists what the order of the lists above rests on.
var Order = []Constraint{
	{"to-float32", "fold-constants", "a Cast of half-precision weights to float32 folds away"},
	{"fold-constants", "drop-identity", "no-op Slice and Pad are seen by constant bounds"},
	{"fold-constants", "expand-einsum", "products with several indices need known sizes"},
	{"fold-constants", "canonical-linear", "a weight behind a Transpose becomes a plain constant matrix"},
	{"fold-constants", "fuse-layernorm", "axes and eps become constants"},
	{"drop-identity", "fuse-layernorm", "an Identity between the parts hides the pattern"},
	{"drop-identity", "fuse-gelu", "an Identity or Cast between the parts hides the pattern"},
	{"drop-identity", "canonical-linear", "an Identity between a weight and its reader hides the weight"},
	{"fold-constants", "drop-masks", "a mask is a constant before it is expanded to the batch"},
	{"drop-masks", "canonical-attention", "a mask that masks nothing hides the scores from their Softmax"},
	{"expand-einsum", "canonical-linear", "a dense Einsum becomes a linear layer only as MatMul"},
	{"expand-einsum", "canonical-attention", "attention is found around MatMul products"},
	{"canonical-linear", "canonical-attention", "the walk back from q, k and v ends at a linear layer"},
	{"merge-transposes", "canonical-attention", "a batched transpose spelled with Reshape must be one Transpose"},
	{"fuse-layernorm", "recognise", "norms are named as LayerNormalization nodes"},
	{"fuse-gelu", "recognise", "the activation between fc1 and fc2 is one Gelu node"},
	{"canonical-linear", "recognise", "layers are named as MatMul with a constant weight"},
	{"canonical-attention", "recognise", "scores, probs and context are named in canonical form"},
	{"recognise", "insert-irm", "IRM goes where the role scores stands"},
	{"recognise", "insert-fakequant", "a plan gives bits to roles"},
	{"insert-irm", "insert-fakequant", "the quantiser must see the rectified q and k"},
	{"insert-fakequant", "lower-packed", "packed products are made of quantised operands"},
	{"lower-packed", "lower-conv", "what packs must not be written as DequantizeLinear"},
	{"lower-packed", "lower-fakequant", "what packs must not be spelled out"},
	{"lower-conv", "lower-fakequant", "8-bit inputs of Conv have a standard form of their own"},
}

// CheckOrder reports the first constraint that a list breaks; nil when none.
func CheckOrder(list []Pass) error {
	for _, c := range Order {
		after := indexPass(list, c.After)
		if before := lastIndexPass(list, c.Before); after >= 0 && before > after {
			return fmt.Errorf("pass %s must run before %s: %s", c.Before, c.After, c.Why)
		}
	}
	return nil
}

func lastIndexPass(list []Pass, name string) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Name == name {
			return i
		}
	}
	return -1
}

// Group is a named list of passes.
type Group struct {
	Name   string
	Doc    string
	Passes []Pass
}

// Groups is the table of all passes for a plan, in the order they run.
func Groups(p Plan) []Group {
	return []Group{
		{"clean", "one form for the graph of any exporter", Clean},
		{"quantize", "quantisers and IRM as the plan says", Quantize(p)},
		{"lower", "packed and standard operators for the file", Lower},
		{"raise", "quantised graphs of any target back into quantisers", Raise},
		{"targets", "the forms of the other targets, each to be used alone", Targets},
	}
}

// ParseList reads a list such as "clean,-fuse-gelu": names of groups and passes
// in order, a minus takes a pass (or a group) out of what stands before it. The
// result must keep the order constraints.
func ParseList(spec string, p Plan) ([]Pass, error) {
	groups := Groups(p)
	var names []string
	lookup := func(name string) []Pass {
		for _, g := range groups {
			if g.Name == name {
				return g.Passes
			}
			if i := indexPass(g.Passes, name); i >= 0 {
				return g.Passes[i : i+1]
			}
		}
		return nil
	}
	for _, g := range groups {
		names = append(names, g.Name)
		for _, p := range g.Passes {
			names = append(names, p.Name)
		}
	}
	var list []Pass
	for item := range strings.SplitSeq(spec, ",") {
		item = strings.TrimSpace(item)
		name, minus := strings.CutPrefix(item, "-")
		found := lookup(name)
		if found == nil {
			return nil, &ir.Error{
				Msg:  fmt.Sprintf("passes: no pass or group %s", ir.Quote(name)),
				Hint: "nearest: " + strings.Join(Nearest(name, names, 3), ", "),
			}
		}
		if !minus {
			list = append(list, found...)
			continue
		}
		before := len(list)
		list = slices.DeleteFunc(slices.Clone(list), func(p Pass) bool { return indexPass(found, p.Name) >= 0 })
		if len(list) == before {
			return nil, &ir.Error{Msg: fmt.Sprintf("passes: -%s takes out nothing: name its group before it", name)}
		}
	}
	return list, CheckOrder(list)
}
