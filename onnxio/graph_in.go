package onnxio

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// scope is one graph being built: the main graph, a subgraph, a function body.
type scope struct {
	g        *ir.Graph
	outer    *scope
	imp      imports
	bind     ir.Attrs           // attributes of the call, in a function body; else nil
	declared map[string]ir.Type // value_info and output types by name
	captured []*ir.Value        // body inputs that stand for outer values
	ready    map[*ir.Node]bool  // nodes that are canonical already
	even     []*ir.Node         // see checkEven
	reserved map[string]bool    // names that nodes of the file make
	serial   int                // of names made up
}

// capturesKey in a subgraph's Meta counts its trailing inputs that stand for
// values of the graph around it.
const capturesKey = "qvitc.captures"

// graph builds a graph and brings its operators into their newest form.
func (d *decoder) graph(p *onnxpb.GraphProto, outer *scope, imp imports, bind ir.Attrs) (*scope, error) {
	s := &scope{g: ir.New(p.GetName()), outer: outer, imp: imp, bind: bind, declared: map[string]ir.Type{}, ready: map[*ir.Node]bool{}, reserved: map[string]bool{}}
	if err := d.initializers(s, p); err != nil {
		return nil, err
	}
	if err := d.inputs(s, p); err != nil {
		return nil, err
	}
	if err := d.declarations(s, p); err != nil {
		return nil, err
	}
	for _, n := range p.GetNode() {
		for _, o := range n.GetOutput() {
			s.reserved[o] = true
		}
	}
	nodes, err := d.sorted(p.GetNode(), func(name string) bool { return s.g.Value(name) != nil })
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if err := d.node(s, n.proto, n.index); err != nil {
			return nil, err
		}
	}
	if err := d.outputs(s, p); err != nil {
		return nil, err
	}
	return s, d.upgrade(s)
}

func (d *decoder) initializers(s *scope, p *onnxpb.GraphProto) error {
	for i, t := range p.GetInitializer() {
		if t.GetName() == "" {
			return fmt.Errorf("initializer %d has no name", i)
		}
		if s.g.Value(t.GetName()) != nil {
			return &ir.Error{Tensor: t.GetName(), Msg: "the initializer is given twice"}
		}
		v, err := d.tensor(t)
		if err != nil {
			return err
		}
		s.g.AddConst(t.GetName(), v)
	}
	for i, t := range p.GetSparseInitializer() {
		name := t.GetValues().GetName()
		if name == "" {
			return fmt.Errorf("sparse initializer %d has no name", i)
		}
		if s.g.Value(name) != nil {
			return &ir.Error{Tensor: name, Msg: "the initializer is given twice"}
		}
		v, err := d.sparse(t)
		if err != nil {
			return &ir.Error{Tensor: name, Err: err}
		}
		s.g.AddConst(name, v)
	}
	return nil
}

// inputs adds the graph inputs. One that has an initializer (old files list all
// weights so) is a constant and no input.
func (d *decoder) inputs(s *scope, p *onnxpb.GraphProto) error {
	seen := map[string]bool{}
	for i, in := range p.GetInput() {
		name := in.GetName()
		if name == "" {
			return fmt.Errorf("graph input %d has no name", i)
		}
		t, err := d.typeOf(in.GetType())
		if err != nil {
			return fmt.Errorf("input %s: %w", ir.Quote(name), err)
		}
		if seen[name] {
			return fmt.Errorf("input %s is given twice", ir.Quote(name))
		}
		seen[name] = true
		if v := s.g.Value(name); v != nil {
			if why := conflict(t, v.Type); why != "" {
				return &ir.Error{Tensor: name, Msg: fmt.Sprintf("the initializer does not fit the input of its name: %s", why)}
			}
			continue
		}
		if t.Elem == ir.Undefined && s.outer == nil && s.bind == nil {
			return fmt.Errorf("input %s has no element type", ir.Quote(name))
		}
		s.g.AddInput(name, t)
	}
	return nil
}

