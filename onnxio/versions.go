package onnxio

import (
	"fmt"
	"maps"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// pairedIR is the IR version that was released with an opset: a reader that
// knows the opset knows it.
func pairedIR(opset int) int {
	table := [...]struct{ opset, ir int }{{28, 14}, {25, 13}, {24, 12}, {23, 11}, {21, 10}, {19, 9}, {15, 8}, {12, 7}, {11, 6}, {10, 5}, {9, 4}}
	for _, t := range table {
		if opset >= t.opset {
			return t.ir
		}
	}
	return MinIR
}

type versions struct {
	opset, ir int
	domains   []string // imported besides ai.onnx, in order
}

// chooseVersions finds the lowest opset and IR version for a graph.
func chooseVersions(g *ir.Graph, o WriteOptions) (versions, error) {
	v := versions{opset: max(LowestOpset, o.MinOpset), ir: o.MinIR}
	if v.opset > MaxOpset || v.ir > MaxIR {
		return v, fmt.Errorf("cannot write opset %d, IR %d: at most opset %d, IR %d", v.opset, v.ir, MaxOpset, MaxIR)
	}
	domains := map[string]bool{}
	graphs := []*ir.Graph{g}
	for _, f := range g.Functions {
		graphs = append(graphs, f.Body)
		domains[f.Domain] = true
		v.ir = max(v.ir, 8)
	}
	for len(graphs) > 0 {
		b := graphs[0]
		graphs = graphs[1:]
		for n := range b.Nodes() {
			need, err := minOpset(n)
			if err != nil {
				return v, err
			}
			v.opset = max(v.opset, need)
			if n.Domain != "" {
				domains[n.Domain] = true
			}
			for _, name := range n.Attrs.Names() {
				if body, ok := n.Attrs[name].(*ir.Graph); ok {
					graphs = append(graphs, body)
				}
			}
		}
		v.ir = max(v.ir, irForTypes(b))
	}
	v.ir = max(v.ir, pairedIR(v.opset))
	v.domains = slices.Sorted(maps.Keys(domains))
	return v, nil
}

// irForTypes is the IR version that a graph's element types came with.
func irForTypes(g *ir.Graph) int {
	v := MinIR
	see := func(x *ir.Value) {
		if x == nil {
			return
		}
		switch x.Type.Elem {
		case ir.Uint4, ir.Int4:
			v = max(v, 10)
		case ir.Uint2, ir.Int2:
			v = max(v, 13)
		}
	}
	for _, x := range g.Inputs {
		see(x)
	}
	for _, x := range g.Consts() {
		see(x)
	}
	for n := range g.Nodes() {
		for _, x := range n.Outputs {
			see(x)
		}
	}
	return v
}

// foreignDomains lists the domains besides ai.onnx that a body uses, in order.
func foreignDomains(g *ir.Graph) []string {
	seen := map[string]bool{}
	for n := range g.Nodes() {
		if n.Domain != "" {
			seen[n.Domain] = true
		}
		for _, name := range n.Attrs.Names() {
			if b, ok := n.Attrs[name].(*ir.Graph); ok {
				for _, d := range foreignDomains(b) {
					seen[d] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// minOpset is the lowest opset, from LowestOpset up, that can write the node.
func minOpset(n *ir.Node) (int, error) {
	if n.Domain != "" {
		return 0, nil
	}
	forms := schema()[n.Op]
	if forms == nil {
		return 0, n.Errorf("unknown operator")
	}
	var why error
	for i, f := range forms {
		opset := max(f.since, LowestOpset)
		if i+1 < len(forms) && forms[i+1].since <= opset {
			continue
		}
		w, err := (&encoder{}).lower(n, opset)
		if err == nil {
			err = fits(w, n, f)
		}
		if err == nil {
			return opset, nil
		}
		why = err
	}
	return 0, n.Errorf("cannot be written: %v", why)
}

// written is a node in the form of one opset.
type written struct {
	op     string
	attrs  ir.Attrs
	inputs []*ir.Value
}

// wrongType is an operand of an element type that its operator does not take.
type wrongType struct {
	op, what string
	index    int
	elem     ir.Elem
	since    int
}

func (e *wrongType) Error() string {
	return fmt.Sprintf("%s %d is %v, which %s of opset %d does not take", e.what, e.index, e.elem, e.op, e.since)
}

// fits reports why a written node is not of the form f; nil when it is.
func fits(w written, n *ir.Node, f *form) error {
	if f.deprecated {
		return fmt.Errorf("operator %s is deprecated at opset %d", w.op, f.since)
	}
	bodies := false
	for _, name := range w.attrs.Names() {
		if _, ok := w.attrs[name].(*ir.Graph); ok {
			bodies = true
		}
		a := f.attr(name)
		if a == nil {
			return fmt.Errorf("attribute %s is unknown at opset %d", ir.Quote(name), f.since)
		}
		if k := valueKind(w.attrs[name]); k != a.kind {
			return fmt.Errorf("attribute %s: want %s, have %s", ir.Quote(name), kindName(a.kind), kindName(k))
		}
	}
	for _, a := range f.attrs {
		if a.required && !w.attrs.Has(a.name) {
			return fmt.Errorf("attribute %s is missing", ir.Quote(a.name))
		}
	}
	if bodies {
		return nil
	}
	if err := checkCount("input", len(w.inputs), f.minIn, f.maxIn); err != nil {
		return err
	}
	for i, v := range w.inputs {
		if v != nil && v.Type.Elem != ir.Undefined && !typeAt(f.in, i).elems.has(v.Type.Elem) {
			return &wrongType{w.op, "input", i, v.Type.Elem, f.since}
		}
	}
	for i, v := range n.Outputs {
		if v != nil && v.Type.Elem != ir.Undefined && !typeAt(f.out, i).elems.has(v.Type.Elem) {
			return &wrongType{w.op, "output", i, v.Type.Elem, f.since}
		}
	}
	return nil
}
