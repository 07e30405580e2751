package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// binary is Add, Sub, Mul or Div with broadcasting.
type binary struct {
	base
	kind    binaryKind
	a, b, y int
	da, db  grad
	l       layout // of y, a, b
	form    binaryForm
	rows    int // of the rowwise forms
	width   int // of a row of y
}

type binaryKind uint8

const (
	opAdd binaryKind = iota
	opSub
	opMul
	opDiv
)

// binaryForm is the shape of the common cases; a is always the full operand.
type binaryForm uint8

const (
	general binaryForm = iota
	same               // b has the shape of y
	scalarB            // b is one number
	rowB               // b is one row of y, repeated
)

func buildBinary(kind binaryKind) builder {
	return func(c *compiler, n *ir.Node) (bool, error) {
		if kind == opAdd {
			if ok, err := c.fusedBias(n); ok || err != nil {
				return ok, err
			}
		}
		return c.addBinary(n, kind, n.Inputs[0], n.Inputs[1])
	}
}

func (c *compiler) addBinary(n *ir.Node, kind binaryKind, va, vb *ir.Value) (bool, error) {
	if (kind == opAdd || kind == opMul) && size(c.shape(va)) < size(c.shape(vb)) {
		va, vb = vb, va
	}
	l := broadcastLayout(c.shape(n.Out()), c.shape(va), c.shape(vb))
	if len(l.dims) > maxRank {
		return false, nil
	}
	s := &binary{kind: kind, a: c.value(va), b: c.value(vb), y: c.value(n.Out()), l: l, width: 1}
	if shape := c.shape(n.Out()); len(shape) > 0 {
		s.width = max(1, shape[len(shape)-1])
	}
	k := len(l.dims)
	full := l.last(1) == 1 && (k == 1 || slices.Equal(l.strides[0], l.strides[1]))
	switch {
	case full && k == 1 && l.last(2) == 1:
		s.form = same
	case full && k == 1 && l.last(2) == 0:
		s.form = scalarB
	case full && k == 2 && l.last(2) == 1 && l.strides[2][0] == 0:
		s.form, s.rows = rowB, l.dims[0]
	}
	s.in, s.out = []int{s.a, s.b}, []int{s.y}
	s.da.id, s.db.id = s.a, s.b
	s.dx = []*grad{&s.da, &s.db}
	if kind == opMul || kind == opDiv {
		s.keep = []int{s.a, s.b}
	}
	c.emit(n, s)
	return true, nil
}

func (s *binary) forward(st *State) error {
	y, a, b := st.v[s.y], st.v[s.a], st.v[s.b]
	if len(y) == 0 {
		return nil
	}
	switch {
	case s.form == same:
		s.kind.run(y, a, b, 1, 1)
		return nil
	case s.form == scalarB:
		s.kind.run(y, a, b, 1, 0)
		return nil
	case s.form == rowB && s.kind == opAdd:
		kernel.AddBias(y, a, b, s.rows, s.l.inner())
		return nil
	}
	n, sa, sb := s.l.inner(), s.l.last(1), s.l.last(2)
	var w walk
	for {
		s.kind.run(y[w.at[0]:][:n], a[w.at[1]:], b[w.at[2]:], sa, sb)
		if !w.next(&s.l) {
			return nil
		}
	}
}

// binaryRun is about how many elements one item computes.
const binaryRun = 1 << 12

// tasks is nil where the elements are not in order.
func (s *binary) tasks() []task {
	if s.form != same && s.form != scalarB {
		return nil
	}
	return []task{s}
}

func (s *binary) span() int { return max(1, binaryRun/s.width) }

func (s *binary) items(l lane) int {
	lo, hi := l.rows(s.l.inner() / s.width)
	return (hi - lo + s.span() - 1) / s.span()
}

func (s *binary) rowwise(int) (reads, writes []part) {
	rows := s.l.inner() / s.width
	reads = []part{{s.a, rows}}
	if s.form == same {
		reads = append(reads, part{s.b, rows})
	}
	return reads, []part{{s.y, rows}}
}

func (s *binary) item(st *State, _ *hand, l lane, i int) {
	lo, hi := l.rows(s.l.inner() / s.width)
	lo += i * s.span()
	hi = min(hi, lo+s.span())
	lo, hi = lo*s.width, hi*s.width
	y, a, b := st.v[s.y][lo:hi], st.v[s.a][lo:hi], st.v[s.b]
	if s.form == same {
		s.kind.run(y, a, b[lo:hi], 1, 1)
		return
	}
	s.kind.run(y, a, b, 1, 0)
}

// run computes one run; the strides of a and b are 0 or 1.
func (k binaryKind) run(y, a, b []float32, sa, sb int) {
	if sa == 1 && sb == 1 {
		a, b = a[:len(y)], b[:len(y)]
		switch k {
		case opAdd:
			kernel.Add(y, a, b)
		case opSub:
			kernel.Sub(y, a, b)
		case opMul:
			kernel.Mul(y, a, b)
		case opDiv:
			for i := range y {
				y[i] = a[i] / b[i]
			}
		}
		return
	}
	if sa == 1 {
		v := b[0]
		a = a[:len(y)]
		switch k {
		case opAdd:
			for i := range y {
				y[i] = a[i] + v
			}
		case opSub:
			for i := range y {
				y[i] = a[i] - v
			}
		case opMul:
			kernel.Scale(y, a, v)
		case opDiv:
			for i := range y {
				y[i] = a[i] / v
			}
		}
		return
	}
	v := a[0]
	for i := range y {
		y[i] = k.one(v, b[i*sb])
	}
}

