package onnxio

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// upgrader rewrites one node from the form it had at an opset into the newest
// one. It may insert nodes before n; returning an error means that the old form
// cannot be expressed.
type upgrader func(u *upgrade, n *ir.Node) error

// change is one step in an operator's history: files below opset since need it.
type change struct {
	since int
	apply upgrader
}

// upgrade is the context of an upgrader.
type upgrade struct {
	d     *decoder
	g     *ir.Graph
	opset int
}

// changes holds the history of every operator whose newest form is not simply
// a superset of the older ones, oldest change first.
var changes = map[string][]change{}

func register(op string, since int, f upgrader) {
	changes[op] = append(changes[op], change{since, f})
}

func init() {
	registerAxes()
}

// upgrade brings the nodes of a graph into the newest form of their operators.
func (d *decoder) upgrade(s *scope) error {
	u := &upgrade{d: d, g: s.g, opset: s.imp[""]}
	for n := range s.g.Nodes() {
		if n.Domain != "" || s.ready[n] {
			continue
		}
		for _, c := range changes[n.Op] {
			if u.opset >= c.since {
				continue
			}
			if err := c.apply(u, n); err != nil {
				return n.Errorf("at opset %d: %v", u.opset, err)
			}
		}
		if err := newest(n); err != nil {
			return n.Errorf("the form of opset %d is not understood: %v", u.opset, err)
		}
	}
	return nil
}

// newest proves that a node is of its operator's newest form.
func newest(n *ir.Node) error {
	f := activeForm(n.Op, MaxOpset)
	if f == nil || f.deprecated {
		return fmt.Errorf("operator %s has no newest form", n.Op)
	}
	return fits(written{op: n.Op, attrs: n.Attrs, inputs: n.Inputs}, n, f)
}

// ints makes a constant input of int64 values.
func (u *upgrade) ints(n *ir.Node, what string, v ...int64) *ir.Value {
	return u.g.AddConst(fresh(n, what), ir.Of(v, len(v)))
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
