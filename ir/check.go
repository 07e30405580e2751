package ir

import "fmt"

// Check proves the invariants of the graph:
//
//  1. every value has a name and names are unique;
//  2. a value has exactly one definition: input, constant, or node output;
//  3. every node input is defined before the node (topological order, no cycle);
//  4. use lists and node inputs agree, both ways;
//  5. output back-pointers (Def) are right, no value is produced twice;
//  6. constants' types equal their tensors' types, and the data fits the shape;
//  7. graph inputs have an element type; graph outputs are defined;
//  8. nodes have an operator name and non-nil attributes of known kinds;
//  9. the list of nodes is well linked and its length is right;
//  10. function bodies hold to the same rules.
func (g *Graph) Check() error {
	c := checker{g: g, names: map[string]*Value{}, defined: map[*Value]bool{}, uses: map[*Value]int{}, reads: map[read]bool{}}
	return c.run()
}

type checker struct {
	g       *Graph
	names   map[string]*Value
	defined map[*Value]bool
	uses    map[*Value]int
	reads   map[read]bool // what nodes read
}

// read is one node input and the value it holds.
type read struct {
	v *Value
	u Use
}

func (c *checker) run() error {
	g := c.g
	for _, v := range g.Inputs {
		if v == nil {
			return fmt.Errorf("graph %s: nil input", Quote(g.Name))
		}
		if v.Const != nil || v.Def != nil {
			return valueErr(v, "a graph input must not have another definition")
		}
		if err := c.define(v); err != nil {
			return err
		}
	}
	count := 0
	var prev *Node
	for n := g.first; n != nil; prev, n = n, n.next {
		if n.dead || n.prev != prev {
			return n.Errorf("the node list is broken here")
		}
		if count++; count > g.len {
			return n.Errorf("the node list is longer than its length %d", g.len)
		}
		if err := c.node(n); err != nil {
			return err
		}
	}
	if count != g.len || g.last != prev {
		return fmt.Errorf("graph %s: %d nodes are linked, the length says %d", Quote(g.Name), count, g.len)
	}
	for i, v := range g.Outputs {
		if v == nil {
			return fmt.Errorf("graph %s: output %d is nil", Quote(g.Name), i)
		}
		if v.Const != nil && !c.defined[v] {
			if err := c.constant(v); err != nil {
				return err
			}
		}
		if !c.defined[v] {
			return valueErr(v, "graph output is not defined")
		}
	}
	for v := range c.defined {
		if len(v.uses) != c.uses[v] {
			return valueErr(v, "the use list has %d entries, %d inputs read it", len(v.uses), c.uses[v])
		}
		listed := map[Use]bool{}
		for _, u := range v.uses {
			if listed[u] || !c.reads[read{v, u}] {
				return valueErr(v, "the use list holds input %d of %s, which does not read it", u.Index, Quote(u.Node.Name))
			}
			listed[u] = true
		}
	}
	for _, f := range g.Functions {
		if f.Body == nil || f.Name == "" || f.Domain == "" {
			return fmt.Errorf("function %s::%s: needs a domain, a name and a body", f.Domain, f.Name)
		}
		if err := f.Body.Check(); err != nil {
			return fmt.Errorf("function %s::%s: %w", f.Domain, f.Name, err)
		}
	}
	return nil
}

func (c *checker) define(v *Value) error {
	if v.Name == "" {
		return fmt.Errorf("a value has no name")
	}
	if w := c.names[v.Name]; w != nil && w != v {
		return valueErr(v, "the name is used twice")
	}
	if c.defined[v] {
		return valueErr(v, "the value is defined twice")
	}
	if c.g.names[v.Name] != v {
		return valueErr(v, "the graph's name table does not hold it")
	}
	c.names[v.Name] = v
	c.defined[v] = true
	return nil
}

func (c *checker) constant(v *Value) error {
	if v.Def != nil {
		return valueErr(v, "a constant must not be a node's output")
	}
	if _, err := Wrap(v.Const.Elem, v.Const.Shape, v.Const.data); err != nil {
		return valueErr(v, "%v", err)
	}
	if v.Type.Elem != v.Const.Elem || !v.Type.Ranked || v.Type.Shape.String() != Known(v.Const.Shape...).String() {
		return valueErr(v, "type %v differs from its tensor's %v", v.Type, v.Const.Type())
	}
	return c.define(v)
}

func (c *checker) node(n *Node) error {
	if n.Op == "" {
		return n.Errorf("the node has no operator")
	}
	if n.Attrs == nil {
		return n.Errorf("attributes are nil")
	}
	for _, name := range n.Attrs.Names() {
		switch n.Attrs[name].(type) {
		case int64, float32, string, []int64, []float32, []string, *Tensor, *Graph, AttrRef:
		default:
			return n.Errorf("attribute %s has type %T", Quote(name), n.Attrs[name])
		}
	}
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		if v.Const != nil && !c.defined[v] {
			if err := c.constant(v); err != nil {
				return err
			}
		}
		if !c.defined[v] {
			return n.Errorf("input %d %s is not defined before the node", i, Quote(v.Name))
		}
		c.reads[read{v, Use{n, i}}] = true
		c.uses[v]++
	}
	if len(n.Outputs) == 0 {
		return n.Errorf("the node has no outputs")
	}
	for i, v := range n.Outputs {
		if v == nil {
			continue
		}
		if v.Def != n || v.Const != nil {
			return n.Errorf("output %d %s does not point back at the node", i, Quote(v.Name))
		}
		if err := c.define(v); err != nil {
			return err
		}
	}
	return nil
}

func valueErr(v *Value, format string, args ...any) error {
	return &Error{Tensor: v.Name, Msg: fmt.Sprintf(format, args...)}
}
