package passes

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// LayerName gives the name a person would call the layer of node n, in the
// dotted form of the training framework: "blocks.3.attn.qkv" for the node
// "/blocks/blocks.3/attn/qkv/MatMul". It looks at the bias tensor that only
// this layer reads, at the node's name in the file, at the weight tensor, and
// at last at role and block. Names serve people and globs; no pass decides by
// them what a node is.
func LayerName(n *ir.Node) string {
	if isProjection(n) {
		if s := tensorLayerName(biasOf(n)); s != "" {
			return s
		}
	}
	if s := nodeLayerName(n); s != "" {
		return s
	}
	if isProjection(n) {
		if s := tensorLayerName(n.Input(1)); s != "" {
			return s
		}
	}
	if n.Role.Kind != "" {
		if n.Role.Block >= 0 {
			return fmt.Sprintf("block%d.%s", n.Role.Block, n.Role.Kind)
		}
		return n.Role.Kind
	}
	if len(n.Outputs) > 0 && n.Outputs[0] != nil {
		return n.Outputs[0].Name
	}
	return n.Op
}

// parentName drops the last part of a dotted name.
func parentName(s string) string {
	if i := strings.LastIndexByte(s, '.'); i > 0 {
		return s[:i]
	}
	return ""
}

func isProjection(n *ir.Node) bool {
	return n.Is("MatMul") || n.Is("Gemm") || n.Is("Conv") || n.Domain == ir.Domain && strings.HasPrefix(n.Op, "QLinear")
}

// biasOf finds the constant added to the output of a projection.
func biasOf(n *ir.Node) *ir.Value {
	if n.Domain == ir.Domain {
		return n.Input(5)
	}
	if b := n.Input(2); b.IsConst() {
		return b
	}
	if add := soleUser(n.Out()); add.Is("Add") {
		if b := other(add, n.Out()); b.IsConst() && b.Type.Rank() == 1 {
			return b
		}
	}
	return nil
}

// tensorLayerName reads "x.y.bias", "x.y.weight" or "x.in_proj_bias"; "" for
// generated names and for tensors that several nodes share.
func tensorLayerName(v *ir.Value) string {
	if !v.IsConst() || len(v.Uses()) != 1 || !strings.Contains(v.Name, ".") {
		return ""
	}
	for _, suffix := range []string{".bias", "_bias", ".weight", "_weight"} {
		if s, ok := strings.CutSuffix(v.Name, suffix); ok && s != "" {
			return s
		}
	}
	return ""
}

// nodeLayerName turns the path of module calls that PyTorch writes into the
// dotted module name.
func nodeLayerName(n *ir.Node) string {
	s := n.Name
	if s == "" {
		s = n.Origin.Name
	}
	if !strings.Contains(s, "/") {
		return s
	}
	parts := strings.Split(strings.Trim(s, "/"), "/")
	if len(parts) > 1 && isOpName(parts[len(parts)-1]) {
		parts = parts[:len(parts)-1]
	}
	var keep []string
	for i, p := range parts {
		if i+1 < len(parts) && strings.HasPrefix(parts[i+1], p+".") {
			continue // "/blocks/blocks.3": the second says both
		}
		keep = append(keep, p)
	}
	return strings.Join(keep, ".")
}

// isOpName recognises the operator at the end of an exporter's node name, such
// as MatMul or Add_12.
func isOpName(s string) bool {
	base, _, _ := strings.Cut(s, "_")
	return base != "" && base[0] >= 'A' && base[0] <= 'Z'
}

// MatchGlob reports whether the glob matches the name: * and ? stop at dots,
// ** does not, [a-c] is a class. A glob without a wildcard also matches every
// name below it, so "blocks.3" covers "blocks.3.attn.qkv".
func MatchGlob(glob, name string) (bool, error) {
	if !strings.ContainsAny(glob, "*?[") {
		return glob == name || strings.HasPrefix(name, glob+"."), nil
	}
	// path.Match keeps * within one /-separated part
	g := strings.Split(strings.ReplaceAll(glob, ".", "/"), "/")
	return matchParts(g, strings.Split(strings.ReplaceAll(name, ".", "/"), "/"))
}

func matchParts(glob, name []string) (bool, error) {
	if len(glob) == 0 {
		return len(name) == 0, nil
	}
	if glob[0] == "**" {
		for k := range len(name) + 1 {
			if ok, err := matchParts(glob[1:], name[k:]); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	}
	if len(name) == 0 {
		_, err := path.Match(glob[0], "")
		return false, err
	}
	ok, err := path.Match(glob[0], name[0])
	if !ok || err != nil {
		return false, err
	}
	return matchParts(glob[1:], name[1:])
}

// Nearest gives up to k of the names closest to s: first those that s is the
// beginning of, each kind by edit distance.
func Nearest(s string, names []string, k int) []string {
	type cand struct {
		name string
		d    int
	}
	var c []cand
	for _, n := range names {
		c = append(c, cand{n, editDistance(s, n)})
	}
	begins := func(x cand) int {
		if s != "" && strings.HasPrefix(x.name, s) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(c, func(a, b cand) int { return cmp.Or(begins(a)-begins(b), a.d-b.d) })
	var out []string
	for _, x := range c {
		if len(out) < k && !slices.Contains(out, x.name) {
			out = append(out, x.name)
		}
	}
	return out
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := prev
			if a[i-1] != b[j-1] {
				cost++
			}
			prev = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
