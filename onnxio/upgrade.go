package onnxio

import (
	"errors"
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// upgrader rewrites one node from the form it had at an opset into a newer one.
// It may insert nodes and constants before n; an error means that the old form
// cannot be expressed.
type upgrader func(u *upgrade, n *ir.Node) error

// change is one step in an operator's history: files below opset since need it.
type change struct {
	since int
	apply upgrader
}

// upgrade is the context of an upgrader.
type upgrade struct {
	g     *ir.Graph
	opset int
	later []*ir.Node // softmax nodes, which need the rank of their input
	even  []*ir.Node // splits into parts that must be equal
}

// changes holds the history of every operator whose newest form is not simply
// a superset of the older ones, oldest change first. The families register
// theirs in upgrade_*.go.
var changes = map[string][]change{}

func register(since int, f upgrader, ops ...string) {
	for _, op := range ops {
		changes[op] = append(changes[op], change{since, f})
	}
}

func init() {
	registerAncient()
	registerAxes()
	registerInputs()
	registerSoftmax()
	registerResize()
	registerNormalization()
}

// upgrade brings the nodes of a graph into the newest form of their operators.
func (d *decoder) upgrade(s *scope) error {
	u := &upgrade{g: s.g, opset: s.imp[""]}
	for n := range s.g.Nodes() {
		if n.Domain != "" || s.ready[n] {
			continue
		}
		history := changes[n.Op]
		for _, c := range history {
			if u.opset >= c.since {
				continue
			}
			if err := c.apply(u, n); err != nil {
				return n.Errorf("at opset %d: %v", u.opset, err)
			}
		}
		if slices.Contains(u.later, n) {
			continue
		}
		if err := newest(n); err != nil {
			if e := (*wrongType)(nil); errors.As(err, &e) {
				return n.Errorf("%v", err)
			}
			return n.Errorf("the form of opset %d is not understood: %v", u.opset, err)
		}
	}
	s.even = u.even
	return u.softmaxes(s)
}

// newest proves that a node is of its operator's newest form.
func newest(n *ir.Node) error {
	f := activeForm(n.Op, MaxOpset)
	if f == nil || f.deprecated {
		return fmt.Errorf("operator %s has no newest form", n.Op)
	}
	return fits(written{op: n.Op, attrs: n.Attrs, inputs: n.Inputs}, n, f)
}

// ints makes a constant of int64 values.
func (u *upgrade) ints(n *ir.Node, what string, v ...int64) *ir.Value {
	return u.g.AddConst(fresh(n, what), ir.Of(v, len(v)))
}

// number makes a constant scalar of the element type of v.
func (u *upgrade) number(n *ir.Node, what string, like *ir.Value, x float32) (*ir.Value, error) {
	e := like.Type.Elem
	if e == ir.Undefined {
		return nil, fmt.Errorf("the element type of %s is not known", ir.Quote(like.Name))
	}
	t, err := scalarOf(e, x)
	if err != nil {
		return nil, err
	}
	return u.g.AddConst(fresh(n, what), t), nil
}

// before inserts a node with one output before n.
func (u *upgrade) before(n *ir.Node, op, what string, attrs ir.Attrs, inputs ...*ir.Value) *ir.Value {
	c := u.g.InsertBefore(n, "", op, attrs, inputs, fresh(n, what))
	c.Origin = n.Origin
	return c.Out()
}

// fresh names a new value after the node that it is made for.
func fresh(n *ir.Node, what string) string {
	for _, o := range n.Outputs {
		if o != nil {
			return o.Name + "/" + what
		}
	}
	return what
}

// inferred runs shape inference over what is upgraded so far.
func (u *upgrade) inferred() error {
	_, err := ops.Infer(u.g)
	return err
}

// scalarOf is a 0-d tensor of a floating-point type.
func scalarOf(e ir.Elem, x float32) (*ir.Tensor, error) {
	switch e {
	case ir.Float32:
		return ir.Scalar(x), nil
	case ir.Float64:
		return ir.Scalar(float64(x)), nil
	case ir.Float16:
		return ir.Wrap(e, nil, []uint16{ir.FloatToHalf(x)})
	}
	return nil, fmt.Errorf("a number of type %v is not supported here", e)
}
