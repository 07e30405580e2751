package runtime

import (
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// gather picks slices along one axis by fixed indices (ONNX Gather-13).
type gather struct {
	base
	x, y                int
	dx                  grad
	outer, axisN, inner int
	idx                 []int
}

func buildGather(c *compiler, n *ir.Node) (bool, error) {
	x := n.Inputs[0]
	idx, ok := c.fixedInts(n.Input(1))
	if !ok || !isFloat(x) {
		return false, nil
	}
	in := c.shape(x)
	axis := wrapAxis(n.Attrs.Int("axis", 0), len(in))
	s := &gather{outer: size(in[:axis]), axisN: in[axis], inner: size(in[axis+1:])}
	for _, i := range idx {
		i = wrapAxis(i, s.axisN)
		if i < 0 || i >= s.axisN {
			return false, n.Errorf("index %d is outside the axis of length %d", i, s.axisN)
		}
		s.idx = append(s.idx, i)
	}
	if s.outer == 1 && len(s.idx) == 1 {
		c.view(n.Out(), x, s.idx[0]*s.inner)
		return true, nil
	}
	s.x, s.y = c.value(x), c.value(n.Out())
	s.in, s.out, s.dx.id = []int{s.x}, []int{s.y}, s.x
	s.base.dx = []*grad{&s.dx}
	c.emit(n, s)
	return true, nil
}

func (s *gather) forward(st *State) error {
	s.run(st.v[s.y], st.v[s.x])
	return nil
}

// run copies the slices of x to y.
func (s *gather) run(y, x []float32) {
	for o := range s.outer {
		row := x[o*s.axisN*s.inner:]
		for _, i := range s.idx {
			copy(y[:s.inner], row[i*s.inner:])
			y = y[s.inner:]
		}
	}
}

func (s *gather) backward(st *State) {
	dx, dy := st.g[s.x], st.g[s.y]
	if !s.dx.acc {
		clear(dx)
	}
	for o := range s.outer {
		row := dx[o*s.axisN*s.inner:]
		for _, i := range s.idx {
			d := row[i*s.inner:][:s.inner]
			if s.inner == 1 {
				d[0] += dy[0]
			} else {
				kernel.Add(d, d, dy[:s.inner])
			}
			dy = dy[s.inner:]
		}
	}
}
