package ops

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// Fact is what Infer knows of a value.
type Fact struct {
	Type ir.Type
	// Ints is the content of a small integer tensor in row-major order, with
	// symbolic entries such as batch or 4*batch; nil when not known. An entry
	// that is not known, and one that is negative, is ir.UnknownDim.
	Ints []ir.Dim
	// Const is the whole content where it is known (constants, and results
	// small enough for inference to evaluate); treat it as immutable.
	Const *ir.Tensor
}

// Infer finds the type of every value of g and the content of the small integer
// tensors that carry shapes. It writes Value.Type wherever it knows more than
// stood there and returns a Fact for every value.
//
// The type found on a node output is a declaration (ONNX value_info): it fills
// in what inference cannot know, and contradicting it is an error. Clear it
// (ir.Type{}) when an edit changes what a node computes.
//
// A symbolic dimension stands for any size of at least 1. Nodes whose operator
// is not in the table keep their declared types. One pass over the nodes in
// order; the work is linear in the number of nodes.
func Infer(g *ir.Graph) (map[*ir.Value]Fact, error) {
	s := &inference{facts: make(map[*ir.Value]*fact, 2*g.Len())}
	for _, v := range g.Inputs {
		f := &fact{have: true}
		f.setType(v.Type)
		s.facts[v] = f
	}
	for n := range g.Nodes() {
		if err := s.node(n); err != nil {
			return nil, err
		}
	}
	for _, v := range g.Outputs {
		s.of(v)
	}
	out := make(map[*ir.Value]Fact, len(s.facts))
	for v, f := range s.facts {
		out[v] = Fact{Type: v.Type, Const: f.tensor, Ints: f.ints()}
	}
	return out, nil
}

// ints is the content as dimensions, for integers and Bool.
func (f *fact) ints() []ir.Dim {
	if !f.elem.IsInt() && f.elem != ir.Bool {
		return nil
	}
	c := f.content()
	if c == nil {
		return nil
	}
	out := make([]ir.Dim, len(c))
	for i, x := range c {
		out[i] = x.dim()
	}
	return out
}

type inference struct{ facts map[*ir.Value]*fact }

func (s *inference) of(v *ir.Value) *fact {
	if f := s.facts[v]; f != nil {
		return f
	}
	f := &fact{have: true}
	if v.Const != nil {
		*f = tensorFact(v.Const)
	} else {
		f.setType(v.Type)
	}
	s.facts[v] = f
	return f
}

func (s *inference) node(n *ir.Node) error {
	o := Lookup(n.Domain, n.Op)
	if o == nil {
		for _, v := range n.Outputs {
			if v != nil {
				s.of(v)
			}
		}
		return nil
	}
	c := &call{Node: n, op: o, in: make([]fact, len(n.Inputs)), out: make([]fact, len(n.Outputs))}
	for i, v := range n.Inputs {
		if v != nil {
			c.in[i] = *s.of(v)
		}
	}
	if err := c.inferAll(); err != nil {
		return err
	}
	c.follow()
	for k, v := range n.Outputs {
		if v == nil {
			continue
		}
		if err := declare(v, &c.out[k]); err != nil {
			return err
		}
		s.facts[v] = &c.out[k]
	}
	return nil
}

// inferAll validates the node and computes the types of its outputs.
func (c *call) inferAll() error {
	if err := Validate(c.Node); err != nil {
		return err
	}
	for i := range c.in {
		if f := &c.in[i]; f.have && len(f.dims) > MaxRank {
			return c.Errorf("input %d has rank %d; the limit is %d", i, len(f.dims), MaxRank)
		}
	}
	if err := c.bindTypes(); err != nil {
		return err
	}
	if c.op.infer != nil {
		if err := c.op.infer(c); err != nil {
			return err
		}
	}
	for k := range c.out {
		c.out[k].have = true
		if err := c.checkResult(k); err != nil {
			return err
		}
	}
	return nil
}

// maxInferred is the largest result, in elements, that inference accepts.
const maxInferred = int64(1) << 31

// checkResult refuses negative dimensions, ranks above the limit and sizes
// that no evaluation could make.
func (c *call) checkResult(k int) error {
	f := &c.out[k]
	if len(f.dims) > MaxRank {
		return c.Errorf("the result has rank %d; the limit is %d", len(f.dims), MaxRank)
	}
	total := int64(1)
	for _, d := range f.dims {
		if !d.isConst() {
			continue
		}
		if d.c < 0 {
			return c.Errorf("a dimension of the result %v would be negative", numsText(f.dims))
		}
		if d.c > 0 && total > maxInferred/d.c {
			return c.Errorf("the result is too large: shape %v", numsText(f.dims))
		}
		total *= max(d.c, 1)
	}
	return nil
}

func numsText(d []num) string {
	s := "["
	for i, x := range d {
		if i > 0 {
			s += ","
		}
		s += x.String()
	}
	return s + "]"
}

// declare merges the inferred fact with the type that stands on v.
func declare(v *ir.Value, f *fact) error {
	d := v.Type
	bad := d.Elem != 0 && f.elem != 0 && d.Elem != f.elem
	if f.elem == 0 {
		f.elem = d.Elem
	}
	if d.Ranked {
		if !f.ranked {
			f.ranked, f.dims = true, make([]num, len(d.Shape))
		} else {
			f.dims = append([]num(nil), f.dims...)
		}
		bad = bad || len(d.Shape) != len(f.dims)
		for i := 0; i < len(d.Shape) && !bad; i++ {
			x := f.dims[i]
			switch {
			case !x.ok:
				f.dims[i] = fromDim(d.Shape[i])
			case x.isConst() && d.Shape[i].Known():
				bad = x.c != d.Shape[i].Size
			}
		}
	}
	if bad {
		e := &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("declared %v, inferred %v", d, f.typ())}
		if v.Def != nil {
			e.File = v.Def.Origin.File
		}
		return e
	}
	v.Type = f.typ()
	return nil
}

// follow finds the content of small results.
func (c *call) follow() {
	if !c.op.fold && c.op.content == nil {
		return
	}
	for k := range c.out {
		if n, ok := c.out[k].size(); !ok || n > maxContent || !c.out[k].elem.Supported() {
			return
		}
	}
	concrete, some := true, len(c.in) == 0
	for i := range c.in {
		if f := &c.in[i]; f.have {
			concrete = concrete && f.tensor != nil && f.tensor.Len() <= maxContent
			some = some || f.tensor != nil || f.vals != nil || c.op.Name == "Shape"
		}
	}
	if !some || !IsPure(c.Node) {
		return
	}
	if concrete && c.op.fold {
		if err := c.evaluate(); err == nil {
			for k, t := range c.res {
				c.out[k].tensor = t
			}
		}
		return
	}
	if c.op.content == nil {
		return
	}
	c.op.content(c)
	for k := range c.out {
		c.settle(k)
	}
}

// settle turns fully known symbolic content into a tensor and drops content
// about which nothing is known.
func (c *call) settle(k int) {
	f := &c.out[k]
	if f.vals == nil || f.elem == ir.String || f.elem == 0 {
		f.vals = nil
		return
	}
	all, any := true, false
	for _, v := range f.vals {
		all = all && v.isConst()
		any = any || v.ok
	}
	if !any && len(f.vals) > 0 {
		f.vals = nil
	}
	if !all {
		return
	}
	ints := make([]int64, len(f.vals))
	for i, v := range f.vals {
		ints[i] = v.c
	}
	if t, err := packInts(f.elem, c.sizes(k), ints); err == nil {
		f.tensor, f.vals = t, nil
	}
}
