package runtime

import (
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// hand is the scratch memory of one thread.
type hand struct {
	w    kernel.Workspace
	tile []int32
	f32  []float32
	u8   []uint8

	packed []float32
	heads  []*packedHead // in packed, by attention step

	// Arguments of kernels, kept here so that none is allocated for a call.
	affine kernel.Affine
	logits kernel.Logits
	head   kernel.Head
	end    kernel.HeadEnd
	ended  *attend          // whose end it is,
	scale  []float32        // for this scale
	ends   []kernel.HeadEnd // by head of a panel
}

// handSize is what the steps of a program ask of a hand.
type handSize struct{ tile, f32, u8, packed int }

func (z *handSize) ask(tile, f32, u8 int) {
	z.tile, z.f32, z.u8 = max(z.tile, tile), max(z.f32, f32), max(z.u8, u8)
}

func (z handSize) make() hand {
	return hand{tile: make([]int32, z.tile), f32: make([]float32, z.f32), u8: make([]uint8, z.u8), packed: make([]float32, z.packed)}
}

func (z handSize) bytes() int64 { return 4*int64(z.tile+z.packed) + 4*int64(z.f32) + int64(z.u8) }

// codedKey names the codes of a value on a grid.
type codedKey struct {
	x    int
	grid grid
}

// grid is the quantiser of a packed operator's activation: unsigned codes
// clip(round(x/alpha)+zp, 0, qp).
type grid struct{ alpha, zp, qp float32 }

// kernelGrid is the grid as the kernels take it.
func (c *compiler) kernelGrid(g grid) kernel.Grid {
	k, ok := c.grids[g]
	if !ok {
		k = kernel.Grid{Alpha: g.alpha, Zp: g.zp, Qp: g.qp}.WithInverse()
		c.grids[g] = k
	}
	return k
}

// codeRows makes a value of rows × k codes. Rows begin at multiples of four bytes,
// which the kernels ask for.
func (c *compiler) codeRows(rows, k int) int {
	ld := (k + 3) &^ 3
	return c.add(value{elem: ir.Uint8, shape: []int{rows, k}, n: rows * ld, ld: ld, kind: asCodes, param: -1})
}

// codesOf is the value that holds the codes of x on a grid, as rows of k. Readers
// of the same codes share them.
func (c *compiler) codesOf(n *ir.Node, x, rows, k int, g grid) int {
	key := codedKey{x, g}
	if id, ok := c.coded[key]; ok && c.p.values[id].shape[1] == k {
		return id
	}
	s := &quantise{x: x, y: c.codeRows(rows, k), rows: rows, k: k, grid: g}
	s.in, s.out = []int{x}, []int{s.y}
	c.emit(n, s)
	s.op = "Quantize"
	c.coded[key] = s.y
	return s.y
}

// quantise turns floats into codes: what is left of a quantiser that no producer
// has taken over.
type quantise struct {
	base
	noBackward
	x, y    int
	rows, k int
	grid    grid
}

// quantiseRun is how many elements one item quantises.
const quantiseRun = 1 << 13

func (s *quantise) span() int { return max(1, quantiseRun/max(1, s.k)) }

func (s *quantise) forward(st *State) error {
	st.share(s)
	return nil
}

func (s *quantise) items(l lane) int {
	lo, hi := l.rows(s.rows)
	return (hi - lo + s.span() - 1) / s.span()
}

func (s *quantise) rowwise(int) (reads, writes []part) {
	return []part{{s.x, s.rows}}, []part{{s.y, s.rows}}
}

func (s *quantise) item(st *State, _ *hand, l lane, i int) {
	x, q, ld := st.v[s.x], st.u(s.y), st.p.values[s.y].ld
	lo, hi := l.rows(s.rows)
	lo += i * s.span()
	hi = min(hi, lo+s.span())
	if ld == s.k {
		kernel.QuantizeU8(q[lo*ld:hi*ld], x[lo*s.k:], s.grid.alpha, s.grid.zp, 0, s.grid.qp, 0)
		return
	}
	for r := lo; r < hi; r++ {
		kernel.QuantizeU8(q[r*ld:][:s.k], x[r*s.k:], s.grid.alpha, s.grid.zp, 0, s.grid.qp, 0)
	}
}
