package quantize

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Scales are the parameters of all FakeQuant nodes of a graph, in topological
// order: what calibration chose or training learned, in a form that can be
// written, read, compared and applied again.
type Scales struct {
	Layers []Layer `json:"layers"`
}

// Layer is one FakeQuant.
type Layer struct {
	Name   string `json:"name"`             // the FakeQuant's output value; unique in the graph
	Tensor string `json:"tensor"`           // what it quantises
	Kind   string `json:"kind"`             // KindWeight or KindActivation
	Reader string `json:"reader,omitempty"` // a node that reads it

	Bits   int  `json:"bits"`
	Signed bool `json:"signed"`
	Axis   *int `json:"axis,omitempty"` // dimension of the groups; absent: one scale

	Scale     []float32 `json:"scale"`
	ZeroPoint []float32 `json:"zero_point,omitempty"` // absent: 0
	Error     []float64 `json:"relative_mse,omitempty"`
}

// Kinds of quantised tensors.
const (
	KindWeight     = "weight"
	KindActivation = "activation"
)

// ScalesOf reads the parameters out of a graph, as they are.
func ScalesOf(g *ir.Graph) (Scales, error) {
	var s Scales
	qs, err := fakeQuants(g)
	if err != nil {
		return s, err
	}
	s.Layers = make([]Layer, 0, len(qs))
	for _, q := range qs {
		l := Layer{
			Name: q.node.Out().Name, Tensor: q.x.Name, Kind: KindActivation, Reader: readerOf(q.node.Out()),
			Bits: q.grid.Bits, Signed: q.grid.Signed, Scale: slices.Clone(q.scale.Const.F32()),
		}
		if q.x.IsConst() {
			l.Kind = KindWeight
		}
		if q.node.Attrs.Has("axis") {
			axis := q.axis
			l.Axis = &axis
		}
		if q.zero != nil {
			l.ZeroPoint = slices.Clone(q.zero.Const.F32())
		}
		s.Layers = append(s.Layers, l)
	}
	return s, nil
}

// readerOf names a node that reads v: use lists are in no order, so the first by
// name.
func readerOf(v *ir.Value) string {
	names := make([]string, 0, len(v.Uses()))
	for _, u := range v.Uses() {
		if u.Node.Name != "" {
			names = append(names, u.Node.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return slices.Min(names)
}

// Apply writes the parameters into a graph that has the same FakeQuant nodes:
// names, bits, signedness, axis and number of groups must agree. g is changed
// only on success.
func (s Scales) Apply(g *ir.Graph) error {
	qs, err := fakeQuants(g)
	if err != nil {
		return err
	}
	byName := map[string]*Layer{}
	for i := range s.Layers {
		l := &s.Layers[i]
		if byName[l.Name] != nil {
			return fmt.Errorf("scales list the quantiser %s twice", ir.Quote(l.Name))
		}
		byName[l.Name] = l
	}
	for _, q := range qs {
		l := byName[q.node.Out().Name]
		if l == nil {
			return q.node.Errorf("the scales do not list the quantiser %s", ir.Quote(q.node.Out().Name))
		}
		if err := l.fits(q); err != nil {
			return err
		}
		delete(byName, l.Name)
	}
	for _, l := range s.Layers {
		if byName[l.Name] != nil {
			return fmt.Errorf("scales list the quantiser %s, which the graph %s does not have", ir.Quote(l.Name), ir.Quote(g.Name))
		}
	}
	layers := map[string]Layer{}
	for _, l := range s.Layers {
		layers[l.Name] = l
	}
	for _, q := range qs {
		l := layers[q.node.Out().Name]
		q.set(slices.Clone(l.Scale), slices.Clone(l.ZeroPoint))
	}
	return nil
}

func (l *Layer) fits(q fakeQuant) error {
	axis, want := "none", "none"
	if l.Axis != nil {
		axis = fmt.Sprint(*l.Axis)
	}
	if q.node.Attrs.Has("axis") {
		want = fmt.Sprint(q.axis)
	}
	zero := 0
	if q.zero != nil {
		zero = q.groups
	}
	switch {
	case l.Bits != q.grid.Bits || l.Signed != q.grid.Signed:
		return q.node.Errorf("has %d bits, signed %v; the scales say %d, %v", q.grid.Bits, q.grid.Signed, l.Bits, l.Signed)
	case axis != want || len(l.Scale) != q.groups:
		return q.node.Errorf("has %d scales on axis %s; the scales list %d on axis %s", q.groups, want, len(l.Scale), axis)
	case len(l.ZeroPoint) != zero:
		return q.node.Errorf("has %d zero points; the scales list %d", zero, len(l.ZeroPoint))
	}
	for i, v := range l.Scale {
		if !(v > 0) || math.IsInf(float64(v), 0) {
			return q.node.Errorf("the scales list %v at index %d; a scale is positive and finite", v, i)
		}
	}
	for i, v := range l.ZeroPoint {
		if v-v != 0 {
			return q.node.Errorf("the scales list the zero point %v at index %d", v, i)
		}
	}
	return nil
}

// Write writes the calibration as indented JSON, the same bytes for the same
// content.
func (c *Calibration) Write(w io.Writer) error {
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return fmt.Errorf("scales: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// ReadCalibration reads what Write wrote. Unknown fields and anything after the
// object are errors.
func ReadCalibration(r io.Reader) (*Calibration, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	c := &Calibration{}
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("scales: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("scales: there is more after the JSON object")
	}
	return c, nil
}
