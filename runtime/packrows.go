package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// packRows makes what the product of linear layers wants of their codes first
// (kernel.LeftBytes): once for all panels of a weight, and for all layers that read the
// same codes.
type packRows struct {
	base
	noBackward
	x, y        int // codes, what is made of them
	rows, k     int
	bits, abits int
}

// packLefts puts these steps in front of the layers that want them.
func (c *compiler) packLefts() {
	type key struct{ x, bits, abits int }
	made := map[key]int{}
	for _, s := range slices.Clone(c.p.steps) {
		l, ok := s.(*packedLinear)
		if !ok {
			continue
		}
		w := l.weight
		row := kernel.LeftBytes(w.bits, w.abits, w.k)
		if row == 0 {
			continue
		}
		k := key{l.x, w.bits, w.abits}
		left, ok := made[k]
		if !ok {
			left = c.add(value{elem: ir.Uint8, shape: []int{l.m, row}, n: l.m * row, ld: row, kind: asCodes, param: -1})
			made[k] = left
			p := &packRows{x: l.x, y: left, rows: l.m, k: l.k, bits: w.bits, abits: w.abits}
			p.name, p.op, p.in, p.out = l.name, "Pack", []int{l.x}, []int{left}
			c.p.steps = slices.Insert(c.p.steps, slices.Index(c.p.steps, s), step(p))
		}
		l.left = left
		l.in = append(l.in, left)
	}
}

// packSpan is how many rows one item packs.
const packSpan = 2 * kernel.TileRows

func (s *packRows) forward(st *State) error {
	st.share(s)
	return nil
}

func (s *packRows) items(l lane) int {
	lo, hi := l.rows(s.rows)
	return (hi - lo + packSpan - 1) / packSpan
}

func (s *packRows) rowwise(int) (reads, writes []part) {
	return []part{{s.x, s.rows}}, []part{{s.y, s.rows}}
}

func (s *packRows) item(st *State, h *hand, l lane, i int) {
	x, ld := st.u(s.x), st.p.values[s.x].ld
	y, row := st.u(s.y), st.p.values[s.y].ld
	lo, hi := l.rows(s.rows)
	lo += i * packSpan
	hi = min(hi, lo+packSpan)
	h.w.PackLeft(s.bits, s.abits, s.k, y[lo*row:], hi-lo, x[lo*ld:], ld)
}
