package onnxio

import (
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// bodies validates the subgraphs of a graph's nodes. They nest no deeper than
// the limit on messages allows.
func bodies(g *ir.Graph) error {
	for n := range g.Nodes() {
		if err := bodyCounts(n); err != nil {
			return err
		}
		for _, name := range n.Attrs.Names() {
			b, ok := n.Attrs[name].(*ir.Graph)
			if !ok {
				continue
			}
			k, err := captureCount(b)
			if err == nil {
				for i := range k { // what inference found out about the outer values
					b.Inputs[len(b.Inputs)-k+i].Type = n.Inputs[len(n.Inputs)-k+i].Type
				}
				err = b.Check()
			}
			if err == nil {
				_, err = ops.Infer(b)
			}
			if err == nil {
				err = bodies(b)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// bodyCounts holds the subgraphs of If, Loop and Scan against their node: as
// many values go in and come out as the operator says.
func bodyCounts(n *ir.Node) error {
	if n.Domain != "" {
		return nil
	}
	check := func(name string, in, out int) (*ir.Graph, error) {
		b, ok := n.Attrs[name].(*ir.Graph)
		if !ok {
			return nil, n.Errorf("attribute %s is missing", name)
		}
		k, err := captureCount(b)
		if err != nil {
			return nil, n.Errorf("%v", err)
		}
		if own := len(b.Inputs) - k; own != in {
			return nil, n.Errorf("%s has %d inputs, want %d", name, own, in)
		}
		if out >= 0 && len(b.Outputs) != out {
			return nil, n.Errorf("%s has %d outputs, the node needs %d", name, len(b.Outputs), out)
		}
		return b, nil
	}
	given := len(n.Inputs) // without the captured values
	for _, name := range n.Attrs.Names() {
		if b, ok := n.Attrs[name].(*ir.Graph); ok {
			k, err := captureCount(b)
			if err != nil {
				return n.Errorf("%v", err)
			}
			given = len(n.Inputs) - k
			break
		}
	}
	switch n.Op {
	case "If":
		yes, err := check("then_branch", 0, len(n.Outputs))
		if err != nil {
			return err
		}
		no, err := check("else_branch", 0, len(n.Outputs))
		if err != nil {
			return err
		}
		for i, v := range yes.Outputs {
			if a, b := v.Type.Elem, no.Outputs[i].Type.Elem; a != b && a != ir.Undefined && b != ir.Undefined {
				return n.Errorf("output %d is %v in then_branch and %v in else_branch", i, a, b)
			}
		}
	case "Loop":
		carried := max(0, given-2)
		if len(n.Outputs) < carried {
			return n.Errorf("has %d outputs for %d values that the loop carries", len(n.Outputs), carried)
		}
		_, err := check("body", 2+carried, 1+len(n.Outputs))
		return err
	case "Scan":
		scans := n.Attrs.Int("num_scan_inputs", 0)
		if scans < 1 || scans > given {
			return n.Errorf("num_scan_inputs is %d, the node has %d inputs", scans, given)
		}
		_, err := check("body", given, len(n.Outputs))
		return err
	}
	return nil
}
