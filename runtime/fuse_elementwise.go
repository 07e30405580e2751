package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
)

// elementOp is one elementwise step between a linear layer and the quantiser of the
// next, done on a tile: the tanh form of GELU is nine of them. dst, a and b are
// buffers of tile size.
type elementOp struct {
	dst, a, b int // b: -1 where it is the scalar or there is none
	fn        *unary
	kind      binaryKind
	scalar    []float32 // one number
}

// elementwise moves elementwise steps, and the quantiser behind them, into the linear
// layer before them.
func (f *fuser) elementwise(s step) bool {
	q, ok := s.(*quantise)
	if !ok || !f.whole(q.x) {
		return false
	}
	n := f.p.values[q.x].n
	in := map[step]bool{}
	source := -1
	var visit func(id int) bool
	visit = func(id int) bool {
		if v := &f.p.values[id]; !f.whole(id) || v.n != n {
			return false
		}
		m := f.made[f.root(id)]
		if in[m] {
			return true
		}
		switch m := m.(type) {
		case *packedLinear:
			source = f.root(id)
			return f.root(m.y) == source
		case *unary:
			in[m] = true
			return visit(m.x)
		case *binary:
			in[m] = true
			if m.form == scalarB {
				return f.scalar(m.b) != nil && visit(m.a)
			}
			return m.form == same && visit(m.a) && visit(m.b)
		}
		return false
	}
	if !visit(q.x) || source < 0 {
		return false
	}
	l := f.made[source].(*packedLinear)
	if l.codes >= 0 || l.residual >= 0 || l.heads != nil || l.n != q.k || l.m != q.rows || n != l.m*l.n {
		return false
	}
	o := origin{root: source}
	for _, s := range f.p.steps {
		if in[s] {
			o.chain = append(o.chain, s)
		}
	}
	if !f.onlyFor(o, q) {
		return false
	}
	buffers := l.elements(f, o, q)
	f.c.p.hand.ask(0, buffers*l.tile*kernel.PanelWidth, 0)
	l.codes, l.y, l.out = q.y, -1, []int{q.y}
	l.grid = f.c.kernelGrid(q.grid)
	for _, s := range o.chain {
		l.op += "+" + s.plan().op
		f.remove(s)
	}
	f.remove(q)
	return true
}

// scalar is the number that a fixed one-element value holds; nil for others.
func (f *fuser) scalar(id int) []float32 {
	v := &f.p.values[id]
	if v.kind != constant || v.param >= 0 || v.n != 1 {
		return nil
	}
	return v.tens.F32()[:1]
}

// elements notes the chain as operations on buffers, which are used again when their
// last reader is done, and gives the number of buffers.
func (s *packedLinear) elements(f *fuser, o origin, q *quantise) int {
	operands := func(k step) []int {
		switch k := k.(type) {
		case *unary:
			return []int{k.x}
		case *binary:
			if k.form == same {
				return []int{k.a, k.b}
			}
			return []int{k.a}
		}
		return nil
	}
	last := map[int]int{f.root(q.x): len(o.chain)}
	for i, k := range o.chain {
		for _, id := range operands(k) {
			last[f.root(id)] = max(last[f.root(id)], i)
		}
	}
	at := map[int]int{o.root: 0}
	var free []int
	buffers := 1
	for i, k := range o.chain {
		ids := operands(k)
		op := elementOp{a: at[f.root(ids[0])], b: -1}
		if len(ids) > 1 {
			op.b = at[f.root(ids[1])]
		}
		for j, id := range ids {
			if last[f.root(id)] == i && !slices.ContainsFunc(ids[:j], func(o int) bool { return f.root(o) == f.root(id) }) {
				free = append(free, at[f.root(id)])
			}
		}
		if len(free) > 0 {
			op.dst, free = free[len(free)-1], free[:len(free)-1]
		} else {
			op.dst = buffers
			buffers++
		}
		at[f.root(k.plan().out[0])] = op.dst
		switch k := k.(type) {
		case *unary:
			op.fn = k
		case *binary:
			op.kind = k.kind
			if k.form == scalarB {
				op.scalar = f.scalar(k.b)
			}
		}
		s.ops = append(s.ops, op)
	}
	s.result = at[f.root(q.x)]
	return buffers
}

// finishElements ends the sums of rows r .. r+m-1 and of the columns from col on.
func (s *packedLinear) finishElements(st *State, h *hand, r, m, col, cols int) {
	q, ld := st.u(s.codes), st.p.values[s.codes].ld
	if len(s.ops) == 0 {
		kernel.DequantQuantizeTile(q[r*ld+col:], ld, h.tile, kernel.PanelWidth, m, cols, &s.affine, col, &s.grid)
		return
	}
	n := m * cols
	buffer := func(i int) []float32 { return h.f32[i*s.tile*kernel.PanelWidth:][:n] }
	kernel.DequantTile(buffer(0), cols, h.tile, kernel.PanelWidth, m, cols, &s.affine, col)
	for i := range s.ops {
		op := &s.ops[i]
		switch {
		case op.fn != nil:
			op.fn.fn.forward(buffer(op.dst), buffer(op.a), op.fn.p, op.fn.q)
		case op.b >= 0:
			op.kind.run(buffer(op.dst), buffer(op.a), buffer(op.b), 1, 1)
		default:
			op.kind.run(buffer(op.dst), buffer(op.a), op.scalar, 1, 0)
		}
	}
	for i, x := 0, buffer(s.result); i < m; i++ {
		kernel.QuantizeU8(q[(r+i)*ld+col:][:cols], x[i*cols:], s.grid.Alpha, s.grid.Zp, s.grid.Qn, s.grid.Qp, 0)
	}
}
