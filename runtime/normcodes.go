package runtime

import (
	"github.com/qvitc/qvitc/internal/kernel"
)

// normCodes is a LayerNorm whose result only linear layers read: it writes their
// codes. Row u of the codes' order is row from[u] of the norm, and what a
// row of the norm is made of may be gathered: pieces of the argument that a graph
// puts side by side first, as patch merging does.
type normCodes struct {
	base
	noBackward
	x, gamma, beta int
	y              int // codes
	n              int // width of the norm
	eps            float32
	grid           kernel.Grid
	from           []int32 // row of the norm that each unit of the codes is
	perRow         int     // units in a row of the codes

	piece  int     // elements of a piece; n: rows are not gathered
	pieces []int32 // piece of x at each place
}

// normRows is how many rows one item normalises.
const normRows = 16

// norm moves the quantiser behind a LayerNorm into it.
func (f *fuser) norm(s step) bool {
	q, ok := s.(*quantise)
	if !ok {
		return false
	}
	o := f.trace(q.x)
	l, ok := f.made[o.root].(*layerNorm)
	if !ok || l.meanOut || l.spread >= 0 || !f.whole(l.y) || f.root(l.y) != o.root || l.n == 0 || q.k%l.n != 0 || !f.onlyFor(o, q) {
		return false
	}
	from := f.units(o, q.x, l.n)
	if from == nil {
		return false
	}
	d := &normCodes{
		x: l.x, gamma: l.gamma, beta: l.beta, y: q.y, n: l.n, eps: l.eps, grid: f.c.kernelGrid(q.grid), from: from, perRow: q.k / l.n, piece: l.n,
	}
	if g := f.trace(l.x); len(g.chain) > 0 {
		if p := f.unit(g, l.x, l.n); p >= 8 {
			d.x, d.piece, d.pieces = g.root, p, f.units(g, l.x, p)
		}
	}
	d.in, d.out = []int{d.x}, []int{q.y}
	for _, id := range []int{l.gamma, l.beta} {
		if id >= 0 {
			d.in = append(d.in, id)
		}
	}
	d.name, d.op = l.name, "LayerNorm+Quantize"
	f.c.p.hand.ask(0, normRows*l.n, 0)
	f.remove(l)
	f.replace(q, d)
	return true
}

func (s *normCodes) forward(st *State) error {
	st.share(s)
	return nil
}

// units are the lane's units of the codes.
func (s *normCodes) units(l lane) (lo, hi int) {
	lo, hi = l.rows(len(s.from) / s.perRow)
	return lo * s.perRow, hi * s.perRow
}

func (s *normCodes) items(l lane) int {
	lo, hi := s.units(l)
	return (hi - lo + normRows - 1) / normRows
}

func (s *normCodes) rowwise(n int) (reads, writes []part) {
	rows := len(s.from) / s.perRow
	writes = []part{{s.y, rows}}
	if s.pieces != nil {
		return nil, writes
	}
	for u, r := range s.from {
		if laneOf(int(r), len(s.from), n) != laneOf(u/s.perRow, rows, n) {
			return nil, writes
		}
	}
	return []part{{s.x, len(s.from)}}, writes
}

func (s *normCodes) item(st *State, h *hand, l lane, i int) {
	lo, hi := s.units(l)
	lo += i * normRows
	hi = min(hi, lo+normRows)
	gamma, beta := opt(st.v, s.gamma), opt(st.v, s.beta)
	q, ld := st.u(s.y), st.p.values[s.y].ld
	at := func(u int) []uint8 { return q[u/s.perRow*ld+u%s.perRow*s.n:] }
	x := st.v[s.x]
	norm := func(u, m int, rows []float32) {
		kernel.LayerNormQuantize(&h.w, at(u), ld, nil, nil, rows, s.n, gamma, beta, m, s.n, s.eps, &s.grid)
	}
	switch {
	case s.perRow > 1:
		for u := lo; u < hi; u++ {
			norm(u, 1, s.rows(h, x, u, u+1))
		}
	case lo < hi:
		norm(lo, hi-lo, s.rows(h, x, lo, hi))
	}
}

// rows are those of the units lo .. hi-1, gathered where they do not follow each other.
func (s *normCodes) rows(h *hand, x []float32, lo, hi int) []float32 {
	size, from := s.n, s.from[lo:hi]
	gather := func(to, at, n int) { copy(h.f32[to*size:][:n*size], x[at*size:]) }
	if s.pieces != nil {
		size = s.piece
		k := s.n / size
		for i, r := range from {
			for j, p := range s.pieces[int(r)*k:][:k] {
				gather(i*k+j, int(p), 1)
			}
		}
		return h.f32[:len(from)*s.n]
	}
	for i := 0; i < len(from); {
		at, n := int(from[i]), 1
		for i+n < len(from) && int(from[i+n]) == at+n {
			n++
		}
		if n == len(from) {
			return x[at*size:]
		}
		gather(i, at, n)
		i += n
	}
	return h.f32[:len(from)*s.n]
}
