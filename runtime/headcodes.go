package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
)

// headCodes makes the codes of one operand of attention, matrix after matrix (by
// image, window, head), each rows × width. Row u of them is unit from[u] of the
// argument: heads are read where the projection left them. Where norm is set the
// rows are normalised first, as IRM does, and their mean and spread are kept for
// the logits where they are wanted.
type headCodes struct {
	base
	noBackward
	x                 int
	codes             int
	from              []int32 // nil: in order
	mats, rows, width int
	grids             []kernel.Grid // by matrix, repeating

	norm         bool
	gamma, beta  int
	eps          float32
	mean, spread int
}

// headRows is how many rows are gathered at a time.
const headRows = 16

func (s *headCodes) forward(st *State) error {
	st.share(s)
	return nil
}

func (s *headCodes) items(l lane) int {
	lo, hi := l.rows(s.mats)
	return hi - lo
}

func (s *headCodes) item(st *State, h *hand, l lane, i int) {
	lo, _ := l.rows(s.mats)
	i += lo
	x := st.v[s.x]
	w := s.width
	for r := 0; r < s.rows; r += headRows {
		m := min(headRows, s.rows-r)
		u := i*s.rows + r
		rows := x[min(len(x), u*w):]
		if s.from != nil {
			rows = h.f32[:m*w]
			for j, at := range s.from[u : u+m] {
				copy(rows[j*w:][:w], x[int(at)*w:])
			}
		}
		s.write(st, h, rows, h.f32[headRows*w:], u, m)
	}
}

// write makes the codes u .. u+m-1, which belong to one matrix, of m rows of floats
// that follow each other. tmp has room for two numbers a row.
func (s *headCodes) write(st *State, h *hand, rows, tmp []float32, u, m int) {
	q, ld := st.u(s.codes), st.p.values[s.codes].ld
	g := &s.grids[u/s.rows%len(s.grids)]
	w := s.width
	if s.norm {
		gamma, beta := opt(st.v, s.gamma), opt(st.v, s.beta)
		mean, rstd := tmp[:m], tmp[m:2*m]
		kernel.LayerNormQuantize(&h.w, q[u*ld:], ld, mean, rstd, rows, w, gamma, beta, m, w, s.eps, g)
		if s.mean >= 0 {
			copy(st.v[s.mean][u:], mean)
		}
		if s.spread >= 0 {
			for j, k := range rstd {
				st.v[s.spread][u+j] = 1 / k
			}
		}
		return
	}
	if ld == w {
		kernel.QuantizeU8(q[u*ld:][:m*w], rows, g.Alpha, g.Zp, g.Qn, g.Qp, 0)
		return
	}
	for j := range m {
		kernel.QuantizeU8(q[(u+j)*ld:][:w], rows[j*w:], g.Alpha, g.Zp, g.Qn, g.Qp, 0)
	}
}

// gridOf is the quantiser of row u of the codes.
func (s *headCodes) gridOf(u int32) *kernel.Grid { return &s.grids[int(u)/s.rows%len(s.grids)] }

// oneGrid is the quantiser of all the rows given; nil where they have several.
func (s *headCodes) oneGrid(rows []int32) *kernel.Grid {
	if len(rows) == 0 {
		return nil
	}
	g := s.gridOf(rows[0])
	for _, u := range rows {
		if k := s.gridOf(u); k.Alpha != g.Alpha || k.Zp != g.Zp || k.Qp != g.Qp {
			return nil
		}
	}
	return g
}