func (d *decoder) declarations(s *scope, p *onnxpb.GraphProto) error {
	for kind, list := range [2][]*onnxpb.ValueInfoProto{p.GetValueInfo(), p.GetOutput()} {
		what := [2]string{"value", "output"}[kind]
		for i, vi := range list {
			if vi.GetName() == "" {
				return fmt.Errorf("graph %s %d has no name", what, i)
			}
			t, err := d.typeOf(vi.GetType())
			if err != nil {
				return fmt.Errorf("%s %s: %w", what, ir.Quote(vi.GetName()), err)
			}
			if old, ok := s.declared[vi.GetName()]; ok {
				if why := conflict(old, t); why != "" {
					return fmt.Errorf("%s %s is declared twice: %s", what, ir.Quote(vi.GetName()), why)
				}
			}
			s.declared[vi.GetName()] = t
		}
	}
	return nil
}

func (d *decoder) outputs(s *scope, p *onnxpb.GraphProto) error {
	seen := map[*ir.Value]bool{}
	for _, o := range p.GetOutput() {
		v := s.lookup(o.GetName())
		if v == nil {
			return fmt.Errorf("output %s is not made by any node", ir.Quote(o.GetName()))
		}
		if seen[v] && s.outer == nil {
			return fmt.Errorf("output %s is listed twice", ir.Quote(o.GetName()))
		}
		seen[v] = true
		s.g.AddOutput(v)
	}
	return nil
}

// lookup finds a value by name here or, for a subgraph, in the graphs around
// it; an outer value becomes an input of the subgraph.
func (s *scope) lookup(name string) *ir.Value {
	if v := s.g.Value(name); v != nil {
		return v
	}
	if s.outer == nil {
		return nil
	}
	o := s.outer.lookup(name)
	if o == nil {
		return nil
	}
	v := s.g.AddInput(name, o.Type)
	s.captured = append(s.captured, v)
	return v
}

// node adds one node.
func (d *decoder) node(s *scope, p *onnxpb.NodeProto, index int) error {
	if d.nodes++; d.nodes > d.lim.Nodes {
		return fmt.Errorf("more than %d nodes", d.lim.Nodes)
	}
	fail := func(format string, args ...any) error { return nodeError(p, index, fmt.Errorf(format, args...)) }
	if p.GetOpType() == "" {
		return fail("the node has no operator")
	}
	if !printable(p.GetOpType()) || !printable(p.GetDomain()) {
		return fail("the operator %s has characters that cannot be printed", ir.Quote(p.GetDomain()+"::"+p.GetOpType()))
	}
	dom := domainOf(p.GetDomain())
	if err := d.checkNode(s, p, dom); err != nil {
		return nodeError(p, index, err)
	}
	attrs, bodies, err := d.attrs(s, p)
	if err != nil {
		return nodeError(p, index, err)
	}
	var inputs []*ir.Value
	for i, name := range p.GetInput() {
		if name == "" {
			inputs = append(inputs, nil)
			continue
		}
		v := s.lookup(name)
		if v == nil {
			return fail("input %d %s is not made by any node, input or initializer", i, ir.Quote(name))
		}
		inputs = append(inputs, v)
	}
	for len(inputs) > 0 && inputs[len(inputs)-1] == nil {
		inputs = inputs[:len(inputs)-1]
	}
	inputs = append(inputs, joinCaptures(s, bodies)...)
	if d.missingFunction(dom, p) {
		return fail("the model defines functions of domain %s, but not %s", ir.Quote(dom), ir.Quote(p.GetOpType()))
	}
	if f := d.funcs[funcKey{dom, p.GetOpType(), p.GetOverload()}]; f != nil {
		if nin, nout := len(f.proto.GetInput()), len(f.proto.GetOutput()); len(inputs) > nin || len(p.GetOutput()) > nout {
			return fail("the call has %d inputs and %d outputs, the function %d and %d", len(inputs), len(p.GetOutput()), nin, nout)
		}
	}
	outs := p.GetOutput()
	for len(outs) > 0 && outs[len(outs)-1] == "" {
		outs = outs[:len(outs)-1]
	}
	for _, name := range outs {
		if v := s.g.Value(name); v != nil && name != "" {
			return fail("value %s is made twice", ir.Quote(name))
		}
	}
	if len(outs) == 0 {
		return fail("the node has no outputs")
	}
	origin := ir.Origin{File: d.file, Name: p.GetName(), Op: p.GetOpType(), Index: index + 1}
	if f := d.funcs[funcKey{dom, p.GetOpType(), p.GetOverload()}]; f != nil && f.inline {
		return d.inlineCall(s, f, attrs, inputs, outs, origin)
	}
	if dom == "" && p.GetOpType() == "Constant" {
		t, err := constantValue(attrs)
		if err != nil {
			return nodeError(p, index, err)
		}
		s.g.AddConst(outs[0], t)
		return nil
	}
	n := s.insert(dom, p.GetOpType(), attrs, inputs, outs)
	n.Name, n.Origin = p.GetName(), origin
	if dom == "" {
		setElems(n, activeForm(p.GetOpType(), s.imp[""]))
	}
	return nil
}

