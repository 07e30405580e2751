package runtime

import (
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// convCodes is the forward of a convolution in training whose input and weight are
// quantised: on codes, with the roundings of packedConv, so that the student answers
// with the bits of its file. The gradients are those of the floats.
type convCodes struct {
	x, w    *fakeQuant
	operand int
}

// convQuants gives the quantisers of both operands of a convolution that can train on
// codes.
func (c *compiler) convQuants(n *ir.Node) (x, w *ir.Node) {
	if !n.Is("Conv") || n.Attrs.Int("group", 1) != 1 || len(n.Inputs) < 2 || c.cfg.floatProducts {
		return nil, nil
	}
	x, w = n.Inputs[0].Def, n.Inputs[1].Def
	if x == nil || w == nil || !x.IsOwn("FakeQuant") || !w.IsOwn("FakeQuant") || x.Attrs.Int("bits", 8) > 8 || w.Attrs.Int("bits", 8) > 8 {
		return nil, nil
	}
	if x.Attrs.Has("axis") || w.Attrs.Int("axis", 0) != 0 || w.Input(2) != nil || w.Attrs.Int("signed", 0) == 0 {
		return nil, nil
	}
	return x, w
}

// trainOnCodes plans the forward on codes where it can be.
func (c *compiler) trainOnCodes(n *ir.Node, s *conv) {
	qx, qw := c.convQuants(n)
	x, w := c.quants[qx], c.quants[qw]
	if x == nil || w == nil {
		return
	}
	l, k := s.oh*s.ow, s.ci*s.kh*s.kw
	ld := (k + 3) &^ 3
	s.codes = &convCodes{x: x, w: w, operand: c.operand(operandShape{8, 8, s.co, k})}
	c.p.u8, c.p.i8 = max(c.p.u8, l*ld), max(c.p.i8, s.co*k)
	c.p.i32 = max(c.p.i32, s.co+kernel.TileRows*kernel.PanelWidth)
	c.p.tmp = max(c.p.tmp, s.co+l*s.co)
	for _, q := range []*fakeQuant{x, w} {
		s.in = append(s.in, q.scale)
	}
	if x.zr >= 0 {
		s.in = append(s.in, x.zr)
	}
}

// pack packs the weight and gives what every image needs to end its sums.
func (q *convCodes) pack(st *State, s *conv, k int) kernel.Affine {
	f := kernel.Affine{Factor: st.tmp[:s.co], Offset: st.i32[:s.co]}
	w, scale, codes := st.v[s.w], st.v[q.w.scale], st.i8[:s.co*k]
	zero, xs := int32(q.x.unsignedZero(st, 0)), st.v[q.x.scale][0]
	for j := range s.co {
		row, a := codes[j*k:][:k], scale[j%len(scale)]
		kernel.QuantizeS8(row, w[j*k:], a, 0, q.w.qn, q.w.qp)
		f.Factor[j] = a * xs
	}
	o := st.operands[q.operand]
	kernel.PackRows(o, 0, s.co, codes, k, 0)
	tile := st.i32[s.co:][:kernel.PanelWidth]
	for j := range o.Panels() {
		st.w.Select(o, j)
		st.w.PanelSums(tile)
		for c, t := range tile[:min(kernel.PanelWidth, s.co-j*kernel.PanelWidth)] {
			f.Offset[j*kernel.PanelWidth+c] = zero * t
		}
	}
	if s.bias >= 0 {
		f.Bias = st.v[s.bias]
	}
	return f
}

// image multiplies the patches of one image, l rows of k floats on the grid of x, and
// writes the result channel by channel.
func (q *convCodes) image(st *State, s *conv, f *kernel.Affine, y, patches []float32, l, k int) {
	ld := (k + 3) &^ 3
	codes, rows := st.u8[:l*ld], st.tmp[s.co:][:l*s.co]
	a, zero := st.v[q.x.scale][0], q.x.unsignedZero(st, 0)
	for i := range l {
		kernel.QuantizeU8(codes[i*ld:][:k], patches[i*k:], a, zero, 0, q.x.qp-q.x.qn, 0)
	}
	tile := st.i32[s.co:][:kernel.TileRows*kernel.PanelWidth]
	o := st.operands[q.operand]
	for j := range o.Panels() {
		at := j * kernel.PanelWidth
		cols := min(kernel.PanelWidth, s.co-at)
		st.w.Select(o, j)
		for r := 0; r < l; r += kernel.TileRows {
			m := min(kernel.TileRows, l-r)
			st.w.Tile(m, codes[r*ld:], ld, tile, kernel.PanelWidth)
			kernel.DequantTile(rows[r*s.co+at:], s.co, tile, kernel.PanelWidth, m, cols, f, at)
		}
	}
	kernel.Transpose(y, rows, l, s.co)
}
