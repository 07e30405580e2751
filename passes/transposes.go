package passes

import (
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// MergeLayout joins chains of Transpose and of Reshape.
var MergeLayout = Pass{
	Name: "merge-transposes",
	Doc: `join chains of Transpose and of Reshape

Transpose of Transpose becomes one Transpose, Reshape of Reshape one Reshape,
and Reshape, Transpose, Reshape that only reorders whole axes (a batched
transpose through a merged batch) becomes one Transpose. A Transpose read by a
product with role scores stays: it separates k from its transposed form.`,
	Run: mergeLayout,
}

func mergeLayout(g *ir.Graph, r *Report) (bool, error) {
	changed := false
	for again := true; again; { // what vanishes brings others together
		if _, err := ops.Infer(g); err != nil {
			return changed, err
		}
		again = false
		for n := range g.Nodes() {
			switch {
			case n.Is("Transpose"):
				again = mergeTranspose(g, r, n) || again
			case n.Is("Reshape"):
				again = mergeReshape(r, n) || mergeReshapeTranspose(g, r, n) || again
			}
		}
		if again {
			dropDead(g, &Report{Pass: r.Pass})
			changed = true
		}
	}
	return changed, nil
}

func mergeTranspose(g *ir.Graph, r *Report, n *ir.Node) bool {
	if readByScores(n.Out()) {
		return false
	}
	first := def(n.Inputs[0], "Transpose")
	if first == nil {
		return false
	}
	a, b := perm(first), perm(n)
	if a == nil || len(a) != len(b) {
		return false
	}
	p := compose(a, b)
	n.SetInput(0, first.Inputs[0])
	n.Attrs["perm"] = ir.Int64s(p...)
	r.rewrote(n)
	r.Count("transposes", 1)
	if isIdentityPerm(p) && !(g.IsOutput(n.Out()) && (n.Inputs[0].Def == nil || g.IsOutput(n.Inputs[0]))) {
		g.ReplaceUses(n.Out(), n.Inputs[0])
	}
	return true
}

func readByScores(v *ir.Value) bool {
	for _, u := range v.Uses() {
		if u.Node.Role.Kind == ir.RoleScores {
			return true
		}
	}
	return false
}

// mergeReshape lets a Reshape read the input of the Reshape before it. The
// second target must not copy dimensions from the value that goes away.
func mergeReshape(r *Report, n *ir.Node) bool {
	first := def(n.Inputs[0], "Reshape")
	target, ok := intsOf(n.Input(1))
	if first == nil || !ok {
		return false
	}
	for _, t := range target {
		if t == 0 {
			return false
		}
	}
	n.SetInput(0, first.Inputs[0])
	r.rewrote(n)
	r.Count("reshapes", 1)
	return true
}

// mergeReshapeTranspose recognises Reshape, Transpose, Reshape where the first
// only merges neighbouring axes and the last splits them again.
func mergeReshapeTranspose(g *ir.Graph, r *Report, last *ir.Node) bool {
	t := def(last.Inputs[0], "Transpose")
	if t == nil {
		return false
	}
	first := def(t.Inputs[0], "Reshape")
	if first == nil {
		return false
	}
	src, mid, out := first.Inputs[0].Type, first.Out().Type, last.Out().Type
	if !src.Ranked || !mid.Ranked || !out.Ranked || len(out.Shape) != len(src.Shape) {
		return false
	}
	groups, ok := mergedGroups(src.Shape, mid.Shape)
	if !ok {
		return false
	}
	var p []int
	for _, m := range perm(t) {
		p = append(p, groups[m]...)
	}
	// The order must give the shape that the last Reshape makes. One unknown
	// dimension is settled by all the others.
	unknown := 0
	for i, axis := range p {
		if !src.Shape[axis].Same(out.Shape[i]) {
			if src.Shape[axis].Known() && out.Shape[i].Known() {
				return false
			}
			unknown++
		}
	}
	if unknown > 1 {
		return false
	}
	n := g.InsertBefore(last, "", "Transpose", ir.Attrs{"perm": ir.Int64s(p...)}, []*ir.Value{first.Inputs[0]}, last.Out().Name)
	n.Out().Type = permuted(src, p)
	r.inherit(n, last)
	substitute(g, last.Out(), n.Out())
	g.Remove(last)
	r.Count("batched transposes", 1)
	return true
}

// mergedGroups says which axes of src each axis of dst merges; false when dst
// is not made by merging neighbours. An unknown axis of dst takes unknown axes.
func mergedGroups(src, dst ir.Shape) ([][]int, bool) {
	groups := make([][]int, len(dst))
	// from the right, so that a dynamic batch at the left takes what remains
	i := len(src) - 1
	for j := len(dst) - 1; j >= 0; j-- {
		if j == 0 {
			for k := 0; k <= i; k++ {
				groups[0] = append(groups[0], k)
			}
			i = -1
			break
		}
		if !dst[j].Known() {
			return nil, false
		}
		size := int64(1)
		for i >= 0 && size < dst[j].Size {
			if !src[i].Known() {
				return nil, false
			}
			size *= src[i].Size
			groups[j] = append([]int{i}, groups[j]...)
			i--
		}
		if size != dst[j].Size || len(groups[j]) == 0 {
			return nil, false
		}
	}
	if len(dst) == 0 || i >= 0 {
		return nil, false
	}
	if d := dst[0]; d.Known() {
		size := int64(1)
		for _, k := range groups[0] {
			if !src[k].Known() {
				return groups, true // the rest settles it
			}
			size *= src[k].Size
		}
		if size != d.Size {
			return nil, false
		}
	}
	return groups, len(groups[0]) > 0
}
