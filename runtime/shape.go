package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// moves copies blocks between tensors: the step of every operator that only
// rearranges elements.
type moves struct {
	base
	parts []move
	fill  float32 // written first where the parts do not cover the outputs
	fills bool
	dxs   []grad // by distinct source
	whole []bool // the parts read every element of the source once
}

// move is one block: from value src to value dst, and back for the gradient.
type move struct {
	dst, src   int
	there, dx  region
	sourceGrad int // index in moves.dxs
}

func (s *moves) forward(st *State) error {
	if s.fills {
		kernel.Fill(st.v[s.out[0]], s.fill)
	}
	for i := range s.parts {
		m := &s.parts[i]
		m.there.run(st.v[m.dst], st.v[m.src], false)
	}
	return nil
}

func (s *moves) backward(st *State) {
	for i := range s.dxs {
		if d := &s.dxs[i]; d.want && !d.acc && !s.whole[i] {
			clear(st.g[d.id])
		}
	}
	for i := range s.parts {
		m := &s.parts[i]
		if d := &s.dxs[m.sourceGrad]; d.want {
			m.dx.run(st.g[m.src], st.g[m.dst], d.acc || !s.whole[m.sourceGrad])
		}
	}
}

// block is one move to be planned, with strides over common sizes.
type block struct {
	dst, src *ir.Value
	dims     []int
	ds, ss   []int
	dat, sat int
}

// addMoves emits the step, or reports false when a block has too many loops.
func (c *compiler) addMoves(n *ir.Node, blocks []block, fill float32, fills bool) (bool, error) {
	s := &moves{fill: fill, fills: fills}
	var regions []region
	for _, b := range blocks {
		r, ok := newRegion(b.dims, b.ds, b.ss, b.dat, b.sat)
		back, ok2 := r.reversed()
		if !ok || !ok2 || !isFloat(b.src) {
			return false, nil
		}
		regions = append(regions, r, back)
	}
	for i, b := range blocks {
		m := move{dst: c.value(b.dst), src: c.value(b.src), there: regions[2*i], dx: regions[2*i+1]}
		m.sourceGrad = slices.IndexFunc(s.dxs, func(g grad) bool { return g.id == m.src })
		if m.sourceGrad < 0 {
			m.sourceGrad = len(s.dxs)
			s.dxs = append(s.dxs, grad{id: m.src})
			s.in = append(s.in, m.src)
		}
		if !slices.Contains(s.out, m.dst) {
			s.out = append(s.out, m.dst)
		}
		s.parts = append(s.parts, m)
	}
	for i := range s.dxs {
		s.dx = append(s.dx, &s.dxs[i])
		read, once := 0, true
		for _, m := range s.parts {
			if m.sourceGrad == i {
				read += size(m.dx.l.dims)
				once = once && !m.dx.repeats
			}
		}
		s.whole = append(s.whole, once && read == c.p.values[s.dxs[i].id].n)
	}
	c.emit(n, s)
	return true, nil
}

// duplicate copies a value. An output that is a parameter, or part of one, needs
// a gradient of its own for its seed.
func (c *compiler) duplicate(id int) int {
	x := c.p.values[id]
	to := c.add(value{name: x.name, elem: x.elem, shape: x.shape, n: x.n, param: -1})
	r, _ := newRegion([]int{x.n}, []int{1}, []int{1}, 0, 0)
	s := &moves{parts: []move{{dst: to, src: id, there: r, dx: r}}, dxs: []grad{{id: id}}, whole: []bool{true}}
	s.base = base{name: x.name, op: "Identity", in: []int{id}, out: []int{to}, dx: []*grad{&s.dxs[0]}}
	c.p.steps = append(c.p.steps, s)
	return to
}

// buildView makes an operator that keeps all elements in order an alias.
func buildView(c *compiler, n *ir.Node) (bool, error) {
	if !isFloat(n.Inputs[0]) || size(c.shape(n.Inputs[0])) != size(c.shape(n.Out())) {
		return false, nil
	}
	c.view(n.Out(), n.Inputs[0], 0)
	return true, nil
}

// buildDropout is the identity: in inference, or where nothing is dropped.
func buildDropout(c *compiler, n *ir.Node) (bool, error) {
	if v := n.Input(2); v != nil {
		ratio, ok := c.fixedScalar(n.Input(1))
		training := c.fixed(v)
		if (training == nil || training.Float(0) != 0) && !(ok && ratio == 0) {
			return false, nil
		}
	}
	return buildView(c, n)
}

func buildTranspose(c *compiler, n *ir.Node) (bool, error) {
	x := n.Inputs[0]
	in, out := c.shape(x), c.shape(n.Out())
	perm := n.Attrs.Ints("perm")
	if perm == nil {
		for i := range in {
			perm = append(perm, len(in)-1-i)
		}
	}
	// Moving dimensions of length 1 changes nothing in memory.
	var moved []int
	for _, p := range perm {
		if in[p] != 1 {
			moved = append(moved, p)
		}
	}
	if slices.IsSorted(moved) {
		return buildView(c, n)
	}
	if c.onlyFeedsMatMul(n, perm) {
		c.turned[n.Out()] = x
		return true, nil
	}
	st := rowMajor(in)
	ss := make([]int, len(perm))
	for i, p := range perm {
		ss[i] = st[p]
	}
	return c.addMoves(n, []block{{dst: n.Out(), src: x, dims: out, ds: rowMajor(out), ss: ss}}, 0, false)
}

