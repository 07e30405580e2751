package runtime

import (
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// compiler turns one graph into one program.
type compiler struct {
	cfg Config
	g   *ir.Graph               // private copy, folded
	of  map[*ir.Value]*ir.Value // caller's value -> value of g
	p   *Program

	ids      map[*ir.Value]int // value of g -> value of p
	params   map[*ir.Value]int // value of g -> index in Config.Params
	taps     map[*ir.Value]bool
	live     map[*ir.Node]bool
	left     map[*ir.Value]*ir.Node  // product left to the Add that reads it
	absorbed map[*ir.Node]bool       // nodes that an earlier step has done
	turned   map[*ir.Value]*ir.Value // matrix transposed by its readers -> the matrix
	quants   map[*ir.Node]*fakeQuant // quantisers that have been planned
	coded    map[codedKey]int        // codes that a quantise step makes
	gelus    map[grid]*kernel.GeluTable
	grids    map[grid]kernel.Grid
	convs    map[*ir.Node]*codedConv // convolutions that run on codes

	convWeights map[*ir.Node]bool // quantisers of their weights: not folded
	budget      *ops.Budget       // of constants that are made by folding
	pinned      []int
}

// Compile plans g at fixed shapes. The graph is not modified; its values are the
// keys by which Program and State speak of tensors. Everything that depends only
// on constants outside Config.Params is computed here, all shape arithmetic
// included. Operators without a fast step run through ops.Eval: slowly, and only
// forward. Errors name the node.
func Compile(g *ir.Graph, cfg Config) (*Program, error) {
	c := &compiler{
		cfg: cfg, ids: map[*ir.Value]int{}, params: map[*ir.Value]int{}, taps: map[*ir.Value]bool{},
		live: map[*ir.Node]bool{}, left: map[*ir.Value]*ir.Node{}, absorbed: map[*ir.Node]bool{}, turned: map[*ir.Value]*ir.Value{}, quants: map[*ir.Node]*fakeQuant{},
		coded: map[codedKey]int{}, gelus: map[grid]*kernel.GeluTable{}, grids: map[grid]kernel.Grid{},
		p: &Program{byIR: map[*ir.Value]int{}, inputN: map[*ir.Value]int{}, train: cfg.Train},
	}
	if c.cfg.weights == nil {
		c.cfg.weights = &weightStore{}
	}
	if err := c.prepare(g); err != nil {
		return nil, err
	}
	c.absorbConvs()
	c.markLive()
	c.declare(g)
	for n := range c.g.Nodes() {
		if !c.live[n] {
			continue
		}
		if err := c.lower(n); err != nil {
			return nil, err
		}
	}
	if err := c.publish(g); err != nil {
		return nil, err
	}
	c.dropDead()
	if !cfg.Train && !cfg.NoFuse {
		c.fuse()
		c.packLefts()
		c.p.weighWeights()
	}
	if cfg.KeepCodes {
		c.keepCodes()
	}
	if cfg.Train {
		c.fuseTraining()
	}
	if !cfg.Train {
		c.inPlace()
	}
	c.p.layLanes(max(1, cfg.lanes))
	c.lend()
	c.p.weighEvaluated()
	if err := c.planBackward(); err != nil {
		return nil, err
	}
	if err := c.planMemory(); err != nil {
		return nil, err
	}
	return c.p, nil
}

// markLive finds the nodes that outputs and taps depend on.
func (c *compiler) markLive() {
	var stack []*ir.Value
	stack = append(stack, c.g.Outputs...)
	for _, v := range c.cfg.Taps {
		stack = append(stack, c.of[v])
		c.taps[c.of[v]] = true
	}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if v == nil || v.Def == nil || c.live[v.Def] {
			continue
		}
		c.live[v.Def] = true
		stack = append(stack, v.Def.Inputs...)
	}
}

// declare makes the values of graph inputs and parameters.
func (c *compiler) declare(g *ir.Graph) {
	p := c.p
	p.inputs, p.output = slices.Clone(g.Inputs), slices.Clone(g.Outputs)
	for _, v := range g.Inputs {
		id := c.value(c.of[v])
		p.inputN[v] = id
		c.pinned = append(c.pinned, id)
	}
	for _, v := range c.cfg.Params {
		p.params = append(p.params, c.value(c.of[v]))
	}
}

// publish binds the caller's outputs and taps to values of the program.
func (c *compiler) publish(g *ir.Graph) error {
	for _, v := range g.Inputs {
		c.p.byIR[v] = c.p.inputN[v]
	}
	bind := func(v, w *ir.Value) error {
		id, ok := c.ids[w]
		if !ok {
			if w.Const == nil {
				return &ir.Error{Tensor: v.Name, Msg: "is not computed by the graph"}
			}
			id = c.value(w)
		}
		if c.cfg.Train && c.p.values[c.p.values[id].root].param >= 0 {
			id = c.duplicate(id)
		}
		c.p.byIR[v] = id
		c.pinned = append(c.pinned, id)
		return nil
	}
	for i, v := range g.Outputs {
		if err := bind(v, c.g.Outputs[i]); err != nil {
			return err
		}
	}
	for _, v := range c.cfg.Taps {
		if err := bind(v, c.of[v]); err != nil {
			return err
		}
	}
	return nil
}

