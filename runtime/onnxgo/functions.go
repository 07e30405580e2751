package onnxgo

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
)

// inlineCalls replaces calls of model-local functions by their bodies: onnx-go
// drops them. Operators that package ops knows stay calls. The functions are
// then gone.
func inlineCalls(g *ir.Graph) error {
	for n := range g.Nodes() {
		if err := inlineCall(g, n, nil); err != nil {
			return err
		}
	}
	g.Functions = nil
	return nil
}

// inlineCall does so for one node, if it is a call, and for the calls in the
// body. Callers are the functions whose bodies it stands in.
func inlineCall(g *ir.Graph, call *ir.Node, callers []*ir.Function) error {
	f := g.Function(call.Domain, call.Op)
	if f == nil || ops.Lookup(call.Domain, call.Op) != nil {
		return nil
	}
	body := f.Body
	switch {
	case slices.Contains(callers, f):
		return call.Errorf("the function calls itself")
	case g.Len()+body.Len() > onnxio.MaxNodes:
		return call.Errorf("the model has more than %d nodes once its functions are inlined", onnxio.MaxNodes)
	}
	if len(call.Inputs) > len(body.Inputs) || len(call.Outputs) > len(body.Outputs) {
		return call.Errorf("the call has %d operands and %d results, the function %d and %d", len(call.Inputs), len(call.Outputs), len(body.Inputs), len(body.Outputs))
	}
	m := map[*ir.Value]*ir.Value{nil: nil}
	for i, v := range body.Inputs {
		m[v] = call.Input(i)
	}
	get := func(v *ir.Value) *ir.Value {
		if _, ok := m[v]; !ok && v.Const != nil {
			m[v] = g.AddConst(call.Op+"/"+v.Name, v.Const)
		}
		return m[v]
	}
	var made []*ir.Node
	for n := range body.Nodes() {
		var in []*ir.Value
		for _, v := range n.Inputs {
			in = append(in, get(v))
		}
		var names []string
		for _, v := range n.Outputs {
			if v == nil {
				names = append(names, "_")
			} else {
				names = append(names, call.Op+"/"+v.Name)
			}
		}
		k := g.InsertBefore(call, n.Domain, n.Op, n.Attrs.Clone(), in, names...)
		k.Name, k.Origin = n.Name, call.Origin
		made = append(made, k)
		for i, v := range n.Outputs {
			if v != nil {
				m[v] = k.Outputs[i]
			}
		}
	}
	for i, v := range call.Outputs {
		if v == nil {
			continue
		}
		w := get(body.Outputs[i])
		if w == nil {
			return call.Errorf("result %d of the function is not computed", i)
		}
		g.ReplaceUses(v, w)
	}
	g.Remove(call)
	callers = append(slices.Clone(callers), f)
	for _, k := range made {
		if err := inlineCall(g, k, callers); err != nil {
			return err
		}
	}
	return nil
}
