package passes

import (
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// FoldBudget is the largest constant in bytes that folding may make when it is
// larger than the constants it is made from.
const FoldBudget = 4 << 20

// FoldConstants computes at compile time what does not depend on the data.
var FoldConstants = Pass{
	Name: "fold-constants",
	Doc: `compute what does not depend on the input

A node whose inputs are all constants becomes a constant, unless the result is
larger than 4 MiB and larger than its inputs, or all results together are larger
than 32 MiB and 8 times the constants of the graph. Integer values that shape
inference knows completely become constants too. A Reshape whose target has one
unknown dimension gets a constant target with -1 there (and 0 where a dimension
is copied), so that the shape arithmetic of exporters disappears while the batch
stays dynamic; an Expand or ConstantOfShape to a symbolic shape gets a target
made directly from the shape of a graph input. Dynamic dimensions of inputs that
have no name get one, since only names can be followed.`,
	Run: foldConstants,
}

func foldConstants(g *ir.Graph, r *Report) (bool, error) {
	changed := nameDims(g, r)
	budget := ops.NewBudget(g, 0)
	for range 16 { // each round sees the shapes that the one before made known
		facts, err := ops.Infer(g)
		if err != nil {
			return changed, err
		}
		again := foldRound(g, r, facts, budget)
		changed = changed || again
		if !again {
			break
		}
		dropDead(g, &Report{Pass: r.Pass})
	}
	return changed, nil
}

// nameDims gives each unnamed dynamic dimension of an input a symbol of its own.
func nameDims(g *ir.Graph, r *Report) bool {
	used := map[string]bool{}
	for _, v := range g.Inputs {
		for _, d := range v.Type.Shape {
			used[d.Sym] = true
		}
	}
	named := 0
	for _, v := range g.Inputs {
		for i, d := range v.Type.Shape {
			if d.Known() || d.Sym != "" {
				continue
			}
			base := fmt.Sprintf("%s_dim%d", v.Name, i)
			name := base
			if i == 0 && !used["batch"] {
				name = "batch"
			}
			for k := 2; used[name]; k++ {
				name = fmt.Sprintf("%s_%d", base, k)
			}
			used[name] = true
			shape := slices.Clone(v.Type.Shape)
			shape[i] = ir.Sym(name)
			v.Type.Shape = shape
			named++
		}
	}
	r.Count("dimensions named", named)
	return named > 0
}

func foldRound(g *ir.Graph, r *Report, facts map[*ir.Value]ops.Fact, budget *ops.Budget) bool {
	changed := false
	sources := shapeSources{g: g}
	for n := range g.Nodes() {
		switch {
		case foldNode(g, r, n, facts, budget):
			changed = true
		case n.Is("Reshape"):
			changed = foldReshapeTarget(g, r, n, facts) || changed
		case n.Is("Expand"):
			changed = sources.rewrite(r, n, 1, facts) || changed
		case n.Is("ConstantOfShape"):
			changed = sources.rewrite(r, n, 0, facts) || changed
		}
	}
	return changed
}

// notFolded are operators that must stay although their inputs are constant:
// quantisation is meant to remain visible.
var notFolded = map[string]bool{"QuantizeLinear": true, "DequantizeLinear": true, "DynamicQuantizeLinear": true}

func foldNode(g *ir.Graph, r *Report, n *ir.Node, facts map[*ir.Value]ops.Fact, budget *ops.Budget) bool {
	if n.Domain != "" || notFolded[n.Op] || !ops.IsPure(n) || outputUsed(g, n) == 0 {
		return false
	}
	for _, o := range n.Outputs {
		if o != nil && g.IsOutput(o) {
			return false
		}
	}
	for _, a := range n.Attrs {
		if _, ok := a.(*ir.Graph); ok {
			return false
		}
	}
	if n.Is("Identity") && n.Inputs[0].IsConst() {
		g.ReplaceUses(n.Out(), n.Inputs[0])
		g.Remove(n)
		r.Count("folded", 1)
		return true
	}
	if t := facts[n.Outputs[0]].Const; t != nil && len(n.Outputs) == 1 {
		return becomeConst(g, r, n, []*ir.Tensor{t.Clone()}, "folded")
	}
	in := make([]*ir.Tensor, len(n.Inputs))
	inBytes := 0
	some := false
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		if !v.IsConst() {
			return false
		}
		some = true
		in[i] = v.Const
		b, _ := ir.ByteSize(v.Const.Shape, v.Const.Elem)
		inBytes += b
	}
	if !some {
		return false
	}
	outBytes := 0
	for _, o := range n.Outputs {
		if o == nil {
			continue
		}
		dims, ok := facts[o].Type.Shape.Ints()
		if !ok || !facts[o].Type.Ranked {
			return false
		}
		b, err := ir.ByteSize(dims, facts[o].Type.Elem)
		if err != nil {
			return false
		}
		outBytes += b
	}
	if outBytes > FoldBudget && outBytes > inBytes {
		r.Note(n, "not folded: the result has %d bytes", outBytes)
		return false
	}
	if !budget.Take(n) {
		r.Note(n, "not folded: too many constants, or too much work")
		return false
	}
	out, err := ops.Eval(n, in)
	if err != nil {
		r.Note(n, "not folded: %v", err)
		return false
	}
	return becomeConst(g, r, n, out, "folded")
}

