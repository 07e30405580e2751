package ops

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// MaxRank is the largest rank that inference and evaluation accept.
const MaxRank = 16

// Validate checks a node against its operator's signature: the numbers of
// inputs and outputs, required ones present, attribute names, kinds, required
// attributes and enumerated strings. Element types and shapes are Infer's. An
// unknown operator is an error here.
func Validate(n *ir.Node) error {
	o := Lookup(n.Domain, n.Op)
	if o == nil {
		return n.Errorf("unknown operator %s", opName(n))
	}
	if err := checkArity(n, "input", n.Inputs, o.In); err != nil {
		return err
	}
	if err := checkArity(n, "output", n.Outputs, o.Out); err != nil {
		return err
	}
	for i := range o.Attrs {
		a := &o.Attrs[i]
		if a.Required && !n.Attrs.Has(a.Name) {
			return n.Errorf("attribute %s is missing", a.Name)
		}
	}
	for name := range n.Attrs {
		if checkAttr(n, o, name) != nil {
			for _, name := range n.Attrs.Names() { // the first in order is reported
				if err := checkAttr(n, o, name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func checkAttr(n *ir.Node, o *Op, name string) error {
	a := o.Attr(name)
	if a == nil {
		return n.Errorf("has no attribute %s", ir.Quote(name))
	}
	if k := kindOf(n.Attrs[name]); k != a.Kind {
		return n.Errorf("attribute %s: want %v, have %v", name, a.Kind, k)
	}
	if a.Enum != nil && !slices.Contains(a.Enum, n.Attrs.Str(name, "")) {
		return n.Errorf("attribute %s is %s; want one of %s", name, ir.Quote(n.Attrs.Str(name, "")), strings.Join(a.Enum, ", "))
	}
	return nil
}

func opName(n *ir.Node) string {
	if n.Domain == "" {
		return ir.Quote(n.Op)
	}
	return ir.Quote(n.Domain + "::" + n.Op)
}

func checkArity(n *ir.Node, what string, vs []*ir.Value, ps []Param) error {
	lo, hi := arity(ps)
	if len(vs) < lo || hi >= 0 && len(vs) > hi {
		return n.Errorf("has %d %ss, wants %s", len(vs), what, arityText(lo, hi))
	}
	for i, v := range vs {
		p := param(ps, i)
		if v == nil && !p.Optional && what == "input" {
			return n.Errorf("%s %d (%s) is missing", what, i, p.Name)
		}
	}
	return nil
}

func arityText(lo, hi int) string {
	switch {
	case hi < 0:
		return fmt.Sprintf("at least %d", lo)
	case lo == hi:
		return fmt.Sprint(lo)
	}
	return fmt.Sprintf("%d to %d", lo, hi)
}

// bindTypes checks the known element types of the inputs against the signature
// and sets those of the outputs that follow from it.
func (c *call) bindTypes() error {
	var vars [8]struct { // no signature has more
		name string
		elem ir.Elem
		at   int
	}
	used := 0
	for i := range c.in {
		f := &c.in[i]
		if !f.have || f.elem == 0 {
			continue
		}
		p := param(c.op.In, i)
		if !p.Types.Has(f.elem) {
			return c.Errorf("input %d (%s) is %v; want one of %v", i, p.Name, f.elem, p.Types)
		}
		if p.Var == "" {
			continue
		}
		k := 0
		for k < used && vars[k].name != p.Var {
			k++
		}
		if k == used {
			vars[k].name, vars[k].elem, vars[k].at = p.Var, f.elem, i
			used++
		} else if vars[k].elem != f.elem {
			return c.Errorf("input %d (%s) is %v, input %d (%s) is %v; they must be of one type",
				i, p.Name, f.elem, vars[k].at, param(c.op.In, vars[k].at).Name, vars[k].elem)
		}
	}
	for k := range c.out {
		p := param(c.op.Out, k)
		for j := range used {
			if p.Var != "" && vars[j].name == p.Var {
				c.out[k].elem = vars[j].elem
			}
		}
		if l := p.Types; c.out[k].elem == 0 && l&(l-1) == 0 && l != 0 {
			c.out[k].elem = l.List()[0]
		}
	}
	return nil
}
