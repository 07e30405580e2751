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
	m, n, k int
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
		x: x, m: s.m, n: s.n, k: s.k, weight: p, zero: int32(s.xz), y: s.y, residual: -1, codes: -1,
		affine: kernel.Affine{Factor: s.factor, Bias: s.bias},
	}
	c.p.linears = append(c.p.linears, l)
	l.in, l.out = []int{x}, []int{s.y}
	c.p.hand.ask(kernel.TileRows*kernel.PanelWidth, 0, 0)
	c.emit(n, l)
	return nil
}

// pack makes the weight ready and, from it, what the zero point of x adds up to.
func (s *packedLinear) pack() {
	s.weight.pack()
	s.affine.Offset = make([]int32, s.n)
	for j, t := range s.weight.w.RowSums() {
		s.affine.Offset[j] = s.zero * t
	}
}

// rowSplit is the fewest rows worth an item of their own, and itemsPerHand how many
// items a region should have for each of a team, so that it is shared evenly.
const (
	rowSplit     = 2 * kernel.TileRows
	itemsPerHand = 4
)

// chunks cuts the rows of a product with this many panels for a team: the panels
// are shared out first, since each has to be unpacked by everyone who works on it.
func (s *State) chunks(rows, panels int) (n, span int) {
	if s.team == nil || panels == 0 {
		return 1, rows
	}
	want := itemsPerHand * len(s.hands)
	n = max(1, min((want+panels-1)/panels, rows/rowSplit))
	span = (rows + n - 1) / n
	span = (span + kernel.TileRows - 1) / kernel.TileRows * kernel.TileRows
	return (rows + span - 1) / span, span
}

func (s *packedLinear) forward(st *State) error {
	if s.m == 0 || s.n == 0 {
		return nil
	}
	parts, _ := st.chunks(s.m, s.weight.panels())
	return st.share(s.weight.panels()*parts, s)
}

func (s *packedLinear) item(st *State, h *hand, i int) {
	parts, span := st.chunks(s.m, s.weight.panels())
	panel, lo := i/parts, i%parts*span
	hi := min(s.m, lo+span)
	x, ld := st.u(s.x), st.p.values[s.x].ld
	h.w.Panel(s.weight.w, panel)
	for r := lo; r < hi; r += kernel.TileRows {
		m := min(kernel.TileRows, hi-r)
		h.w.Tile(m, x[r*ld:], ld, h.tile, kernel.PanelWidth)
		s.finish(st, h, r, m, panel*kernel.PanelWidth)
	}
}

// finish ends the sums of rows r .. r+m-1 and of the columns from col on.
func (s *packedLinear) finish(st *State, h *hand, r, m, col int) {
	cols := min(kernel.PanelWidth, s.n-col)
	switch {
	case s.heads != nil:
		s.finishHeads(st, h, r, m, col, cols)
	case s.codes >= 0 && s.gelu == nil:
		s.finishElements(st, h, r, m, col, cols)
	case s.codes >= 0:
		q, ld := st.u(s.codes), st.p.values[s.codes].ld
		kernel.DequantGeluQuantizeTile(&h.w, q[r*ld+col:], ld, h.tile, kernel.PanelWidth, m, cols, &s.affine, col, s.gelu)
	case s.residual < 0:
		kernel.DequantTile(st.v[s.y][r*s.n+col:], s.n, h.tile, kernel.PanelWidth, m, cols, &s.affine, col)
	default:
		y, res := st.v[s.y], st.v[s.residual]
		for i := 0; i < m; {
			at, run := s.run(r+i, r+m)
			at = at*s.n + col
			kernel.DequantAddTile(y[at:], s.n, res[at:], s.n, h.tile[i*kernel.PanelWidth:], kernel.PanelWidth, run, cols, &s.affine, col)
			i += run
		}
	}
}

// run is the row that row r goes to and how many after it, up to end, follow it there.
func (s *packedLinear) run(r, end int) (at, n int) {
	if s.to == nil {
		return r, end - r
	}
	at = int(s.to[r])
	for n = 1; r+n < end && int(s.to[r+n]) == at+n; n++ {
	}
	return at, n
}
