package passes

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// quantSettings are what a FakeQuant node says, with its constants read.
type quantSettings struct {
	node      *ir.Node
	bits      int
	signed    bool
	axis      int // -1: one scale
	scale     []float32
	zeroPoint []int // rounded; nil: all zero
}

// quantOf reads the FakeQuant that makes v; nil when it is made otherwise or
// its scale is not a constant. A scale that is not calibrated is an error.
func quantOf(v *ir.Value) (*quantSettings, error) {
	if !quantised(v) {
		return nil, nil
	}
	n := v.Def
	if !n.Inputs[1].IsConst() || n.Input(2) != nil && !n.Input(2).IsConst() {
		return nil, nil
	}
	s := &quantSettings{node: n, bits: n.Attrs.Int("bits", 0), signed: n.Attrs.Int("signed", 1) != 0, axis: -1, scale: n.Inputs[1].Const.F32()}
	if n.Attrs.Has("axis") {
		s.axis = axisAttr(n, "axis", 0, n.Inputs[0].Type.Rank())
	}
	for _, a := range s.scale {
		if !(a > 0) || math.IsInf(float64(a), 0) {
			e := n.Errorf("scale %v: not calibrated", a)
			e.Tensor, e.Hint = n.Inputs[1].Name, "calibrate the graph before lowering it"
			return nil, e
		}
	}
	if z := n.Input(2); z != nil {
		for _, x := range z.Const.F32() {
			s.zeroPoint = append(s.zeroPoint, int(math.RoundToEven(float64(x))))
		}
	}
	return s, nil
}

// eachFakeQuant calls f for every FakeQuant of g, in order, with its settings,
// nil where the scale is not a constant. f may replace the node, and says whether
// it did. The first error ends the walk.
func eachFakeQuant(g *ir.Graph, f func(*ir.Node, *quantSettings) (bool, error)) (changed bool, err error) {
	for n := range g.Nodes() {
		if !n.IsOwn("FakeQuant") {
			continue
		}
		s, err := quantOf(n.Out())
		if err != nil {
			return changed, err
		}
		done, err := f(n, s)
		if err != nil {
			return changed, err
		}
		changed = changed || done
	}
	return changed, nil
}

// bounds are the smallest and largest code, Qn and Qp.
func (s *quantSettings) bounds() (int, int) {
	if s.signed {
		return -1 << (s.bits - 1), 1<<(s.bits-1) - 1
	}
	return 0, 1<<s.bits - 1
}

// offset is the zero point of the unsigned code u = q - Qn when it is the same
// for all groups and fits the code; ok is false otherwise.
func (s *quantSettings) offset() (uint8, bool) {
	lo, hi := s.bounds()
	z := 0
	if len(s.zeroPoint) > 0 {
		z = s.zeroPoint[0]
		for _, x := range s.zeroPoint[1:] {
			if x != z {
				return 0, false
			}
		}
	}
	if z < lo || z > hi {
		return 0, false
	}
	return uint8(z - lo), true
}

// codes quantises a constant tensor: one code an element, in [Qn, Qp].
func (s *quantSettings) codes(t *ir.Tensor) []int32 {
	first, last := s.bounds()
	lo, hi := float64(first), float64(last)
	out := make([]int32, t.Len())
	groups, inner := groupsOf(t.Shape, s.axis)
	src := t.F32()
	for at := 0; at < len(src); {
		for g := range groups {
			z, a := 0.0, s.scale[g]
			if s.zeroPoint != nil {
				z = float64(s.zeroPoint[g])
			}
			to := out[at:][:inner]
			for i, x := range src[at:][:inner] {
				q := math.RoundToEven(float64(x/a)) + z
				switch {
				case q < lo:
					q = lo
				case q > hi:
					q = hi
				}
				to[i] = int32(q)
			}
			at += inner
		}
	}
	return out
}

// groupsOf gives the number of groups that a quantiser makes of an axis of a tensor, and
// how many elements of one lie side by side; axis -1: one group of all.
func groupsOf(shape []int, axis int) (groups, inner int) {
	groups, inner = 1, 1
	if axis >= 0 {
		groups = shape[axis]
	}
	for _, d := range shape[axis+1:] {
		inner *= d
	}
	return groups, inner
}

// zeroPoints gives the zero points as integers of the code range, one a group;
// ok is false when one does not fit [lo, hi].
func (s *quantSettings) zeroPoints(lo, hi int) (z []int, ok bool) {
	z = make([]int, len(s.scale))
	for i := range s.zeroPoint {
		if z[i] = s.zeroPoint[i]; z[i] < lo || z[i] > hi {
			return nil, false
		}
	}
	return z, true
}
