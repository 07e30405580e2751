package onnxio

import "github.com/qvitc/qvitc/ir"

var softmaxOps = []string{"Softmax", "LogSoftmax", "Hardmax"}

// registerSoftmax: below opset 13 these flatten their input to 2-D at axis
// (default 1) and work on its rows; since 13 they work along axis (default -1).
func registerSoftmax() {
	register(13, func(u *upgrade, n *ir.Node) error {
		if !n.Attrs.Has("axis") {
			n.Attrs["axis"] = int64(1)
		}
		u.later = append(u.later, n)
		return nil
	}, softmaxOps...)
}

// softmaxes rewrites the old nodes. On the last axis both meanings are one; any
// other axis becomes Flatten, the operator on the rows, and Reshape back. The
// shape of the result is right in either meaning, so inference can run first.
func (u *upgrade) softmaxes(s *scope) error {
	if len(u.later) == 0 {
		return nil
	}
	if s.outer == nil && s.bind == nil {
		if err := u.inferred(); err != nil {
			return err
		}
	}
	for _, n := range u.later {
		x := n.Input(0)
		rank, axis := x.Type.Rank(), n.Attrs.Int("axis", 1)
		if rank >= 0 && (axis < -rank || axis > rank || axis == rank && rank > 0) {
			return n.Errorf("axis %d is out of range for rank %d", axis, rank)
		}
		if axis == -1 || rank > 0 && axis == rank-1 {
			n.Attrs["axis"] = int64(-1)
			continue
		}
		rows := u.before(n, "Flatten", "rows", ir.Attrs{"axis": int64(axis)}, x)
		shape := u.before(n, "Shape", "shape", nil, x)
		n.SetInput(0, rows)
		n.Attrs["axis"] = int64(-1)
		y := n.Out()
		t := y.Type
		back := u.g.InsertAfter(n, "", "Reshape", nil, nil, fresh(n, "back"))
		back.Origin = n.Origin
		back.Out().Type = t
		y.Type = ir.Type{Elem: t.Elem}
		u.g.ReplaceUses(y, back.Out())
		back.SetInput(0, y)
		back.SetInput(1, shape)
	}
	return nil
}
