package runtime

import "github.com/qvitc/qvitc/ir"

// choose is Where with a fixed condition (ONNX Where-16).
type choose struct {
	base
	a, b, y int
	da, db  grad
	cond    []bool
	l       layout // of y, condition, a, b
}

func buildWhere(c *compiler, n *ir.Node) (bool, error) {
	cond := c.fixed(n.Input(0))
	if cond == nil || cond.Elem != ir.Bool {
		return false, nil
	}
	l := broadcastLayout(c.shape(n.Out()), cond.Shape, c.shape(n.Inputs[1]), c.shape(n.Inputs[2]))
	if len(l.dims) > maxRank {
		return false, nil
	}
	s := &choose{a: c.value(n.Inputs[1]), b: c.value(n.Inputs[2]), y: c.value(n.Out()), cond: ir.Data[bool](cond), l: l}
	s.in, s.out = []int{s.a, s.b}, []int{s.y}
	s.da.id, s.db.id = s.a, s.b
	s.dx = []*grad{&s.da, &s.db}
	c.emit(n, s)
	return true, nil
}

func (s *choose) forward(st *State) error {
	y, a, b := st.v[s.y], st.v[s.a], st.v[s.b]
	if len(y) == 0 {
		return nil
	}
	n, sc, sa, sb := s.l.inner(), s.l.last(1), s.l.last(2), s.l.last(3)
	var w walk
	for {
		d := y[w.at[0]:][:n]
		for i := range d {
			if s.cond[w.at[1]+i*sc] {
				d[i] = a[w.at[2]+i*sa]
			} else {
				d[i] = b[w.at[3]+i*sb]
			}
		}
		if !w.next(&s.l) {
			return nil
		}
	}
}

func (s *choose) backward(st *State) {
	dy := st.g[s.y]
	for k, d := range [2]*grad{&s.da, &s.db} {
		if !d.want {
			continue
		}
		dx := st.g[d.id]
		if !d.acc {
			clear(dx)
		}
		if len(dy) == 0 {
			continue
		}
		n, sc, sd := s.l.inner(), s.l.last(1), s.l.last(2+k)
		var w walk
		for {
			g := dy[w.at[0]:][:n]
			for i, v := range g {
				if s.cond[w.at[1]+i*sc] == (k == 0) {
					dx[w.at[2+k]+i*sd] += v
				}
			}
			if !w.next(&s.l) {
				break
			}
		}
	}
}