func buildConcat(c *compiler, n *ir.Node) (bool, error) {
	out := c.shape(n.Out())
	axis := wrapAxis(n.Attrs.Int("axis", 0), len(out))
	ds := rowMajor(out)
	var blocks []block
	at := 0
	for _, v := range n.Inputs {
		dims := c.shape(v)
		blocks = append(blocks, block{dst: n.Out(), src: v, dims: dims, ds: ds, ss: rowMajor(dims), dat: at * ds[axis]})
		at += dims[axis]
	}
	return c.addMoves(n, blocks, 0, false)
}

func buildSplit(c *compiler, n *ir.Node) (bool, error) {
	x := n.Inputs[0]
	in := c.shape(x)
	axis := wrapAxis(n.Attrs.Int("axis", 0), len(in))
	ss := rowMajor(in)
	if size(in[:axis]) == 1 { // each part is contiguous
		at := 0
		for _, o := range n.Outputs {
			if o == nil { // the size of a part left out is not known here
				return false, nil
			}
			c.view(o, x, at)
			at += size(c.shape(o))
		}
		return true, nil
	}
	var blocks []block
	at := 0
	for _, o := range n.Outputs {
		if o == nil {
			return false, nil
		}
		dims := c.shape(o)
		blocks = append(blocks, block{dst: o, src: x, dims: dims, ds: rowMajor(dims), ss: ss, sat: at * ss[axis]})
		at += dims[axis]
	}
	return c.addMoves(n, blocks, 0, false)
}

func buildSlice(c *compiler, n *ir.Node) (bool, error) {
	x := n.Inputs[0]
	in, out := c.shape(x), c.shape(n.Out())
	starts, ok := c.fixedInts(n.Input(1))
	if !ok {
		return false, nil
	}
	axes := make([]int, len(starts))
	steps := make([]int, len(starts))
	for i := range axes {
		axes[i], steps[i] = i, 1
	}
	if v := n.Input(3); v != nil {
		if axes, ok = c.fixedInts(v); !ok {
			return false, nil
		}
	}
	if v := n.Input(4); v != nil {
		if steps, ok = c.fixedInts(v); !ok {
			return false, nil
		}
	}
	ss := rowMajor(in)
	at, contiguous := 0, true
	for i, a := range axes {
		a = wrapAxis(a, len(in))
		s := starts[i]
		if s < 0 {
			s += in[a]
		}
		top := in[a]
		if steps[i] < 0 {
			top = in[a] - 1
		}
		s = max(0, min(s, top))
		at += s * ss[a]
		contiguous = contiguous && (steps[i] == 1 || out[a] == 1)
		ss[a] *= steps[i]
	}
	if size(out) == 0 {
		at = 0
	}
	if contiguous && isFloat(x) {
		// Contiguous when only the first dimension longer than 1 is cut.
		k := 0
		for k < len(in) && out[k] == 1 {
			k++
		}
		if k == len(in) || slices.Equal(in[k+1:], out[k+1:]) || size(out) == 0 {
			c.view(n.Out(), x, at)
			return true, nil
		}
	}
	return c.addMoves(n, []block{{dst: n.Out(), src: x, dims: out, ds: rowMajor(out), ss: ss, sat: at}}, 0, false)
}

func buildExpand(c *compiler, n *ir.Node) (bool, error) {
	x := n.Inputs[0]
	in, out := c.shape(x), c.shape(n.Out())
	if size(in) == size(out) {
		return buildView(c, n)
	}
	return c.addMoves(n, []block{{dst: n.Out(), src: x, dims: out, ds: rowMajor(out), ss: broadcastStrides(in, out)}}, 0, false)
}

// buildPad makes Pad in mode constant; negative pads cut.
func buildPad(c *compiler, n *ir.Node) (bool, error) {
	x := n.Inputs[0]
	in, out := c.shape(x), c.shape(n.Out())
	pads, ok := c.fixedInts(n.Input(1))
	if !ok || n.Attrs.Str("mode", "constant") != "constant" {
		return false, nil
	}
	var fill float32
	if v := n.Input(2); v != nil {
		if fill, ok = c.fixedScalar(v); !ok {
			return false, nil
		}
	}
	axes := make([]int, len(in))
	for i := range axes {
		axes[i] = i
	}
	if v := n.Input(3); v != nil {
		if axes, ok = c.fixedInts(v); !ok {
			return false, nil
		}
	}
	dims, ds, ss := slices.Clone(in), rowMajor(out), rowMajor(in)
	dat, sat := 0, 0
	for i, a := range axes {
		a = wrapAxis(a, len(in))
		lo, hi := pads[i], pads[i+len(axes)]
		dat += max(lo, 0) * ds[a]
		sat += max(-lo, 0) * ss[a]
		dims[a] = in[a] + min(lo, 0) + min(hi, 0)
		if dims[a] < 0 {
			return false, nil
		}
	}
	return c.addMoves(n, []block{{dst: n.Out(), src: x, dims: dims, ds: ds, ss: ss, dat: dat, sat: sat}}, fill, size(dims) != size(out))
}

// wrapAxis counts a negative axis from the end.
func wrapAxis(a, rank int) int {
	if a < 0 {
		return a + rank
	}
	return a
}
