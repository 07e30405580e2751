package ir

import (
	"maps"
	"slices"
)

// Add appends a node of the ai.onnx domain with one output of unknown type.
// The caller keeps topological order: inputs must already exist.
func (g *Graph) Add(op, out string, attrs Attrs, inputs ...*Value) *Node {
	return g.InsertBefore(nil, "", op, attrs, inputs, out)
}

// InsertBefore makes a node before ref (at the end when ref is nil). It makes
// one output value for each name, unknown in type until inference; a name "_"
// leaves the output out. Names are made unique.
func (g *Graph) InsertBefore(ref *Node, domain, op string, attrs Attrs, inputs []*Value, outs ...string) *Node {
	if attrs == nil {
		attrs = Attrs{}
	}
	n := &Node{Domain: domain, Op: op, Attrs: attrs, Role: Role{Block: -1}}
	for _, name := range outs {
		if name == "_" {
			n.Outputs = append(n.Outputs, nil)
			continue
		}
		v := g.newValue(name, Type{})
		v.Def = n
		n.Outputs = append(n.Outputs, v)
	}
	for i, v := range inputs {
		n.Inputs = append(n.Inputs, v)
		if v != nil {
			v.uses = append(v.uses, Use{n, i})
		}
	}
	g.link(n, ref)
	return n
}

// InsertAfter is InsertBefore the node that follows ref.
func (g *Graph) InsertAfter(ref *Node, domain, op string, attrs Attrs, inputs []*Value, outs ...string) *Node {
	next := ref.next
	for next != nil && next.dead {
		next = next.next
	}
	return g.InsertBefore(next, domain, op, attrs, inputs, outs...)
}

func (g *Graph) link(n, ref *Node) {
	if ref == nil {
		n.prev = g.last
		if g.last != nil {
			g.last.next = n
		} else {
			g.first = n
		}
		g.last = n
	} else {
		n.prev, n.next = ref.prev, ref
		if ref.prev != nil {
			ref.prev.next = n
		} else {
			g.first = n
		}
		ref.prev = n
	}
	g.len++
}

func (g *Graph) unlink(n *Node) {
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		g.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		g.last = n.prev
	}
	g.len--
}

// SetInput makes input i of n read v (nil: left out), growing the input list
// with left-out inputs where needed.
func (n *Node) SetInput(i int, v *Value) {
	for len(n.Inputs) <= i {
		n.Inputs = append(n.Inputs, nil)
	}
	if old := n.Inputs[i]; old != nil {
		old.dropUse(n, i)
	}
	n.Inputs[i] = v
	if v != nil {
		v.uses = append(v.uses, Use{n, i})
	}
}

// TrimInputs cuts the input list to its first k entries.
func (n *Node) TrimInputs(k int) {
	for i := k; i < len(n.Inputs); i++ {
		if v := n.Inputs[i]; v != nil {
			v.dropUse(n, i)
		}
	}
	n.Inputs = n.Inputs[:min(k, len(n.Inputs))]
}

func (v *Value) dropUse(n *Node, i int) {
	k := slices.Index(v.uses, Use{n, i})
	v.uses[k] = v.uses[len(v.uses)-1]
	v.uses = v.uses[:len(v.uses)-1]
}

// ReplaceUses makes every reader of old read new instead, graph outputs
// included. A graph output keeps its name: the two values swap names, so new
// must then be defined by a node and not be a graph output already; where it is
// not, an Identity is put in between.
func (g *Graph) ReplaceUses(old, new *Value) {
	for len(old.uses) > 0 {
		u := old.uses[len(old.uses)-1]
		u.Node.SetInput(u.Index, new)
	}
	for i, o := range g.Outputs {
		if o != old {
			continue
		}
		if new.Def == nil || g.IsOutput(new) {
			id := g.Add("Identity", new.Name, nil, new)
			id.Outputs[0].Type = new.Type
			new = id.Out()
		}
		g.Outputs[i] = new
		g.swapNames(old, new)
	}
}

func (g *Graph) swapNames(a, b *Value) {
	a.Name, b.Name = b.Name, a.Name
	g.names[a.Name], g.names[b.Name] = a, b
}

// Rename gives v the name, made unique.
func (g *Graph) Rename(v *Value, name string) {
	if v.Name == name {
		return
	}
	delete(g.names, v.Name)
	v.Name = g.Unique(name)
	g.names[v.Name] = v
}

// Remove takes n out of the graph. Its outputs must have no users and not be
// graph outputs: anything else is a bug in the caller and panics.
func (g *Graph) Remove(n *Node) {
	for _, o := range n.Outputs {
		if o == nil {
			continue
		}
		if len(o.uses) > 0 || g.IsOutput(o) {
			panic("ir: Remove of a node whose output " + Quote(o.Name) + " is used")
		}
		delete(g.names, o.Name)
	}
	n.TrimInputs(0)
	n.dead = true
	g.unlink(n)
}

