package onnxio

import (
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"github.com/qvitc/qvitc/ops"
)

type funcKey struct{ domain, name, overload string }

func (k funcKey) String() string { return k.domain + "::" + k.name }

// function is a model-local function. One whose body does not depend on the
// attributes of its call is kept in Graph.Functions and calls stay nodes; any
// other, and an overload, is put in place of each call. Calls of operators that
// package ops knows stay nodes too: what the file says of them is not needed.
type function struct {
	proto  *onnxpb.FunctionProto
	key    funcKey
	imp    imports
	inline bool
	known  bool // an operator of package ops whose body refers to its call
}

// readFunctions registers the functions and refuses recursion.
func (d *decoder) readFunctions(list []*onnxpb.FunctionProto) error {
	d.funcs = make(map[funcKey]*function, len(list))
	var order []*function
	for i, p := range list {
		k := funcKey{domainOf(p.GetDomain()), p.GetName(), p.GetOverload()}
		if k.name == "" {
			return fmt.Errorf("function %d has no name", i)
		}
		if d.funcs[k] != nil {
			return fmt.Errorf("function %s is defined twice", ir.Quote(k.String()))
		}
		imp, err := readImports(p.GetOpsetImport())
		if err != nil {
			return fmt.Errorf("function %s: %w", ir.Quote(k.String()), err)
		}
		f := &function{proto: p, key: k, imp: imp, inline: k.domain == "" || k.overload != "" || k.domain == ir.Domain && k.name == WholeOp}
		if refersToCall(p.GetNode()) {
			f.known = !f.inline && ops.Lookup(k.domain, k.name) != nil
			f.inline = !f.known
		}
		d.funcs[k] = f
		order = append(order, f)
	}
	return d.noRecursion(order)
}

// missingFunction reports whether a node calls what is neither a function of the
// model nor an operator, in a domain that the model's own functions make up.
// Domains that runtimes bring operators of may hold both.
func (d *decoder) missingFunction(dom string, p *onnxpb.NodeProto) bool {
	if dom == "" || dom == "com.microsoft" || dom == ir.Domain || ops.Lookup(dom, p.GetOpType()) != nil {
		return false
	}
	own := false
	for k := range d.funcs {
		if k.domain == dom && k.name == p.GetOpType() {
			return false
		}
		own = own || k.domain == dom
	}
	return own
}

func (d *decoder) noRecursion(order []*function) error {
	const (
		onPath = 1
		done   = 2
	)
	type step struct {
		f     *function
		calls []*function
	}
	state := map[*function]int{}
	for _, root := range order {
		if state[root] != 0 {
			continue
		}
		path := []step{{root, d.calls(root.proto.GetNode())}}
		state[root] = onPath
		for len(path) > 0 {
			top := &path[len(path)-1]
			if len(top.calls) == 0 {
				state[top.f] = done
				path = path[:len(path)-1]
				continue
			}
			next := top.calls[0]
			top.calls = top.calls[1:]
			switch state[next] {
			case onPath:
				var names []string
				for _, s := range path {
					if len(names) > 0 || s.f == next {
						names = append(names, s.f.key.name)
					}
				}
				if len(names) > 8 {
					names = append(names[:8], "…")
				}
				if len(names) == 1 {
					return fmt.Errorf("function %s calls itself", ir.Quote(next.key.name))
				}
				return fmt.Errorf("function %s calls itself through %s", ir.Quote(next.key.name), ir.Quote(strings.Join(names[1:], ", ")))
			case 0:
				state[next] = onPath
				path = append(path, step{next, d.calls(next.proto.GetNode())})
			}
		}
	}
	return nil
}

// calls lists the functions that nodes and their subgraphs call.
func (d *decoder) calls(nodes []*onnxpb.NodeProto) []*function {
	var out []*function
	for _, n := range nodes {
		if f := d.funcs[funcKey{domainOf(n.GetDomain()), n.GetOpType(), n.GetOverload()}]; f != nil {
			out = append(out, f)
		}
		for _, a := range n.GetAttribute() {
			if a.G != nil {
				out = append(out, d.calls(a.G.GetNode())...)
			}
			for _, g := range a.Graphs {
				out = append(out, d.calls(g.GetNode())...)
			}
		}
	}
	return out
}

// refersToCall reports whether a body takes attributes from its call.
func refersToCall(nodes []*onnxpb.NodeProto) bool {
	for _, n := range nodes {
		for _, a := range n.GetAttribute() {
			if a.GetRefAttrName() != "" || a.G != nil && refersToCall(a.G.GetNode()) {
				return true
			}
			for _, g := range a.Graphs {
				if refersToCall(g.GetNode()) {
					return true
				}
			}
		}
	}
	return false
}