// insert appends a node whose outputs have exactly these names (empty: left
// out) and the types that the file declares for them.
func (s *scope) insert(domain, op string, attrs ir.Attrs, inputs []*ir.Value, outs []string) *ir.Node {
	const leftOut = "_" // what ir calls an output that is left out
	names := make([]string, len(outs))
	for i, name := range outs {
		switch name {
		case "":
			names[i] = leftOut
		case leftOut:
			names[i] = s.g.Unique("underscore")
		default:
			names[i] = name
		}
	}
	n := s.g.InsertBefore(nil, domain, op, attrs, inputs, names...)
	for i, name := range outs {
		if name != "" {
			s.g.Rename(n.Outputs[i], name)
			n.Outputs[i].Type = s.declared[name]
		}
	}
	return n
}

// joinCaptures gives all bodies of a node the same captured inputs in the same
// order, and the outer values that the node must read for them.
func joinCaptures(s *scope, bodies []*scope) []*ir.Value {
	var names []string
	seen := map[string]bool{}
	for _, b := range bodies {
		for _, v := range b.captured {
			if !seen[v.Name] {
				seen[v.Name] = true
				names = append(names, v.Name)
			}
		}
	}
	var out []*ir.Value
	for _, name := range names {
		out = append(out, s.lookup(name))
	}
	for _, b := range bodies {
		own := map[string]*ir.Value{}
		for _, v := range b.captured {
			own[v.Name] = v
		}
		b.g.Inputs = b.g.Inputs[:len(b.g.Inputs)-len(b.captured)]
		for i, name := range names {
			if v := own[name]; v != nil {
				b.g.Inputs = append(b.g.Inputs, v)
			} else {
				b.g.AddInput(name, out[i].Type)
			}
		}
		b.g.Meta[capturesKey] = strconv.Itoa(len(names))
	}
	return out
}

// constantValue is the tensor of a Constant node.
func constantValue(a ir.Attrs) (*ir.Tensor, error) {
	if len(a) != 1 {
		return nil, fmt.Errorf("want exactly one value attribute, have %d", len(a))
	}
	name := a.Names()[0]
	switch v := a[name].(type) {
	case *ir.Tensor:
		return v, nil
	case float32:
		return ir.Scalar(v), nil
	case int64:
		return ir.Scalar(v), nil
	case string:
		return ir.Scalar(v), nil
	case []float32:
		return ir.Of(v, len(v)), nil
	case []int64:
		return ir.Of(v, len(v)), nil
	case []string:
		return ir.Of(v, len(v)), nil
	}
	return nil, fmt.Errorf("attribute %s is no value", ir.Quote(name))
}

// nodeError names the node: by its name, else by its first output, else by its
// place in the file.
func nodeError(p *onnxpb.NodeProto, index int, err error) error {
	if e, ok := err.(*ir.Error); ok && e.Node != "" {
		return e
	}
	out := &ir.Error{Node: nameOf(p, index), Err: err}
	if printable(p.GetOpType()) {
		out.Op = p.GetOpType()
	}
	if e, ok := err.(*ir.Error); ok {
		out.Tensor, out.Msg, out.Hint, out.Err = e.Tensor, e.Msg, e.Hint, e.Err
	}
	return out
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