// dropDead removes steps whose results fusion has left without a reader.
func (c *compiler) dropDead() {
	need := map[int]bool{}
	root := func(id int) int { return c.p.values[id].root }
	for _, id := range c.pinned {
		need[root(id)] = true
	}
	var kept []step
	for _, s := range slices.Backward(c.p.steps) {
		b := s.plan()
		if !slices.ContainsFunc(b.out, func(id int) bool { return need[root(id)] }) {
			continue
		}
		for _, id := range b.in {
			need[root(id)] = true
		}
		kept = append(kept, s)
	}
	slices.Reverse(kept)
	c.p.steps = kept
}

// kept reports whether v must exist as a value of its own: an output or a tap.
func (c *compiler) kept(v *ir.Value) bool { return c.taps[v] || c.g.IsOutput(v) }

// users counts the live readers of v.
func (c *compiler) users(v *ir.Value) int {
	n := 0
	for _, u := range v.Uses() {
		if c.live[u.Node] {
			n++
		}
	}
	return n
}

// value gives the program's value of v, making it at its first mention; -1 for
// an input that is left out.
func (c *compiler) value(v *ir.Value) int {
	if v == nil {
		return -1
	}
	if c.turned[v] != nil || c.left[v] != nil {
		c.settleDeferred(v)
	}
	if id, ok := c.ids[v]; ok {
		return id
	}
	x := value{name: v.Name, elem: v.Type.Elem, param: -1}
	x.shape, _ = v.Type.Shape.Ints()
	x.n = size(x.shape)
	switch {
	case v.Const != nil:
		x.kind, x.tens = constant, v.Const
		if i, ok := c.params[v]; ok {
			x.param = i
		}
	case x.elem != ir.Float32:
		x.kind = asTensor
	}
	id := c.add(x)
	c.ids[v] = id
	return id
}

func (c *compiler) add(x value) int {
	id := len(c.p.values)
	if x.kind != viewOf {
		x.root = id
	}
	c.p.values = append(c.p.values, x)
	return id
}

// view makes out the elements [off, off+n) of in, without a copy.
func (c *compiler) view(out, in *ir.Value, off int) {
	src := c.value(in)
	s := c.p.values[src]
	x := value{name: out.Name, elem: out.Type.Elem, kind: viewOf, root: s.root, off: s.off + off, param: -1}
	x.shape, _ = out.Type.Shape.Ints()
	x.n = size(x.shape)
	c.ids[out] = c.add(x)
}

// temp makes a nameless scratch of n floats for the step b.
func (c *compiler) temp(b *base, n int, l life) int {
	id := c.add(value{elem: ir.Float32, shape: []int{n}, n: n, kind: temporary, life: l, param: -1})
	b.tmp = append(b.tmp, id)
	return id
}

// emit appends a step for node n.
func (c *compiler) emit(n *ir.Node, s step) {
	b := s.plan()
	b.op = n.Op
	b.name = n.Label()
	c.p.steps = append(c.p.steps, s)
}

// shape gives the known shape of v.
func (c *compiler) shape(v *ir.Value) []int { s, _ := v.Type.Shape.Ints(); return s }

// isFloat reports whether v is a float32 tensor.
func isFloat(v *ir.Value) bool { return v != nil && v.Type.Elem == ir.Float32 }

// fixed gives the tensor of a constant that cannot change, or nil.
func (c *compiler) fixed(v *ir.Value) *ir.Tensor {
	if v == nil || v.Const == nil {
		return nil
	}
	if _, ok := c.params[v]; ok {
		return nil
	}
	return v.Const
}

// fixedScalar reads a fixed one-element constant.
func (c *compiler) fixedScalar(v *ir.Value) (float32, bool) {
	t := c.fixed(v)
	if t == nil || t.Len() != 1 || t.Elem == ir.String {
		return 0, false
	}
	return float32(t.Float(0)), true
}

// fixedInts reads a fixed integer constant.
func (c *compiler) fixedInts(v *ir.Value) ([]int, bool) {
	t := c.fixed(v)
	if t == nil || !t.Elem.IsInt() {
		return nil, false
	}
	return t.Ints(), true
}

// builder makes the steps of one node. It reports false, having done nothing,
// when it has no fast form for this node; ops.Eval then takes over.
type builder func(c *compiler, n *ir.Node) (bool, error)

// lower makes the steps of a node.
func (c *compiler) lower(n *ir.Node) error {
	if c.absorbed[n] || c.leaveToDequantize(n) {
		return nil
	}
	key := n.Op
	if n.Domain != "" {
		key = n.Domain + "." + n.Op
	}
	build := builders[key]
	if build == nil && n.Domain == ir.Domain {
		build = ownBuilder(n.Op)
	}
	if build != nil && c.firstFloat(n) {
		ok, err := build(c, n)
		if err != nil || ok {
			return err
		}
	}
	return c.fallback(n)
}

// firstFloat reports whether the first output is float32 and nothing reads the
// others unless they are float32 too: the fast steps give nothing else.
func (c *compiler) firstFloat(n *ir.Node) bool {
	for i, o := range n.Outputs {
		if o != nil && !isFloat(o) && (i == 0 || c.users(o) > 0 || c.kept(o)) {
			return false
		}
	}
	return isFloat(n.Outputs[0])
}

func badParam(v *ir.Value, format string, args ...any) error {
	return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf(format, args...)}
}