// body builds a function's graph for a call with these attributes.
func (d *decoder) body(f *function, attrs ir.Attrs) (*scope, error) {
	bind := ir.Attrs{}
	for _, a := range f.proto.GetAttributeProto() {
		k, err := attrType(a)
		if err == nil {
			bind[a.GetName()], err = d.attr(a, k)
		}
		if err != nil {
			return nil, fmt.Errorf("function %s: attribute %s: %w", ir.Quote(f.key.String()), ir.Quote(a.GetName()), err)
		}
	}
	for _, name := range attrs.Names() {
		bind[name] = attrs[name]
	}
	p := &onnxpb.GraphProto{Name: &f.key.name, Node: f.proto.GetNode(), ValueInfo: f.proto.GetValueInfo()}
	for _, name := range f.proto.GetInput() {
		p.Input = append(p.Input, &onnxpb.ValueInfoProto{Name: &name})
	}
	for _, name := range f.proto.GetOutput() {
		p.Output = append(p.Output, &onnxpb.ValueInfoProto{Name: &name})
	}
	s, err := d.graph(p, nil, f.imp, bind)
	if err != nil {
		if e, ok := err.(*ir.Error); ok {
			return nil, e
		}
		return nil, fmt.Errorf("function %s: %w", ir.Quote(f.key.String()), err)
	}
	return s, nil
}

// addFunctions keeps the functions that calls in g refer to, directly or not,
// in the order of the file.
func (d *decoder) addFunctions(g *ir.Graph, list []*onnxpb.FunctionProto) error {
	for _, p := range list {
		f := d.funcs[funcKey{domainOf(p.GetDomain()), p.GetName(), p.GetOverload()}]
		if f.inline || f.known {
			continue
		}
		s, err := d.body(f, nil)
		if err != nil {
			return err
		}
		fn := &ir.Function{Domain: f.key.domain, Name: f.key.name, Doc: p.GetDocString(), Body: s.g}
		fn.Attrs = append(fn.Attrs, p.GetAttribute()...)
		for _, a := range p.GetAttributeProto() {
			fn.Attrs = append(fn.Attrs, a.GetName())
		}
		g.Functions = append(g.Functions, fn)
	}
	return nil
}

// inlineCall puts a function's body in place of its call.
func (d *decoder) inlineCall(s *scope, f *function, attrs ir.Attrs, inputs []*ir.Value, outs []string, origin ir.Origin) error {
	if d.inlining++; d.inlining > d.lim.Nesting {
		return fmt.Errorf("function calls nest deeper than %d", d.lim.Nesting)
	}
	defer func() { d.inlining-- }()
	b, err := d.body(f, attrs)
	if err != nil {
		return err
	}
	free := s.free
	if f.key == (funcKey{domain: ir.Domain, name: WholeOp}) { // the graph itself: its names are its own
		free = s.asItIs
	}
	m := map[*ir.Value]*ir.Value{}
	for i, v := range b.g.Inputs {
		m[v] = nil
		if i < len(inputs) {
			m[v] = inputs[i]
		}
	}
	wanted := map[*ir.Value]string{}
	for i, name := range outs {
		if v := b.g.Outputs[i]; name != "" && v.Def != nil && wanted[v] == "" {
			wanted[v] = name
		}
	}
	for n := range b.g.Nodes() {
		var in []*ir.Value
		for _, v := range n.Inputs {
			if v.IsConst() && m[v] == nil {
				m[v] = s.g.AddConst(free(v.Name), v.Const)
			}
			in = append(in, m[v])
		}
		names := make([]string, len(n.Outputs))
		for i, v := range n.Outputs {
			if v != nil {
				if names[i] = wanted[v]; names[i] == "" {
					names[i] = free(v.Name)
				}
			}
		}
		c := s.insert(n.Domain, n.Op, n.Attrs, in, names)
		c.Name, c.Origin = n.Name, origin
		s.ready[c] = true
		for i, v := range n.Outputs {
			if v != nil {
				m[v] = c.Outputs[i]
			}
		}
	}
	for i, name := range outs {
		v := b.g.Outputs[i]
		if name == "" || wanted[v] == name {
			continue
		}
		if v.IsConst() && m[v] == nil {
			m[v] = s.g.AddConst(free(v.Name), v.Const)
		}
		if m[v] == nil {
			return fmt.Errorf("output %s of function %s is an input that the call leaves out", ir.Quote(name), ir.Quote(f.key.String()))
		}
		c := s.insert("", "Identity", ir.Attrs{}, []*ir.Value{m[v]}, []string{name})
		c.Origin = origin
		s.ready[c] = true
	}
	return nil
}

// asItIs gives the name itself where free would.
func (s *scope) asItIs(name string) string {
	if s.g.Value(name) == nil && !s.reserved[name] {
		return name
	}
	return s.free(name)
}

// free gives a name that neither the graph nor a node still to come uses.
func (s *scope) free(name string) string {
	for {
		s.serial++
		try := fmt.Sprintf("%s#%d", name, s.serial)
		if s.g.Value(try) == nil && !s.reserved[try] {
			return try
		}
	}
}
