package runtime

import (
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// packedLinear is qlinear on codes: panels of 64 outputs are unpacked one at a
// time, and what follows the product in the graph is done on its sums while they
// are in the first-level cache. One of these endings:
//
//	y = sums to float32 (+ bias)
//	y = residual + that, row r of the product going to row to[r]
//	codes of it, of GELU of it or of other elementwise functions of it, for the
//	linear layer that reads them
//	codes of its heads, normalised where IRM says so, for attention
type packedLinear struct {
	base
	noBackward
	x       int // codes
	left    int // what the product wants made of them, see packrows.go; -1: nothing
	m, n, k int
	tile    int // rows taken at a time
	weight  *packedWeight
	zero    int32 // zero point of x
	affine  kernel.Affine
	y       int // float32; -1 where codes are made

	residual int     // -1: none
	to       []int32 // row of y that each row of the product becomes; nil: the same

	codes  int               // -1: none
	gelu   *kernel.GeluTable // nil: codes on the grid, after the ops
	grid   kernel.Grid
	ops    []elementOp
	result int // buffer that holds what they give

	heads    []*headCodes   // by head of a row: the operand of attention it belongs to; nil: none
	headTo   []int32        // row of the operand that each row of each head becomes
	headGrid []*kernel.Grid // by head of a row: quantiser of all its rows; nil: they differ
}

// addPackedLinear makes the step for the operands that buildQLinear has checked.
func (c *compiler) addPackedLinear(n *ir.Node, s *qlinear, w *ir.Tensor, wbits, abits int) error {
	p, err := c.cfg.weights.weight(w, wbits, abits, s.n, s.k)
	if err != nil {
		return n.Errorf("%v", err)
	}
	x := c.codesOf(n, s.x, s.m, s.k, grid{s.xs, s.xz, s.qp})
	l := &packedLinear{
		x: x, m: s.m, n: s.n, k: s.k, weight: p, zero: int32(s.xz), y: s.y, left: -1, residual: -1, codes: -1,
		affine: kernel.Affine{Factor: s.factor, Bias: s.bias},
	}
	c.p.linears = append(c.p.linears, l)
	l.in, l.out = []int{x}, []int{s.y}
	l.tile = kernel.TileRows
	if s.k <= narrowInputs {
		l.tile *= 2
	}
	c.p.hand.ask(l.tile*kernel.PanelWidth, 0, 0)
	c.emit(n, l)
	return nil
}

// narrowInputs is up to where a tile has twice the rows: the panel and the codes leave
// more of the first-level cache.
const narrowInputs = 256

// pack makes the weight ready and, from it, what the zero point of x adds up to.
func (s *packedLinear) pack() {
	s.weight.pack()
	s.affine.Offset = make([]int32, s.n)
	for j, t := range s.weight.w.RowSums() {
		s.affine.Offset[j] = s.zero * t
	}
}

// laneRows is the fewest rows worth a lane of their own: everyone who works on a
// panel has to unpack it, which takes as long as the product of about four rows.
const laneRows = 16

// byRows reports whether n lanes share the rows of the product; otherwise they share its
// panels.
func (s *packedLinear) byRows(n int) bool { return s.m >= n*laneRows }

func (s *packedLinear) forward(st *State) error {
	st.share(s)
	return nil
}

func (s *packedLinear) items(l lane) int {
	switch {
	case s.m == 0 || s.n == 0:
		return 0
	case s.byRows(l.n):
		return s.weight.panels()
	}
	lo, hi := l.rows(s.weight.panels())
	return hi - lo
}

func (s *packedLinear) rowwise(n int) (reads, writes []part) {
	if !s.byRows(n) {
		return nil, nil
	}
	reads = []part{{s.x, s.m}}
	if s.left >= 0 {
		reads = append(reads, part{s.left, s.m})
	}
	if s.heads != nil {
		return reads, s.headParts(n)
	}
	if s.codes >= 0 {
		return reads, []part{{s.codes, s.m}}
	}
	for r, at := range s.to {
		if laneOf(r, s.m, n) != laneOf(int(at), s.m, n) {
			return reads, nil
		}
	}
	if s.residual >= 0 {
		reads = append(reads, part{s.residual, s.m})
	}
	if s.y >= 0 {
		writes = []part{{s.y, s.m}}
	}
	return reads, writes
}

// item does one panel of the lane's rows, or one of its panels of all rows.
func (s *packedLinear) item(st *State, h *hand, l lane, panel int) {
	lo, hi := 0, s.m
	if s.byRows(l.n) {
		lo, hi = l.rows(s.m)
	} else {
		first, _ := l.rows(s.weight.panels())
		panel += first
	}
	x, ld := st.u(s.x), st.p.values[s.x].ld
	var left []uint8
	row := 0
	if s.left >= 0 {
		left, row = st.u(s.left), st.p.values[s.left].ld
	}
	h.w.Panel(s.weight.w, panel)
	if s.heads != nil {
		s.beginHeads(st, h, panel*kernel.PanelWidth, min(kernel.PanelWidth, s.n-panel*kernel.PanelWidth))
	}
	for r := lo; r < hi; r += s.tile {
		m := min(s.tile, hi-r)
		if left != nil {
			h.w.TileLeft(m, left[r*row:], x[r*ld:], ld, h.tile, kernel.PanelWidth)
		} else {
			h.w.Tile(m, x[r*ld:], ld, h.tile, kernel.PanelWidth)
		}
		s.finish(st, h, r, m, panel*kernel.PanelWidth)
	}
}

// finish ends the sums of rows r .. r+m-1 and of the columns from col on.
func (s *packedLinear) finish(st *State, h *hand, r, m, col int) {
	cols := min(kernel.PanelWidth, s.n-col)
	switch {
	case s.heads != nil:
		s.finishHeads(h, r, m, col, cols)
	case s.codes >= 0 && s.gelu == nil:
		s.finishElements(st, h, r, m, col, cols)
	case s.codes >= 0:
		q, ld := st.u(s.codes), st.p.values[s.codes].ld
		kernel.DequantGeluQuantizeTile(&h.w, q[r*ld+col:], ld, h.tile, kernel.PanelWidth, m, cols, &s.affine, col, s.gelu)
	case s.residual < 0:
		kernel.DequantTile(st.v[s.y][r*s.n+col:], s.n, h.tile, kernel.PanelWidth, m, cols, &s.affine, col)
	default:
		y, res := st.v[s.y][col:], st.v[s.residual][col:]
		if s.to != nil {
			kernel.DequantAddRowsTile(y, s.n, res, s.n, s.m, s.to[r:], h.tile, kernel.PanelWidth, m, cols, &s.affine, col)
			return
		}
		at := r * s.n
		kernel.DequantAddTile(y[at:], s.n, res[at:], s.n, h.tile, kernel.PanelWidth, m, cols, &s.affine, col)
	}
}
