package quantize

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// fakeQuant is a checked FakeQuant node.
type fakeQuant struct {
	node   *ir.Node
	grid   Quantiser
	axis   int // -1: one scale for the tensor
	groups int
	x      *ir.Value
	scale  *ir.Value
	zero   *ir.Value // nil when the zero point is 0
}

func readFakeQuant(n *ir.Node) (fakeQuant, error) {
	q := fakeQuant{node: n, axis: -1, groups: 1, x: n.Input(0), scale: n.Input(1), zero: n.Input(2)}
	var err error
	if q.grid, err = OfNode(n); err != nil {
		return q, err
	}
	if q.x == nil || q.scale == nil {
		return q, n.Errorf("needs the inputs x and scale")
	}
	for _, p := range []*ir.Value{q.scale, q.zero} {
		if p != nil && (!p.IsConst() || p.Const.Elem != ir.Float32) {
			return q, n.Errorf("its parameter %s must be a float32 constant", ir.Quote(p.Name))
		}
	}
	shape := q.scale.Const.Shape
	if n.Attrs.Has("axis") {
		q.axis = n.Attrs.Int("axis", 0)
		if len(shape) != 1 || shape[0] < 1 {
			return q, n.Errorf("has an axis, so scale %s must be a list and has shape %v", ir.Quote(q.scale.Name), shape)
		}
		q.groups = shape[0]
		if r := q.x.Type.Rank(); r >= 0 {
			if q.axis < 0 {
				q.axis += r
			}
			if q.axis < 0 || q.axis >= r {
				return q, n.Errorf("axis %d is outside the %d dimensions of %s", n.Attrs.Int("axis", 0), r, ir.Quote(q.x.Name))
			}
		}
	} else if q.scale.Const.Len() != 1 {
		return q, n.Errorf("has no axis, so scale %s must be one number and has shape %v", ir.Quote(q.scale.Name), shape)
	}
	if q.zero != nil && q.zero.Const.Len() != q.groups {
		return q, n.Errorf("zero point %s has shape %v, the scale has %v", ir.Quote(q.zero.Name), q.zero.Const.Shape, shape)
	}
	return q, nil
}

// split gives the product of the dimensions after the axis, the stride of a
// group, checking the size of the axis. Without an axis it is the whole length.
func (q fakeQuant) split(shape []int) (inner int, err error) {
	axis := q.axis
	if axis == -1 && !q.node.Attrs.Has("axis") {
		inner = 1
		for _, d := range shape {
			inner *= d
		}
		return inner, nil
	}
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) || shape[axis] != q.groups {
		return 0, q.node.Errorf("tensor %s has shape %v; axis %d must be of size %d, the number of scales", ir.Quote(q.x.Name), shape, axis, q.groups)
	}
	inner = 1
	for _, d := range shape[axis+1:] {
		inner *= d
	}
	return inner, nil
}

// set writes the scales and zero points into the node's constants.
func (q fakeQuant) set(scale, zero []float32) {
	q.scale.SetConst(ir.Of(scale, q.scale.Const.Shape...))
	if q.zero != nil {
		q.zero.SetConst(ir.Of(zero, q.zero.Const.Shape...))
	}
}

// fakeQuants reads all FakeQuant nodes in topological order. Each must have
// parameters of its own.
func fakeQuants(g *ir.Graph) ([]fakeQuant, error) {
	var out []fakeQuant
	owner := map[*ir.Value]*ir.Node{}
	for n := range g.Nodes() {
		if !n.IsOwn("FakeQuant") {
			continue
		}
		q, err := readFakeQuant(n)
		if err != nil {
			return nil, err
		}
		for _, p := range []*ir.Value{q.scale, q.zero} {
			if p == nil {
				continue
			}
			if first := owner[p]; first != nil {
				return nil, n.Errorf("shares its parameter %s with %s; every FakeQuant needs its own", ir.Quote(p.Name), ir.Quote(first.Out().Name))
			}
			owner[p] = n
		}
		out = append(out, q)
	}
	return out, nil
}

// Calibrated reports nil when every FakeQuant of g has positive, finite scales
// and finite zero points; otherwise an error that names the first that has not.
func Calibrated(g *ir.Graph) error {
	for n := range g.Nodes() {
		if !n.IsOwn("FakeQuant") {
			continue
		}
		q, err := readFakeQuant(n)
		if err != nil {
			return err
		}
		for i, s := range q.scale.Const.F32() {
			if !(s > 0) || math.IsInf(float64(s), 0) {
				e := n.Errorf("scale %s holds %v at index %d: the quantiser is not calibrated", ir.Quote(q.scale.Name), s, i)
				e.Hint = "run calibration before training, evaluation or export"
				return e
			}
		}
		if q.zero == nil {
			continue
		}
		for i, z := range q.zero.Const.F32() {
			if z-z != 0 {
				return n.Errorf("zero point %s holds %v at index %d", ir.Quote(q.zero.Name), z, i)
			}
		}
	}
	return nil
}