func (k binaryKind) one(a, b float32) float32 {
	switch k {
	case opAdd:
		return a + b
	case opSub:
		return a - b
	case opMul:
		return a * b
	}
	return a / b
}

func (s *binary) backward(st *State) {
	dy := st.g[s.y]
	if len(dy) == 0 {
		return
	}
	a, b := st.v[s.a], st.v[s.b]
	if s.da.want {
		s.backA(st.g[s.a], a, b, dy)
	}
	if s.db.want {
		s.backB(st.g[s.b], a, b, dy)
	}
}

// backA computes dy, dy·b or dy/b and sums it to the shape of a.
func (s *binary) backA(da, a, b, dy []float32) {
	acc := s.da.acc
	if (s.kind == opAdd || s.kind == opSub) && len(da) == len(dy) {
		addOrCopy(da, dy, acc)
		return
	}
	if s.form == scalarB && s.kind == opMul {
		if acc {
			kernel.Axpy(da, dy, b[0])
		} else {
			kernel.Scale(da, dy, b[0])
		}
		return
	}
	if s.form == same && s.kind == opMul {
		if acc {
			kernel.MulAdd(da, dy, b)
		} else {
			kernel.Mul(da, dy, b)
		}
		return
	}
	if !acc {
		clear(da)
	}
	n, sa, sb := s.l.inner(), s.l.last(1), s.l.last(2)
	var w walk
	for {
		s.kind.addGradA(da[w.at[1]:], b[w.at[2]:], dy[w.at[0]:][:n], sa, sb)
		if !w.next(&s.l) {
			return
		}
	}
}

func (k binaryKind) addGradA(da, b, dy []float32, sa, sb int) {
	if k == opAdd || k == opSub {
		accumulate(da, dy, sa, 1)
		return
	}
	if sa == 1 && sb == 1 && k == opMul {
		kernel.MulAdd(da[:len(dy)], dy, b)
		return
	}
	if sa == 1 && sb == 0 {
		f := b[0]
		if k == opMul {
			kernel.Axpy(da[:len(dy)], dy, f)
			return
		}
		for i, g := range dy {
			da[i] += g / f
		}
		return
	}
	var t float64
	for i, g := range dy {
		f := b[i*sb]
		if k == opMul {
			g *= f
		} else {
			g /= f
		}
		if sa == 0 {
			t += float64(g)
		} else {
			da[i] += g
		}
	}
	if sa == 0 {
		da[0] += float32(t)
	}
}

// backB computes dy, -dy, dy·a or -dy·a/b² and sums it to the shape of b.
func (s *binary) backB(db, a, b, dy []float32) {
	acc := s.db.acc
	switch {
	case s.kind == opAdd && len(db) == len(dy):
		addOrCopy(db, dy, acc)
		return
	case s.kind == opAdd && s.form == rowB:
		if !acc {
			clear(db)
		}
		kernel.SumRows(db, dy, s.rows, len(db))
		return
	case s.kind == opMul && s.form == same:
		if acc {
			kernel.MulAdd(db, dy, a)
		} else {
			kernel.Mul(db, dy, a)
		}
		return
	}
	if !acc {
		clear(db)
	}
	n, sa, sb := s.l.inner(), s.l.last(1), s.l.last(2)
	var w walk
	for {
		s.kind.addGradB(db[w.at[2]:], a[w.at[1]:], b[w.at[2]:], dy[w.at[0]:][:n], sa, sb)
		if !w.next(&s.l) {
			return
		}
	}
}

func (k binaryKind) addGradB(db, a, b, dy []float32, sa, sb int) {
	switch k {
	case opAdd:
		accumulate(db, dy, sb, 1)
		return
	case opSub:
		accumulate(db, dy, sb, -1)
		return
	case opMul:
		if sa == 1 && sb == 1 {
			kernel.MulAdd(db[:len(dy)], dy, a)
			return
		}
		if sa == 1 && sb == 0 {
			db[0] += float32(kernel.Dot(dy, a[:len(dy)]))
			return
		}
	}
	var t float64
	for i, g := range dy {
		d := g * a[i*sa]
		if k == opDiv {
			v := b[i*sb]
			d = -d / (v * v)
		}
		if sb == 0 {
			t += float64(d)
		} else {
			db[i] += d
		}
	}
	if sb == 0 {
		db[0] += float32(t)
	}
}

// accumulate adds sign·src into a run of dst (stride 1) or into one element
// (stride 0).
func accumulate(dst, src []float32, stride int, sign float32) {
	if stride == 0 {
		dst[0] += sign * sum(src)
		return
	}
	kernel.Axpy(dst[:len(src)], src, sign)
}

// addOrCopy writes or adds src into dst.
func addOrCopy(dst, src []float32, acc bool) {
	if acc {
		kernel.Add(dst, dst, src)
	} else {
		copy(dst, src)
	}
}
