package runtime

import (
	"math"
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// packedConv is a convolution, such as a patch embedding, whose input and weight are
// both quantised: FakeQuant in a student, QuantizeLinear and DequantizeLinear in a
// file. Without training it runs on integer codes: the image becomes codes, every
// receptive field a row of them, and the rest is a packed linear layer, with the
// same arithmetic.
type packedConv struct {
	base
	noBackward
	at            conv // sizes; its values are not used
	x, y          int
	image, rows   int // codes of the image and of the receptive fields
	grid          kernel.Grid
	pad           uint8 // code of 0
	weight        *kernel.Weights
	affine        kernel.Affine
	channelsFirst bool // y is as ONNX has it; otherwise a row for each position
	product       int  // rows before they are turned; -1: none
}

// codedConv is what is known about such a convolution before anything is folded.
type codedConv struct {
	x           *ir.Value // float input
	scale, zero float32   // zero counts from qn
	qn, qp      float32
	codes       []int8     // outputs × inputs
	source      *ir.Tensor // that they are made from
	scales      []float32
	quants      []*ir.Node // of the input, where nothing else needs it
}

// findCodedConvs notes the convolutions that run on codes, and keeps what they read
// from being computed otherwise.
func (c *compiler) findCodedConvs() {
	c.convs = map[*ir.Node]*codedConv{}
	c.convWeights = map[*ir.Node]bool{}
	for n := range c.g.Nodes() {
		if c.cfg.Train || c.cfg.floatProducts {
			if _, w := c.convQuants(n); w != nil {
				c.convWeights[w] = true
			}
			continue
		}
		if n.Is("Conv") && n.Attrs.Int("group", 1) == 1 && len(n.Inputs) >= 2 && isFloat(n.Inputs[0]) {
			if k := c.codedConv(n); k != nil {
				c.convs[n] = k
				c.convWeights[n.Inputs[1].Def] = true
			}
		}
	}
}

func (c *compiler) codedConv(n *ir.Node) *codedConv {
	k := &codedConv{}
	w, x := n.Inputs[1].Def, n.Inputs[0].Def
	if w == nil || x == nil || len(n.Inputs[1].Uses()) != 1 || c.g.IsOutput(n.Inputs[1]) || n.Input(2) != nil && c.fixed(n.Input(2)) == nil {
		return nil
	}
	for _, v := range c.cfg.Taps {
		if t := c.of[v]; t == n.Inputs[0] || t == n.Inputs[1] {
			return nil
		}
	}
	if !k.readWeight(c, w) || !k.readInput(c, x) {
		return nil
	}
	return k
}

// readWeight takes the codes of a weight, one scale an output or one in all.
func (k *codedConv) readWeight(c *compiler, n *ir.Node) bool {
	t, scale, zero := c.fixed(n.Input(0)), c.fixed(n.Input(1)), n.Input(2)
	if t == nil || scale == nil || scale.Elem != ir.Float32 || len(t.Shape) != 4 || t.Len() == 0 {
		return false
	}
	k.source = t
	outputs := t.Shape[0]
	switch {
	case n.Is("DequantizeLinear") && t.Elem == ir.Int8 && n.Attrs.Int("block_size", 0) == 0:
		if z := c.fixed(zero); zero != nil && (z == nil || z.Len() != 1 || z.Float(0) != 0) {
			return false
		}
		k.codes = ir.Data[int8](t)
		if scale.Len() > 1 && wrapAxis(n.Attrs.Int("axis", 1), 4) != 0 {
			return false
		}
	case n.IsOwn("FakeQuant") && t.Elem == ir.Float32 && zero == nil && n.Attrs.Int("signed", 0) != 0 && n.Attrs.Int("bits", 8) <= 8:
		if scale.Len() > 1 && wrapAxis(n.Attrs.Int("axis", 0), 4) != 0 {
			return false
		}
		qn, qp := quantRange(n.Attrs.Int("bits", 8), true)
		k.codes = make([]int8, t.Len())
		per := t.Len() / outputs
		for j := range outputs {
			a := scale.F32()[j%scale.Len()]
			if !(a > 0) || math.IsInf(float64(a), 1) {
				return false
			}
			kernel.QuantizeS8(k.codes[j*per:][:per], t.F32()[j*per:], a, 0, qn, qp)
		}
	default:
		return false
	}
	if scale.Len() != 1 && scale.Len() != outputs {
		return false
	}
	for j := range outputs {
		k.scales = append(k.scales, scale.F32()[j%scale.Len()])
	}
	return true
}

// readInput takes the quantiser of the input: one scale, at most 8 bits.
func (k *codedConv) readInput(c *compiler, n *ir.Node) bool {
	q := n
	switch {
	case n.IsOwn("FakeQuant") && n.Attrs.Int("bits", 8) <= 8:
		k.qn, k.qp = quantRange(n.Attrs.Int("bits", 8), n.Attrs.Int("signed", 0) != 0)
	case n.Is("DequantizeLinear") && n.Inputs[0].Def != nil && n.Inputs[0].Def.Is("QuantizeLinear") && c.pairs(n.Inputs[0].Def, n):
		q = n.Inputs[0].Def
		var ok bool
		if k.qn, k.qp, ok = codeRange(q.Out().Type.Elem); !ok || q.Out().Type.Elem.Bits() > 8 {
			return false
		}
	default:
		return false
	}
	scale := c.fixed(q.Input(1))
	if scale == nil || scale.Elem != ir.Float32 || scale.Len() != 1 || !isFloat(q.Inputs[0]) {
		return false
	}
	if k.scale = scale.F32()[0]; !(k.scale > 0) || math.IsInf(float64(k.scale), 1) {
		return false
	}
	if z := q.Input(2); z != nil {
		t := c.fixed(z)
		if t == nil || t.Len() != 1 {
			return false
		}
		k.zero = float32(math.RoundToEven(t.Float(0)))
	}
	k.zero -= k.qn
	if k.zero < 0 || k.zero > k.qp-k.qn {
		return false
	}
	k.x = q.Inputs[0]
	if len(n.Out().Uses()) == 1 && !c.g.IsOutput(n.Out()) {
		k.quants = append(k.quants, n)
	}
	return true
}

// absorbConvs keeps the quantisers that only coded convolutions read from becoming
// steps.
func (c *compiler) absorbConvs() {
	for n, k := range c.convs {
		if len(c.shape(n.Inputs[0])) != 4 || size(c.shape(n.Out())) == 0 {
			delete(c.convs, n)
			continue
		}
		c.absorbed[n.Inputs[1].Def] = true
		for _, q := range k.quants {
			c.absorbed[q] = true
		}
	}
}

// addPackedConv makes the step of a convolution whose sizes are in s.
func (c *compiler) addPackedConv(n *ir.Node, s *conv, k *codedConv) {
	l, per := s.oh*s.ow, s.ci*s.kh*s.kw
	p := &packedConv{
		at: *s, x: c.value(k.x), y: c.value(n.Out()), channelsFirst: true,
		grid: kernel.Grid{Alpha: k.scale, Zp: k.zero, Qp: k.qp - k.qn}, pad: uint8(k.zero),
		weight: c.cfg.weights.conv(k.source, func() *kernel.Weights { return kernel.NewWeights(8, 8, s.co, per, k.codes) }),
	}
	p.affine.Factor, p.affine.Offset = make([]float32, s.co), make([]int32, s.co)
	for j, sum := range p.weight.RowSums() {
		p.affine.Factor[j], p.affine.Offset[j] = k.scales[j]*k.scale, int32(k.zero)*sum
	}
	if b := c.fixed(n.Input(2)); b != nil {
		p.affine.Bias = b.F32()
	}
	p.image, p.rows = c.codeRows(1, s.batch*s.ci*s.h*s.wd), c.codeRows(s.batch*l, per)
	p.product = c.temp(&p.base, s.batch*l*s.co, inForward)
	p.tmp = append(p.tmp, p.image, p.rows)
	p.in, p.out = []int{p.x}, []int{p.y}
	c.p.hand.ask(kernel.TileRows*kernel.PanelWidth, 0, 0)
	c.emit(n, p)
}

func (s *packedConv) forward(st *State) error {
	for _, t := range s.tasks() {
		st.share(t)
	}
	return nil
}

func (s *packedConv) tasks() []task {
	list := []task{(*convImage)(s), (*convRows)(s), (*convPanels)(s)}
	if s.channelsFirst {
		list = append(list, (*convTurn)(s))
	}
	return list
}

// convImage makes the codes of one channel of one image.
type convImage packedConv

func (s *convImage) items(l lane) int {
	lo, hi := l.rows(s.at.batch * s.at.ci)
	return hi - lo
}

func (s *convImage) item(st *State, _ *hand, l lane, i int) {
	lo, _ := l.rows(s.at.batch * s.at.ci)
	n := s.at.h * s.at.wd
	at := (lo + i) * n
	kernel.QuantizeU8(st.u(s.image)[at:][:n], st.v[s.x][at:], s.grid.Alpha, s.grid.Zp, s.grid.Qn, s.grid.Qp, 0)
}

// convTurn brings the product of one image into the order of ONNX.
type convTurn packedConv

func (s *convTurn) items(l lane) int {
	lo, hi := l.rows(s.at.batch)
	return hi - lo
}

func (s *convTurn) item(st *State, _ *hand, l lane, b int) {
	lo, _ := l.rows(s.at.batch)
	n := s.at.oh * s.at.ow
	at := (lo + b) * n * s.at.co
	kernel.Transpose(st.v[s.y][at:][:n*s.at.co], st.v[s.product][at:], n, s.at.co)
}

// positions is the number of receptive fields.
func (s *packedConv) positions() int { return s.at.batch * s.at.oh * s.at.ow }

// convPanels multiplies the receptive fields by one panel of the weight.
type convPanels packedConv

func (s *convPanels) items(lane) int { return s.weight.Panels() }

func (s *convPanels) rowwise(int) (reads, writes []part) {
	n := (*packedConv)(s).positions()
	reads = []part{{s.rows, n}}
	if !s.channelsFirst {
		return reads, []part{{s.y, n}}
	}
	return reads, []part{{s.product, n}}
}

func (s *convPanels) item(st *State, h *hand, l lane, panel int) {
	to := s.y
	if s.channelsFirst {
		to = s.product
	}
	col := panel * kernel.PanelWidth
	cols := min(kernel.PanelWidth, s.at.co-col)
	q, ld := st.u(s.rows), st.p.values[s.rows].ld
	h.w.Panel(s.weight, panel)
	lo, hi := l.rows((*packedConv)(s).positions())
	for r := lo; r < hi; r += kernel.TileRows {
		m := min(kernel.TileRows, hi-r)
		h.w.Tile(m, q[r*ld:], ld, h.tile, kernel.PanelWidth)
		kernel.DequantTile(st.v[to][r*s.at.co+col:], s.at.co, h.tile, kernel.PanelWidth, m, cols, &s.affine, col)
	}
}

// convRowsOut drops the Transpose that turns the result of a convolution into rows,
// one for each position, and lets the convolution write these.
func (f *fuser) convRowsOut(s step) bool {
	p, ok := s.(*packedConv)
	if !ok || !p.channelsFirst || f.pinned[f.root(p.y)] || !f.whole(p.y) || len(f.readers[f.root(p.y)]) != 1 {
		return false
	}
	m, ok := f.readers[f.root(p.y)][0].(*moves)
	n := f.p.values[p.y].n
	if !ok || m.fills || len(m.parts) != 1 || n > mapLimit || !f.whole(m.parts[0].src) || !f.whole(m.parts[0].dst) || f.p.values[m.parts[0].dst].n != n {
		return false
	}
	// The move runs once on the numbers of the elements.
	from, to := make([]float32, n), make([]float32, n)
	for i := range from {
		from[i] = float32(i)
	}
	m.parts[0].there.run(to, from, false)
	l := p.at.oh * p.at.ow
	for i, at := range to {
		b, pos, ch := i/(l*p.at.co), i/p.at.co%l, i%p.at.co
		if int(at) != (b*p.at.co+ch)*l+pos {
			return false
		}
	}
	p.channelsFirst, p.y = false, m.parts[0].dst
	p.tmp = slices.DeleteFunc(p.tmp, func(id int) bool { return id == p.product })
	p.out = []int{p.y}
	f.remove(m)
	return true
}
