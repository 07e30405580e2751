package passes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// ToFloat32 makes float32 the one floating-point type of the graph.
var ToFloat32 = Pass{
	Name: "to-float32",
	Doc: `compute in float32 what the file holds in another floating-point type

Constants, inputs and outputs of type float16, bfloat16 and double become
float32, and so do the targets of Cast. The note says what was converted, once.`,
	Run: toFloat32,
}

func otherFloat(e ir.Elem) bool { return e.IsFloat() && e != ir.Float32 }

func toFloat32(g *ir.Graph, r *Report) (bool, error) {
	seen := map[ir.Elem]int{}
	for _, v := range g.Consts() {
		if !otherFloat(v.Const.Elem) {
			continue
		}
		t, err := asFloat32(v.Const)
		if err != nil {
			return false, &ir.Error{Tensor: v.Name, Msg: err.Error(), Hint: "the value does not fit float32"}
		}
		seen[v.Const.Elem]++
		v.SetConst(t)
		r.Count("constant", 1)
	}
	retype := func(v *ir.Value, what string) {
		if v != nil && otherFloat(v.Type.Elem) {
			seen[v.Type.Elem]++
			v.Type.Elem = ir.Float32
			r.Count(what, 1)
		}
	}
	for _, v := range g.Inputs {
		retype(v, "input")
	}
	changed := len(seen) > 0
	for n := range g.Nodes() {
		for _, name := range n.Attrs.Names() {
			switch a := n.Attrs[name].(type) {
			case int64:
				if e := ir.Elem(a); elemAttr(n, name) && otherFloat(e) {
					n.Attrs[name] = int64(ir.Float32)
					r.rewrote(n)
					r.Count(n.Op, 1)
					seen[e]++
					changed = true
				}
			case *ir.Tensor:
				if otherFloat(a.Elem) {
					t, err := asFloat32(a)
					if err != nil {
						return false, n.Errorf("attribute %s: %v", ir.Quote(name), err)
					}
					seen[a.Elem]++
					n.Attrs[name] = t
					r.rewrote(n)
					r.Count(n.Op, 1)
					changed = true
				}
			}
		}
	}
	if !changed {
		return false, nil
	}
	for n := range g.Nodes() {
		for _, v := range n.Outputs {
			if v != nil && otherFloat(v.Type.Elem) {
				v.Type.Elem = ir.Float32
			}
		}
	}
	var kinds []string
	for _, e := range slices.Sorted(maps.Keys(seen)) {
		kinds = append(kinds, e.String())
	}
	r.Note(nil, "%s values are computed as f32", strings.Join(kinds, ", "))
	_, err := ops.Infer(g)
	return true, err
}

// elemAttr reports an attribute that names the element type of a result.
func elemAttr(n *ir.Node, name string) bool {
	return n.Domain == "" && (n.Op == "Cast" && name == "to" || name == "dtype" || name == "output_dtype")
}

// asFloat32 converts a floating-point tensor; a finite double outside the range
// of float32 is an error.
func asFloat32(t *ir.Tensor) (*ir.Tensor, error) {
	out := make([]float32, t.Len())
	for i := range out {
		f := t.Float(i)
		out[i] = float32(f)
		if (out[i]-out[i] != 0) && f-f == 0 {
			return nil, fmt.Errorf("element %d is %g", i, f)
		}
	}
	return ir.Wrap(ir.Float32, t.Shape, out)
}
