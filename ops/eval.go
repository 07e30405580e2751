package ops

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Eval computes one node, slowly and exactly: floating results are accumulated
// in float64 and rounded once to the output type, half to even. in follows
// n.Inputs, nil where an optional input is left out; the result follows
// n.Outputs, nil where an output is left out. Input tensors are not modified,
// but a result may share their data (Identity, Reshape).
//
// A node of an unknown operator, operands that do not fit, and results of more
// than MaxElems elements are errors that name the node.
func Eval(n *ir.Node, in []*ir.Tensor) ([]*ir.Tensor, error) {
	o := Lookup(n.Domain, n.Op)
	if o == nil {
		return nil, n.Errorf("unknown operator %s", opName(n))
	}
	if len(in) != len(n.Inputs) {
		return nil, n.Errorf("evaluation was given %d inputs, the node has %d", len(in), len(n.Inputs))
	}
	c := &call{Node: n, op: o, in: make([]fact, len(in)), out: make([]fact, len(n.Outputs))}
	for i, t := range in {
		if t != nil {
			c.in[i] = tensorFact(t)
		} else if n.Inputs[i] != nil && (len(o.In) == 0 || !param(o.In, i).Optional) {
			return nil, n.Errorf("input %d %s has no data", i, ir.Quote(n.Inputs[i].Name))
		}
	}
	if err := c.inferAll(); err != nil {
		return nil, err
	}
	if err := c.evaluate(); err != nil {
		return nil, err
	}
	return c.res, nil
}

// evaluate runs the operator on inputs whose types have passed inference.
func (c *call) evaluate() error {
	if c.op.eval == nil {
		return c.Errorf("evaluation of this operator is not supported")
	}
	for k := range c.out {
		n, ok := c.out[k].size()
		if !ok {
			return c.Errorf("the shape of output %d cannot be found: %s", k, numsText(c.out[k].dims))
		}
		if n > MaxElems {
			return c.Errorf("the result of %d elements is too large (limit %d)", n, MaxElems)
		}
	}
	c.res = make([]*ir.Tensor, len(c.out))
	if err := c.op.eval(c); err != nil {
		return err
	}
	for k, v := range c.Outputs {
		if v == nil {
			c.res[k] = nil
		} else if c.res[k] == nil {
			return c.Errorf("output %d is not supported", k)
		}
	}
	return nil
}

// EvalGraph computes the outputs of a graph from its inputs, both by name. See
// EvalAll.
func EvalGraph(g *ir.Graph, in map[string]*ir.Tensor) (map[string]*ir.Tensor, error) {
	e := &evaluator{funcs: g.Functions, steps: maxSteps}
	vals, err := e.graph(g, in, 0, true)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*ir.Tensor, len(g.Outputs))
	for _, v := range g.Outputs {
		out[v.Name] = vals[v]
	}
	return out, nil
}

// EvalAll computes every value of a graph. Missing inputs, inputs of another
// element type or of another shape than declared are errors; a symbolic
// dimension must have one size throughout. A node whose operator is not in the
// table is evaluated through the model-local function of its name.
func EvalAll(g *ir.Graph, in map[string]*ir.Tensor) (map[*ir.Value]*ir.Tensor, error) {
	e := &evaluator{funcs: g.Functions, steps: maxSteps}
	return e.graph(g, in, 0, false)
}

// Limits on model-local functions, which can call each other.
const (
	maxCallDepth = 32
	maxSteps     = 50_000_000
)

type evaluator struct {
	funcs []*ir.Function
	steps int
}

// graph evaluates g. With release set, a value's tensor is dropped after its
// last use.
func (e *evaluator) graph(g *ir.Graph, in map[string]*ir.Tensor, depth int, release bool) (map[*ir.Value]*ir.Tensor, error) {
	vals := make(map[*ir.Value]*ir.Tensor, g.Len())
	sizes := map[string]int{}
	for _, v := range g.Inputs {
		t := in[v.Name]
		if t == nil {
			if depth > 0 {
				continue // an optional parameter of a function, left out
			}
			return nil, &ir.Error{Tensor: v.Name, Msg: "graph input is missing"}
		}
		if err := fits(v, t, sizes); err != nil {
			return nil, err
		}
		vals[v] = t
	}
	left := map[*ir.Value]int{}
	for n := range g.Nodes() {
		if e.steps--; e.steps < 0 {
			return nil, n.Errorf("model-local functions expand to more than %d nodes", maxSteps)
		}
		args := make([]*ir.Tensor, len(n.Inputs))
		for i, v := range n.Inputs {
			switch {
			case v == nil:
			case v.Const != nil:
				args[i] = v.Const
			default:
				args[i] = vals[v]
			}
		}
		res, err := e.call(n, args, depth)
		if err != nil {
			return nil, err
		}
		for k, v := range n.Outputs {
			if v != nil {
				vals[v] = res[k]
			}
		}
		if !release {
			continue
		}
		for _, v := range n.Inputs {
			if v == nil || v.Const != nil {
				continue
			}
			if left[v]++; left[v] == len(v.Uses()) && !slices.Contains(g.Outputs, v) {
				delete(vals, v)
			}
		}
	}
	for _, v := range g.Outputs {
		if v.Const != nil {
			vals[v] = v.Const
		}
	}
	return vals, nil
}

func (e *evaluator) call(n *ir.Node, args []*ir.Tensor, depth int) ([]*ir.Tensor, error) {
	if Lookup(n.Domain, n.Op) != nil {
		return Eval(n, args)
	}
	for _, f := range e.funcs {
		if f.Domain != n.Domain || f.Name != n.Op {
			continue
		}
		if depth >= maxCallDepth {
			return nil, n.Errorf("model-local functions call each other more than %d deep", maxCallDepth)
		}
		if len(args) > len(f.Body.Inputs) || len(n.Outputs) > len(f.Body.Outputs) {
			return nil, n.Errorf("has %d inputs and %d outputs, its function has %d and %d",
				len(args), len(n.Outputs), len(f.Body.Inputs), len(f.Body.Outputs))
		}
		in := map[string]*ir.Tensor{}
		for i, t := range args {
			if t != nil {
				in[f.Body.Inputs[i].Name] = t
			}
		}
		vals, err := e.graph(f.Body, in, depth+1, true)
		if err != nil {
			return nil, n.Errorf("in its function: %v", err)
		}
		res := make([]*ir.Tensor, len(n.Outputs))
		for k := range res {
			res[k] = vals[f.Body.Outputs[k]]
		}
		return res, nil
	}
	return nil, n.Errorf("operator %s is not supported, and the model has no function of that name", opName(n))
}

// fits checks a tensor against the declared type of a graph input.
func fits(v *ir.Value, t *ir.Tensor, sizes map[string]int) error {
	bad := v.Type.Elem != 0 && v.Type.Elem != t.Elem || v.Type.Ranked && len(v.Type.Shape) != len(t.Shape)
	if v.Type.Ranked && !bad {
		for i, d := range v.Type.Shape {
			switch {
			case d.Known():
				bad = bad || int64(t.Shape[i]) != d.Size
			case d.Sym != "":
				n, seen := sizes[d.Sym]
				bad = bad || seen && n != t.Shape[i]
				sizes[d.Sym] = t.Shape[i]
			}
		}
	}
	if bad {
		e := &ir.Error{Tensor: v.Name}
		e.Msg = "graph input is declared " + v.Type.String() + ", the data is " + t.Type().String()
		return e
	}
	return nil
}