// headsOf lets the projection in front of attention write the codes of its heads:
// the columns of a panel are whole heads, and their sums are still in the cache.
func (f *fuser) headsOf(s step) bool {
	l, ok := s.(*packedLinear)
	if !ok || l.codes >= 0 || l.residual >= 0 || f.pinned[f.root(l.y)] || !f.whole(l.y) {
		return false
	}
	var heads []*headCodes
	for _, r := range f.readers[f.root(l.y)] {
		h, ok := r.(*headCodes)
		if !ok || h.x != f.root(l.y) && !f.whole(h.x) {
			return false
		}
		heads = append(heads, h)
	}
	if len(heads) == 0 {
		return false
	}
	w := heads[0].width
	if kernel.PanelWidth%w != 0 || l.n%w != 0 {
		return false
	}
	perRow := l.n / w
	owner, to := make([]*headCodes, perRow), make([]int32, l.m*perRow)
	claimed := 0
	for i := range to {
		to[i] = -1
	}
	for _, h := range heads {
		if h.width != w {
			return false
		}
		for u := range h.mats * h.rows {
			from := u
			if h.from != nil {
				from = int(h.from[u])
			}
			if to[from] >= 0 || owner[from%perRow] != nil && owner[from%perRow] != h {
				return false
			}
			owner[from%perRow], to[from] = h, int32(u)
			claimed++
		}
	}
	if claimed != len(to) {
		return false
	}
	l.heads, l.headTo, l.y = owner, make([]int32, len(to)), -1
	for i, u := range to {
		l.headTo[i%perRow*l.m+i/perRow] = u
	}
	for unit, h := range owner {
		l.headGrid = append(l.headGrid, h.oneGrid(l.headTo[unit*l.m:][:l.m]))
	}
	l.out = nil
	for _, h := range heads {
		l.in, l.out = append(l.in, h.in[1:]...), append(l.out, h.out...)
		f.remove(h)
	}
	l.op += "+Heads"
	if l.k <= narrowInputs {
		l.tile = 4 * kernel.TileRows
	} else {
		l.tile = 2 * kernel.TileRows
	}
	f.c.p.hand.ask(l.tile*kernel.PanelWidth, 0, 0)
	return true
}

// beginHeads prepares finishHeads for the columns from col on.
func (s *packedLinear) beginHeads(st *State, h *hand, col, cols int) {
	w := s.n / len(s.heads)
	for len(h.ends) < max(1, cols/w) {
		h.ends = append(h.ends, kernel.HeadEnd{})
	}
	for c := 0; c < cols; c += w {
		unit := (col + c) / w
		o := s.heads[unit]
		d := &h.head
		*d = kernel.Head{Dst: st.u(o.codes), LD: st.p.values[o.codes].ld, Rows: o.mats * o.rows, Norm: o.norm, Eps: o.eps}
		if o.norm {
			d.Gamma, d.Beta, d.Mean, d.Spread = opt(st.v, o.gamma), opt(st.v, o.beta), opt(st.v, o.mean), opt(st.v, o.spread)
		}
		g := s.headGrid[unit]
		if g == nil {
			g = o.gridOf(s.headTo[unit*s.m])
		}
		h.ends[c/w].Set(d, w, &s.affine, col+c, g)
	}
}

// finishHeads ends the sums of rows r .. r+m-1 and of the columns from col on, head
// by head.
func (s *packedLinear) finishHeads(h *hand, r, m, col, cols int) {
	w := s.n / len(s.heads)
	for c := 0; c < cols; c += w {
		unit := (col + c) / w
		to, e := s.headTo[unit*s.m+r:][:m], &h.ends[c/w]
		if s.headGrid[unit] != nil {
			h.w.HeadTile(e, to, h.tile[c:], kernel.PanelWidth, m)
			continue
		}
		for i := 0; i < m; {
			// rows of one quantiser go together
			o, run := s.heads[unit], 1
			g := o.gridOf(to[i])
			for i+run < m && o.gridOf(to[i+run]) == g {
				run++
			}
			e.Set(&e.Head, w, &s.affine, col+c, g)
			h.w.HeadTile(e, to[i:], h.tile[i*kernel.PanelWidth+c:], kernel.PanelWidth, run)
			i += run
		}
	}
}

// headParts are the operands whose matrices are made by the lane that has their rows of the
// product, as those of windows often are.
func (s *packedLinear) headParts(n int) (writes []part) {
	perRow := len(s.heads)
	var done []*headCodes
	for unit, o := range s.heads {
		if slices.Contains(done, o) {
			continue
		}
		done = append(done, o)
		local := true
		for r := 0; r < s.m && local; r++ {
			for k := unit; k < perRow && local; k++ {
				local = s.heads[k] != o || laneOf(int(s.headTo[k*s.m+r])/o.rows, o.mats, n) == laneOf(r, s.m, n)
			}
		}
		if !local {
			continue
		}
		for _, id := range o.out {
			writes = append(writes, part{id, o.mats})
		}
	}
	return writes
}