// becomeConst puts constants in the place of n's outputs. They keep the names.
func becomeConst(g *ir.Graph, r *Report, n *ir.Node, out []*ir.Tensor, counter string) bool {
	names := make([]string, len(out))
	made := make([]*ir.Value, len(out))
	for i, t := range out {
		if i >= len(n.Outputs) || n.Outputs[i] == nil || t == nil {
			continue
		}
		names[i] = n.Outputs[i].Name
		made[i] = g.AddConst(names[i], t)
		g.ReplaceUses(n.Outputs[i], made[i])
	}
	g.Remove(n)
	for i, v := range made {
		if v != nil {
			g.Rename(v, names[i])
		}
	}
	r.Count(counter, 1)
	return true
}

// foldReshapeTarget replaces a computed target by a constant of sizes, at most
// one -1, and 0 for dimensions copied from the input.
func foldReshapeTarget(g *ir.Graph, r *Report, n *ir.Node, facts map[*ir.Value]ops.Fact) bool {
	if n.Input(1) == nil || n.Input(1).IsConst() || n.Attrs.Int("allowzero", 0) != 0 {
		return false
	}
	out := facts[n.Out()].Type
	if !out.Ranked {
		return false
	}
	in := facts[n.Inputs[0]].Type
	target, ok := reshapeTarget(in, out)
	if !ok {
		return false
	}
	n.SetInput(1, g.AddConst(n.Out().Name+".shape", ir.Of(target, len(target))))
	r.rewrote(n)
	r.Count("targets", 1)
	return true
}

// reshapeTarget writes a shape as a constant Reshape target; false when more
// than one dimension can be neither named nor copied.
func reshapeTarget(in, out ir.Type) ([]int64, bool) {
	target := make([]int64, len(out.Shape))
	free := 0
	for i, d := range out.Shape {
		target[i] = d.Size
		if !d.Known() {
			target[i] = -1
			free++
		}
		if d.Size == 0 {
			return nil, false
		}
	}
	for i, d := range out.Shape {
		if free > 1 && !d.Known() && in.Ranked && i < len(in.Shape) && in.Shape[i].Same(d) {
			target[i] = 0
			free--
		}
	}
	return target, free <= 1
}

// shapeSources rewrites symbolic shape inputs as Concat of constants and of
// Shape{start,end} of graph inputs, one Shape node for each symbol.
type shapeSources struct {
	g    *ir.Graph
	made map[string]*ir.Value
}

func (s *shapeSources) rewrite(r *Report, n *ir.Node, input int, facts map[*ir.Value]ops.Fact) bool {
	target := n.Input(input)
	out := facts[n.Out()].Type
	if target == nil || target.IsConst() || !out.Ranked || s.direct(target) {
		return false
	}
	parts, ok := s.parts(out.Shape)
	if !ok {
		return false
	}
	name := n.Out().Name + ".shape"
	var v *ir.Value
	if len(parts) == 1 {
		v = parts[0]
	} else {
		cat := s.g.InsertBefore(n, "", "Concat", ir.Attrs{"axis": int64(0)}, parts, name)
		v = r.rewrote(cat).Out()
		v.Type = ir.TensorType(ir.Int64, ir.Known(len(out.Shape)))
	}
	n.SetInput(input, v)
	r.rewrote(n)
	r.Count("targets", 1)
	return true
}

// direct reports whether the value already has the form that rewrite makes.
func (s *shapeSources) direct(v *ir.Value) bool {
	if def(v, "Shape") != nil {
		return v.Def.Inputs[0].Def == nil && v.Def.Attrs.Has("end")
	}
	cat := def(v, "Concat")
	if cat == nil {
		return false
	}
	for _, in := range cat.Inputs {
		if !in.IsConst() && (def(in, "Shape") == nil || !s.direct(in)) {
			return false
		}
	}
	return true
}

func (s *shapeSources) parts(shape ir.Shape) ([]*ir.Value, bool) {
	for _, d := range shape {
		if !d.Known() && !s.has(d) {
			return nil, false
		}
	}
	var parts []*ir.Value
	var run []int64
	flush := func() {
		if len(run) > 0 {
			parts = append(parts, s.g.AddConst("dims", ir.Of(run, len(run))))
			run = nil
		}
	}
	for _, d := range shape {
		if d.Known() {
			run = append(run, d.Size)
			continue
		}
		flush()
		parts = append(parts, s.source(d))
	}
	flush()
	return parts, true
}

func (s *shapeSources) find(d ir.Dim) (*ir.Value, int) {
	if d.Sym != "" {
		for _, in := range s.g.Inputs {
			for i, e := range in.Type.Shape {
				if e.Same(d) {
					return in, i
				}
			}
		}
	}
	return nil, 0
}

func (s *shapeSources) has(d ir.Dim) bool { v, _ := s.find(d); return v != nil }

// source gives the one-element vector that holds dimension d at run time.
func (s *shapeSources) source(d ir.Dim) *ir.Value {
	if v := s.made[d.Sym]; v != nil {
		return v
	}
	in, i := s.find(d)
	n := s.g.InsertBefore(s.g.First(), "", "Shape", ir.Attrs{"start": int64(i), "end": int64(i + 1)}, []*ir.Value{in}, d.Sym+".size")
	n.Out().Type = ir.TensorType(ir.Int64, ir.Known(1))
	if s.made == nil {
		s.made = map[string]*ir.Value{}
	}
	s.made[d.Sym] = n.Out()
	return n.Out()
}
