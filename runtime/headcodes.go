package runtime

import (
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

func (s *headCodes) forward(st *State) error { return st.share(s.mats, s) }

func (s *headCodes) item(st *State, h *hand, i int) {
	x := st.v[s.x]
	q, ld := st.u(s.codes), st.p.values[s.codes].ld
	g := &s.grids[i%len(s.grids)]
	gamma, beta := opt(st.v, s.gamma), opt(st.v, s.beta)
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
		if s.norm {
			mean, rstd := h.f32[headRows*w:][:m], h.f32[headRows*w+headRows:][:m]
			kernel.LayerNorm(h.f32[:m*w], mean, rstd, rows, gamma, beta, m, w, s.eps)
			rows = h.f32[:m*w]
			if s.mean >= 0 {
				copy(st.v[s.mean][u:], mean)
			}
			if s.spread >= 0 {
				for j, k := range rstd {
					st.v[s.spread][u+j] = 1 / k
				}
			}
		}
		if ld == w {
			kernel.QuantizeU8(q[u*ld:][:m*w], rows, g.Alpha, g.Zp, g.Qn, g.Qp, 0)
			continue
		}
		for j := range m {
			kernel.QuantizeU8(q[(u+j)*ld:][:w], rows[j*w:], g.Alpha, g.Zp, g.Qn, g.Qp, 0)
		}
	}
}
