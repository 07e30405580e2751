package runtime

import (
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// reduce is ReduceSum or ReduceMean over any axes.
type reduce struct {
	base
	x, y  int
	dx    grad
	l     layout // of x, y
	scale float32
}

func buildReduce(mean bool) builder {
	return func(c *compiler, n *ir.Node) (bool, error) {
		in := c.shape(n.Inputs[0])
		var axes []int
		if v := n.Input(1); v != nil {
			var ok bool
			if axes, ok = c.fixedInts(v); !ok {
				return false, nil
			}
		}
		if len(axes) == 0 {
			if n.Attrs.Int("noop_with_empty_axes", 0) != 0 {
				return buildView(c, n)
			}
			for i := range in {
				axes = append(axes, i)
			}
		}
		return c.addReduce(n, axes, mean)
	}
}

// buildGlobalPool is the mean over all axes but the first two.
func buildGlobalPool(c *compiler, n *ir.Node) (bool, error) {
	var axes []int
	for i := 2; i < len(c.shape(n.Inputs[0])); i++ {
		axes = append(axes, i)
	}
	return c.addReduce(n, axes, true)
}

func (c *compiler) addReduce(n *ir.Node, axes []int, mean bool) (bool, error) {
	in := c.shape(n.Inputs[0])
	kept := append([]int(nil), in...)
	for _, a := range axes {
		kept[wrapAxis(a, len(in))] = 1
	}
	l := broadcastLayout(in, kept)
	if len(l.dims) > maxRank || size(in) == 0 || !isFloat(n.Inputs[0]) {
		return false, nil
	}
	s := &reduce{x: c.value(n.Inputs[0]), y: c.value(n.Out()), l: l, scale: 1}
	if mean {
		s.scale = 1 / (float32(size(in)) / float32(size(kept)))
	}
	s.in, s.out, s.dx.id = []int{s.x}, []int{s.y}, s.x
	s.base.dx = []*grad{&s.dx}
	c.emit(n, s)
	return true, nil
}

func (s *reduce) forward(st *State) error {
	x, y := st.v[s.x], st.v[s.y]
	clear(y)
	sumTo(y, x, &s.l)
	if s.scale != 1 {
		kernel.Scale(y, y, s.scale)
	}
	return nil
}

func (s *reduce) backward(st *State) {
	dx, dy := st.g[s.x], st.g[s.y]
	n, stride := s.l.inner(), s.l.last(1)
	var w walk
	for {
		d := dx[w.at[0]:][:n]
		switch {
		case stride == 1 && s.dx.acc:
			kernel.Axpy(d, dy[w.at[1]:], s.scale)
		case stride == 1:
			kernel.Scale(d, dy[w.at[1]:][:n], s.scale)
		case s.dx.acc:
			g := dy[w.at[1]] * s.scale
			for i := range d {
				d[i] += g
			}
		default:
			kernel.Fill(d, dy[w.at[1]]*s.scale)
		}
		if !w.next(&s.l) {
			return
		}
	}
}
