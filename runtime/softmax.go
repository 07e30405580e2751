package runtime

import (
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// softmax is ONNX Softmax-13 or LogSoftmax-13 along one axis. An axis other than
// the last is brought to the end in scratch memory.
type softmax struct {
	base
	x, y            int
	dxg             grad
	outer, n, inner int
	log             bool
	tx, ty          int // scratch by axis last, where inner > 1
}

func buildSoftmax(log bool) builder {
	return func(c *compiler, n *ir.Node) (bool, error) {
		in := c.shape(n.Inputs[0])
		if len(in) == 0 {
			return false, nil
		}
		axis := wrapAxis(n.Attrs.Int("axis", -1), len(in))
		s := &softmax{x: c.value(n.Inputs[0]), y: c.value(n.Out()), log: log, outer: size(in[:axis]), n: in[axis], inner: size(in[axis+1:])}
		s.in, s.out, s.keep = []int{s.x}, []int{s.y}, []int{s.y}
		s.dxg.id = s.x
		s.dx = []*grad{&s.dxg}
		if s.inner > 1 {
			s.tx = c.temp(&s.base, s.n*s.inner, untilBack)
			s.ty = c.temp(&s.base, s.n*s.inner, untilBack)
		}
		c.emit(n, s)
		return true, nil
	}
}

func (s *softmax) forward(st *State) error {
	x, y := st.v[s.x], st.v[s.y]
	if s.inner <= 1 {
		s.rows(y, x, s.outer)
		return nil
	}
	t := st.v[s.tx]
	m := s.n * s.inner
	for o := range s.outer {
		kernel.Transpose(t, x[o*m:][:m], s.n, s.inner)
		s.rows(t, t, s.inner)
		kernel.Transpose(y[o*m:][:m], t, s.inner, s.n)
	}
	return nil
}

func (s *softmax) rows(y, x []float32, rows int) {
	if s.log {
		kernel.LogSoftmaxRows(y, x, rows, s.n)
	} else {
		kernel.SoftmaxRows(y, x, rows, s.n)
	}
}

func (s *softmax) backward(st *State) {
	dx, y, dy := st.g[s.x], st.v[s.y], st.g[s.y]
	if s.inner <= 1 {
		s.backRows(dx, y, dy, s.outer, s.dxg.acc)
		return
	}
	ty, td := st.v[s.tx], st.v[s.ty]
	m := s.n * s.inner
	for o := range s.outer {
		kernel.Transpose(ty, y[o*m:][:m], s.n, s.inner)
		kernel.Transpose(td, dy[o*m:][:m], s.n, s.inner)
		s.backRows(td, ty, td, s.inner, false)
		if !s.dxg.acc {
			kernel.Transpose(dx[o*m:][:m], td, s.inner, s.n)
			continue
		}
		kernel.Transpose(ty, td, s.inner, s.n)
		kernel.Add(dx[o*m:][:m], dx[o*m:][:m], ty)
	}
}

func (s *softmax) backRows(dx, y, dy []float32, rows int, acc bool) {
	if !s.log {
		kernel.SoftmaxRowsBackward(dx, y, dy, rows, s.n, acc)
		return
	}
	for r := range rows {
		x, y, g := dx[r*s.n:][:s.n], y[r*s.n:][:s.n], dy[r*s.n:][:s.n]
		t := sum(g)
		for i, v := range g {
			d := v - exp32(y[i])*t
			if acc {
				d += x[i]
			}
			x[i] = d
		}
	}
}
