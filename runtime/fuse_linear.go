package runtime

import (
	"github.com/qvitc/qvitc/internal/kernel"
)

// gelu moves GELU and the quantiser behind it into the linear layer before them.
func (f *fuser) gelu(s step) bool {
	q, ok := s.(*quantise)
	if !ok || !f.whole(q.x) {
		return false
	}
	u, ok := f.maker(q.x, q).(*unary)
	if !ok || !u.gelu {
		return false
	}
	l, ok := f.maker(u.x, u).(*packedLinear)
	if !ok || l.codes >= 0 || l.residual >= 0 || l.n != q.k || l.m != q.rows {
		return false
	}
	l.codes, l.y = q.y, -1
	l.gelu = f.c.geluTable(q.grid)
	l.out = []int{q.y}
	l.op += "+Gelu"
	f.remove(u)
	f.remove(q)
	return true
}

// geluTable is the table of GELU on a grid.
func (c *compiler) geluTable(g grid) *kernel.GeluTable {
	t := c.gelus[g]
	if t == nil {
		t = kernel.NewGeluTable(c.kernelGrid(g))
		c.gelus[g] = t
	}
	return t
}

// residual moves the Add of a residual stream into the linear layer whose product it
// adds. Between the two the rows may be reordered, as windows are taken apart.
func (f *fuser) residual(s step) bool {
	b, ok := s.(*binary)
	if !ok || b.kind != opAdd || b.form != same {
		return false
	}
	for _, o := range [][2]int{{b.b, b.a}, {b.a, b.b}} {
		if f.addTo(b, o[0], o[1]) {
			return true
		}
	}
	return false
}

func (f *fuser) addTo(b *binary, product, residual int) bool {
	if f.root(product) == f.root(residual) {
		return false
	}
	o := f.trace(product)
	l, ok := f.made[o.root].(*packedLinear)
	if !ok || l.codes >= 0 || l.residual >= 0 || !f.onlyFor(o, b) {
		return false
	}
	m := f.units(o, product, l.n)
	to := inverse(m, l.m)
	if to == nil {
		return false
	}
	if !identity(to) {
		l.to = to
	}
	l.residual, l.y = residual, b.y
	l.in, l.out = append(l.in, residual), []int{b.y}
	l.op += "+Add"
	f.remove(l)
	f.replace(b, l)
	return true
}
