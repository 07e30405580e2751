package onnxio

import "github.com/qvitc/qvitc/ir"

// setElems fills in the element types of a node's outputs that its operator's
// form decides from the inputs' alone. Inference proper comes later; the
// upgrade needs these to make constants of the right type.
func setElems(n *ir.Node, f *form) {
	if f == nil {
		return
	}
	for i, o := range n.Outputs {
		if o == nil || o.Type.Elem != ir.Undefined {
			continue
		}
		switch n.Op {
		case "Cast":
			if e := ir.Elem(n.Attrs.Int("to", 0)); e.Supported() {
				o.Type.Elem = e
			}
			continue
		case "ConstantOfShape":
			o.Type.Elem = ir.Float32
			if t := n.Attrs.Tensor("value"); t != nil {
				o.Type.Elem = t.Elem
			}
			continue
		}
		t := typeAt(f.out, i)
		if t.variable != "" {
			for k, v := range n.Inputs {
				if v != nil && v.Type.Elem != ir.Undefined && typeAt(f.in, k).variable == t.variable {
					o.Type.Elem = v.Type.Elem
					break
				}
			}
		}
		if o.Type.Elem == ir.Undefined {
			o.Type.Elem = t.elems.only()
		}
	}
}

// only is the type of a set of one; Undefined for any other set.
func (t typeSet) only() ir.Elem {
	for e := ir.Elem(1); e < 32; e++ {
		if t == 1<<e {
			return e
		}
	}
	return ir.Undefined
}
