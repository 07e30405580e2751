package passes

import (
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// DropIdentity removes nodes that give back their input.
var DropIdentity = Pass{
	Name: "drop-identity",
	Doc: `remove nodes that give back their input

Identity, Dropout outside training or with ratio 0, Cast to the same type,
Transpose that keeps the order, Reshape, Expand, Slice, Squeeze and Unsqueeze
to the same shape, Pad by zero, Concat and Split of one.`,
	Run: dropIdentity,
}

func dropIdentity(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	changed := false
	for n := range g.Nodes() {
		if !isIdentity(g, n) {
			continue
		}
		in, out := n.Inputs[0], n.Outputs[0]
		if g.IsOutput(out) && (in.Def == nil || g.IsOutput(in)) {
			continue // an output must be made by a node of its own
		}
		if n.Op == "Identity" && in.Type.Elem == ir.Undefined {
			in.Type = out.Type
		}
		g.ReplaceUses(out, in)
		g.Remove(n)
		r.Count(n.Op, 1)
		changed = true
	}
	return changed, nil
}

func isIdentity(g *ir.Graph, n *ir.Node) bool {
	if n.Domain != "" || len(n.Inputs) == 0 || n.Inputs[0] == nil || n.Outputs[0] == nil {
		return false
	}
	for _, o := range n.Outputs[1:] {
		if o != nil && (len(o.Uses()) > 0 || g.IsOutput(o)) {
			return false
		}
	}
	in, out := n.Inputs[0].Type, n.Outputs[0].Type
	switch n.Op {
	case "Identity":
		return true
	case "Dropout":
		return isInertDropout(n)
	case "Cast":
		return in.Elem != ir.Undefined && int(in.Elem) == n.Attrs.Int("to", 0)
	case "Transpose":
		return isIdentityPerm(perm(n))
	case "Reshape":
		return sameShape(in, out) || copiesShape(n)
	case "Expand", "Squeeze", "Unsqueeze", "Flatten":
		return sameShape(in, out)
	case "Concat":
		return len(n.Inputs) == 1
	case "Split":
		return len(n.Outputs) == 1
	case "Slice":
		return sameShape(in, out) && stepsAreOne(n)
	case "Pad":
		return padsNothing(n)
	}
	return false
}

// copiesShape reports whether a constant target repeats the input's shape with
// at most one dimension left to be inferred.
func copiesShape(n *ir.Node) bool {
	target, ok := intsOf(n.Input(1))
	if !ok || n.Inputs[0].Type.Rank() != len(target) || n.Attrs.Int("allowzero", 0) != 0 {
		return false
	}
	free := 0
	for i, t := range target {
		d := n.Inputs[0].Type.Shape[i]
		switch {
		case t == 0:
		case t == -1:
			free++
		case d.Known() && int(d.Size) == t:
		default:
			return false
		}
	}
	return free <= 1
}

func isInertDropout(n *ir.Node) bool {
	if training := n.Input(2); training != nil {
		if !training.IsConst() || training.Const.Len() != 1 {
			return false
		}
		if training.Const.Int(0) != 0 {
			ratio, ok := scalar(n.Input(1))
			return ok && ratio == 0
		}
	}
	return true
}

func stepsAreOne(n *ir.Node) bool {
	if n.Input(4) == nil {
		return true
	}
	steps, ok := intsOf(n.Input(4))
	if !ok {
		return false
	}
	for _, s := range steps {
		if s != 1 {
			return false
		}
	}
	return true
}

func padsNothing(n *ir.Node) bool {
	pads, ok := intsOf(n.Input(1))
	if !ok {
		return false
	}
	for _, p := range pads {
		if p != 0 {
			return false
		}
	}
	return true
}