// DropUnusedConsts forgets the names of constants that nothing reads.
func (g *Graph) DropUnusedConsts() {
	for name, v := range g.names {
		if v.IsConst() && len(v.uses) == 0 && !g.IsOutput(v) {
			delete(g.names, name)
		}
	}
}

// MoveBefore moves n before ref in the order (to the end when ref is nil).
func (g *Graph) MoveBefore(n, ref *Node) {
	if n == ref {
		return
	}
	g.unlink(n)
	n.prev, n.next = nil, nil
	g.link(n, ref)
}

// Sort restores topological order, stable with respect to the present one.
// It reports false, leaving the order alone, when there is a cycle.
func (g *Graph) Sort() bool {
	pending := map[*Node]int{}
	var ready []*Node
	order := make([]*Node, 0, g.len)
	index := map[*Node]int{}
	i := 0
	for n := range g.Nodes() {
		index[n] = i
		i++
		deps := 0
		for _, v := range n.Inputs {
			if v != nil && v.Def != nil {
				deps++
			}
		}
		if deps == 0 {
			ready = append(ready, n)
		}
		pending[n] = deps
	}
	h := nodeHeap{index: index, nodes: ready}
	h.init()
	for len(h.nodes) > 0 {
		n := h.pop()
		order = append(order, n)
		for _, o := range n.Outputs {
			if o == nil {
				continue
			}
			for _, u := range o.uses {
				if pending[u.Node]--; pending[u.Node] == 0 {
					h.push(u.Node)
				}
			}
		}
	}
	if len(order) != g.len {
		return false
	}
	g.first, g.last, g.len = nil, nil, 0
	for _, n := range order {
		n.prev, n.next = nil, nil
		g.link(n, nil)
	}
	return true
}

// nodeHeap yields the ready node that stood first before sorting.
type nodeHeap struct {
	index map[*Node]int
	nodes []*Node
}

func (h *nodeHeap) less(i, j int) bool { return h.index[h.nodes[i]] < h.index[h.nodes[j]] }

func (h *nodeHeap) init() {
	slices.SortFunc(h.nodes, func(a, b *Node) int { return h.index[a] - h.index[b] })
}

func (h *nodeHeap) push(n *Node) {
	h.nodes = append(h.nodes, n)
	for i := len(h.nodes) - 1; i > 0; {
		p := (i - 1) / 2
		if !h.less(i, p) {
			return
		}
		h.nodes[i], h.nodes[p] = h.nodes[p], h.nodes[i]
		i = p
	}
}

func (h *nodeHeap) pop() *Node {
	top := h.nodes[0]
	last := len(h.nodes) - 1
	h.nodes[0] = h.nodes[last]
	h.nodes = h.nodes[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			break
		}
		if c+1 < last && h.less(c+1, c) {
			c++
		}
		if !h.less(c, i) {
			break
		}
		h.nodes[i], h.nodes[c] = h.nodes[c], h.nodes[i]
		i = c
	}
	return top
}

// Clone copies the whole graph, constants included, and gives the map from old
// values to new ones. Functions are shared.
func (g *Graph) Clone() (*Graph, map[*Value]*Value) {
	return g.clone((*Tensor).Clone)
}

// Shadow is Clone with the tensors of the constants shared: a copy for analysis
// and rewriting that costs no memory for weights.
func (g *Graph) Shadow() (*Graph, map[*Value]*Value) {
	return g.clone(func(t *Tensor) *Tensor { return t })
}

func (g *Graph) clone(tensor func(*Tensor) *Tensor) (*Graph, map[*Value]*Value) {
	c := New(g.Name)
	c.Meta = maps.Clone(g.Meta)
	c.Functions = slices.Clone(g.Functions)
	m := map[*Value]*Value{}
	copyOf := func(v *Value) *Value {
		if v == nil {
			return nil
		}
		if w, ok := m[v]; ok {
			return w
		}
		w := &Value{Name: v.Name, Type: v.Type}
		w.Type.Shape = slices.Clone(v.Type.Shape)
		if v.Const != nil {
			w.Const = tensor(v.Const)
		}
		m[v] = w
		c.names[w.Name] = w
		return w
	}
	for _, v := range g.Inputs {
		c.Inputs = append(c.Inputs, copyOf(v))
	}
	for n := range g.Nodes() {
		k := &Node{Domain: n.Domain, Op: n.Op, Name: n.Name, Attrs: n.Attrs.Clone(), Role: n.Role, Origin: n.Origin}
		k.Origin.By = slices.Clone(n.Origin.By)
		for i, v := range n.Inputs {
			w := copyOf(v)
			k.Inputs = append(k.Inputs, w)
			if w != nil {
				w.uses = append(w.uses, Use{k, i})
			}
		}
		for _, v := range n.Outputs {
			w := copyOf(v)
			if w != nil {
				w.Def = k
			}
			k.Outputs = append(k.Outputs, w)
		}
		c.link(k, nil)
	}
	for _, v := range g.Outputs {
		c.Outputs = append(c.Outputs, copyOf(v))
	}
	return c, m
}
