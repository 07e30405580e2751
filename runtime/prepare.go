package runtime

import (
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// prepare makes the private copy of g: shapes fixed, function calls inlined,
// constant parts folded.
func (c *compiler) prepare(g *ir.Graph) error {
	for i, v := range c.cfg.Params {
		switch {
		case v == nil || v.Const == nil:
			return fmt.Errorf("runtime: parameter %d is not a constant of the graph", i)
		case v.Const.Elem != ir.Float32:
			return badParam(v, "is a parameter of type %v; only f32 can be trained", v.Const.Elem)
		}
	}
	c.g, c.of = g.Shadow() // an optimiser changes the parameters in place
	for _, v := range c.cfg.Params {
		w, ok := c.of[v]
		if !ok { // a parameter that nothing reads
			w = c.g.AddConst(v.Name, v.Const)
			c.of[v] = w
		}
		if _, twice := c.params[w]; twice {
			return badParam(v, "is listed twice among the parameters")
		}
		c.params[w] = len(c.params)
	}
	for _, v := range c.cfg.Taps {
		if c.of[v] == nil {
			return badParam(v, "is a tap but not a value of the graph")
		}
	}
	if err := c.bindShapes(g); err != nil {
		return err
	}
	if err := ops.Inline(c.g, c.retap); err != nil {
		return err
	}
	if err := c.settle(); err != nil {
		return err
	}
	c.quantiseTurned()
	for n := range c.g.Nodes() {
		for _, o := range n.Outputs {
			if o == nil {
				continue
			}
			if _, ok := o.Type.Shape.Ints(); !ok || !o.Type.Ranked {
				return n.Errorf("the shape of output %s is not known at compile time (%v): the runtime needs fixed shapes", ir.Quote(o.Name), o.Type)
			}
		}
	}
	return nil
}

// bindShapes gives every graph input its whole shape and every symbol its size.
func (c *compiler) bindShapes(g *ir.Graph) error {
	sizes := map[string]int64{}
	for _, v := range g.Inputs {
		w := c.of[v]
		s := slices.Clone(w.Type.Shape)
		if given, ok := c.cfg.Shapes[v.Name]; ok {
			if w.Type.Ranked && len(given) != len(s) {
				return badParam(v, "the graph input has rank %d (%v), the shape given is %v", len(s), s, given)
			}
			for i, d := range given {
				if d < 0 {
					return badParam(v, "the shape given is %v: sizes must not be negative", given)
				}
				if !w.Type.Ranked {
					continue
				}
				if s[i].Known() && s[i].Size != int64(d) {
					return badParam(v, "the graph input has shape %v, the shape given is %v", s, given)
				}
				if sym := s[i].Sym; !s[i].Known() && sym != "" {
					if old, ok := sizes[sym]; ok && old != int64(d) {
						return badParam(v, "the dimension %q is both %d and %d", sym, old, d)
					}
					sizes[sym] = int64(d)
				}
			}
			w.Type = ir.TensorType(w.Type.Elem, ir.Known(given...))
			continue
		}
		if !w.Type.Ranked {
			return badParam(v, "the graph input has no shape: give one")
		}
		symbolic := slices.ContainsFunc(s, func(d ir.Dim) bool { return !d.Known() })
		if b := c.cfg.Batch; b > 0 && v == g.Inputs[0] && !symbolic && len(s) > 1 && s[0].Size != int64(b) {
			return badParam(v, "the graph input has the fixed shape %v: it cannot run batches of %d, only of %d", s, b, s[0].Size)
		}
		for i, d := range s {
			if d.Known() {
				continue
			}
			if c.cfg.Batch < 1 {
				return badParam(v, "the graph input has shape %v: give a batch size of at least 1", s)
			}
			if d.Sym != "" {
				if _, ok := sizes[d.Sym]; !ok {
					sizes[d.Sym] = int64(c.cfg.Batch)
				}
			}
			s[i] = ir.D(c.cfg.Batch)
			break
		}
		w.Type.Shape = s
	}
	for _, v := range g.Inputs {
		w := c.of[v]
		s := slices.Clone(w.Type.Shape)
		for i, d := range s {
			if d.Known() {
				continue
			}
			n, ok := sizes[d.Sym]
			if !ok || d.Sym == "" {
				return badParam(v, "dimension %d of the graph input is not known (%v): give its whole shape", i, s)
			}
			s[i] = ir.D(int(n))
		}
		w.Type.Shape = s
	}
	// Types noted in the file may carry the symbols; inference finds them anew.
	for n := range c.g.Nodes() {
		if ops.Lookup(n.Domain, n.Op) == nil && g.Function(n.Domain, n.Op) == nil {
			continue
		}
		for _, o := range n.Outputs {
			if o != nil {
				o.Type = ir.Type{Elem: o.Type.Elem}
			}
		}
	}
	return nil
}

// settle infers types and folds constants until neither finds more.
func (c *compiler) settle() error {
	c.budget = ops.NewBudget(c.g, c.cfg.folding)
	for {
		if _, err := ops.Infer(c.g); err != nil {
			return err
		}
		if c.convs == nil {
			c.findCodedConvs()
		}
		n, err := c.fold()
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}

// fold replaces nodes whose outputs are known now by constants and says how many
// it replaced.
func (c *compiler) fold() (int, error) {
	count := 0
	for n := range c.g.Nodes() {
		outs, err := c.known(n)
		if err != nil {
			return 0, err
		}
		if outs == nil {
			continue
		}
		for i, o := range n.Outputs {
			if o == nil || i >= len(outs) || outs[i] == nil {
				continue
			}
			k := c.g.AddConst(o.Name+"/folded", outs[i])
			c.g.ReplaceUses(o, k)
			c.retap(o, k)
		}
		c.g.Remove(n)
		count++
	}
	return count, nil
}

// known computes the outputs of n when they do not depend on graph inputs or
// parameters and the budget of folding allows them; nil otherwise.
func (c *compiler) known(n *ir.Node) ([]*ir.Tensor, error) {
	for _, o := range n.Outputs {
		if o != nil && c.g.IsOutput(o) {
			return nil, nil
		}
	}
	if n.Is("Shape") || n.Is("Size") {
		return dimsOf(n), nil
	}
	if n.IsOwn("FakeQuant") && c.codedWeight(n) {
		return nil, nil
	}
	if c.convWeights[n] {
		return nil, nil
	}
	in := make([]*ir.Tensor, len(n.Inputs))
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		if in[i] = c.fixed(v); in[i] == nil {
			return nil, nil
		}
	}
	if ops.Lookup(n.Domain, n.Op) == nil || !c.budget.Take(n) {
		return nil, nil
	}
	return ops.Eval(n, in)
}

// dimsOf answers Shape and Size from the type of their input.
func dimsOf(n *ir.Node) []*ir.Tensor {
	dims, ok := n.Inputs[0].Type.Shape.Ints()
	if !ok || !n.Inputs[0].Type.Ranked {
		return nil
	}
	if n.Op == "Size" {
		return []*ir.Tensor{ir.Scalar(int64(size(dims)))}
	}
	r := len(dims)
	at := func(name string, def int) int {
		i := n.Attrs.Int(name, def)
		if i < 0 {
			i += r
		}
		return max(0, min(i, r))
	}
	lo, hi := at("start", 0), at("end", r)
	hi = max(lo, hi)
	return []*ir.Tensor{ir.Of(ir.Int64s(dims[lo:hi]...), hi-lo)}
}

// retap makes taps of o read w.
func (c *compiler) retap(o, w *ir.Value) {
	for _, v := range c.cfg.Taps {
		if c.of[v] == o {
			c.of[v] = w
		}
	}
}

// codedWeight reports whether a quantiser of a constant is read by a product
// that runs on codes, which would be lost in a folded constant.
func (c *compiler) codedWeight(n *ir.Node) bool {
	for _, u := range n.Out().Uses() {
		if c.integerProduct(u.Node) != nil {
			return true
		}
	}
	return false
}
