package onnxio

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// validate proves what only the whole graph can show.
func (d *decoder) validate(s *scope) error {
	return s.g.Check()
}

// conflict says how two types of one value contradict each other; empty when
// they do not. Unknown parts agree with everything.
func conflict(declared, inferred ir.Type) string {
	differ := fmt.Sprintf("declared %v, inferred %v", declared, inferred)
	if declared.Elem != ir.Undefined && inferred.Elem != ir.Undefined && declared.Elem != inferred.Elem {
		return differ
	}
	if !declared.Ranked || !inferred.Ranked {
		return ""
	}
	if len(declared.Shape) != len(inferred.Shape) {
		return differ
	}
	for i, d := range declared.Shape {
		if e := inferred.Shape[i]; d.Known() && e.Known() && d.Size != e.Size {
			return differ
		}
	}
	return ""
}
