package runtime

import (
	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// integerMatmul is a product of two quantised operands, forward on their codes
// with exact int32 sums and the roundings of the packed operators (see qlinear
// and qmatmul), backward in float on the values that the codes stand for.
type integerMatmul struct {
	base
	a, b         *fakeQuant
	y, bias      int // bias: -1 where left out
	da, db, dbia grad
	biasRows     bool // bias has length n; otherwise it is one number
	linear       bool // b is one weight, [k, n]
	turned       bool // b is stored n × k
	m, n, k      int
	operand      int             // right-hand side, in State.operands
	fixed        *kernel.Weights // instead of it: a weight that cannot change
	float        int             // floats of the weight, for the float backward
	products     []codeMatrix    // of activations
	manyA, manyB bool            // several products add to one gradient
	fast         bool            // backward in 16-bit integers, see fastback.go
	flat         int             // scratch of the fast backward
}

// codeMatrix is one matrix product of a batch: offsets of codes, of the gradient
// of a, and groups of the scales.
type codeMatrix struct{ a, b, y, da, ga, gb int }

// backRows is the number of rows whose floats are made at a time for the
// gradient of a weight.
const backRows = 256

func (c *compiler) addIntegerMatMul(n *ir.Node, out *ir.Value, k *codeProduct, p product) {
	s := &integerMatmul{a: c.quants[k.a], b: c.quants[k.b], y: c.value(out), bias: -1, linear: k.linear, turned: k.turned}
	sa, sb := c.shape(k.a.Out()), c.shape(k.b.Out())
	A, B := describe(sa, false), describe(sb, s.turned)
	s.m, s.k, s.n = A.rows, A.cols, B.cols
	if s.linear {
		s.m = size(sa) / max(1, s.k)
		if !(c.cfg.FastBackward && c.cfg.Train) {
			s.float = c.temp(&s.base, s.k*s.n, inBackward)
		}
		c.p.tmp = max(c.p.tmp, s.n, min(s.m, backRows)*s.a.ld)
	} else {
		s.pair(A, B)
		c.p.tmp = max(c.p.tmp, s.m*s.a.ld, s.k*s.n, s.n)
	}
	c.p.i32 = max(c.p.i32, s.n+s.m+kernel.TileRows*kernel.PanelWidth)
	wbits, abits := k.b.Attrs.Int("bits", 8), k.a.Attrs.Int("bits", 8)
	if s.b.fixed != nil {
		s.fixed = kernel.NewWeights(wbits, abits, s.n, s.k, s.b.fixed)
	}
	s.operand = c.operand(operandShape{wbits, abits, s.n, s.k})
	s.in, s.out = []int{s.a.u8, s.a.scale, s.b.scale}, []int{s.y}
	for _, id := range []int{s.a.zr, s.b.zr, s.b.s8, s.b.weight} {
		if id >= 0 {
			s.in = append(s.in, id)
		}
	}
	s.keep = append(s.keep, s.in...)
	s.keep = append(s.keep, s.b.x)
	if s.linear {
		s.keep = s.keep[:0:0]
		s.keep = append(s.keep, s.a.u8, s.a.scale, s.b.scale, s.b.x)
		if s.a.zr >= 0 {
			s.keep = append(s.keep, s.a.zr)
		}
	}
	s.da.id, s.db.id = s.a.y, s.b.y
	s.dx = []*grad{&s.da, &s.db}
	if p.bias != nil {
		s.bias = c.value(p.bias)
		s.biasRows = size(c.shape(p.bias)) == s.n
		s.in = append(s.in, s.bias)
		s.dbia.id = s.bias
		s.dx = append(s.dx, &s.dbia)
	}
	if c.cfg.FastBackward && c.cfg.Train {
		s.planFast(c)
	}
	c.emit(n, s)
}

// pair lists the matrix products of two batches that broadcast.
func (s *integerMatmul) pair(a, b matrix) {
	batch := broadcastShape(a.batch, b.batch)
	l := layout{dims: batch, strides: [][]int{rowMajor(batch), broadcastStrides(a.batch, batch), broadcastStrides(b.batch, batch)}}
	for i := range size(batch) {
		p := codeMatrix{y: i * s.m * s.n}
		rest := i
		for d := len(batch) - 1; d >= 0; d-- {
			at := rest % batch[d]
			rest /= batch[d]
			p.a += at * l.strides[1][d] * s.m
			p.b += at * l.strides[2][d] * s.k * s.n
		}
		p.ga, p.gb = s.a.groupOf(p.a*s.k), s.b.groupOf(p.b)
		p.da, p.a = p.a*s.k, p.a*s.a.ld
		s.products = append(s.products, p)
	}
	s.manyA, s.manyB = size(a.batch) < len(s.products), size(b.batch) < len(s.products)
}

// groupOf is the group of the element at an offset.
func (s *fakeQuant) groupOf(at int) int { return at / max(1, s.inner) % max(1, s.groups) }

func (s *integerMatmul) forward(st *State) error {
	y := st.v[s.y]
	if len(y) == 0 {
		return nil
	}
	if s.linear {
		s.forwardLinear(st, y)
	} else {
		s.forwardProducts(st, y)
	}
	if s.bias >= 0 && !(s.linear && s.biasRows) {
		s.addBias(y, st.v[s.bias])
	}
	return nil
}

func (s *integerMatmul) addBias(y, bias []float32) {
	if s.biasRows {
		kernel.AddBias(y, y, bias, len(y)/s.n, s.n)
		return
	}
	for i := range y {
		y[i] += bias[0]
	}
}

func (s *integerMatmul) forwardLinear(st *State, y []float32) {
	ws, xs := st.v[s.b.scale], st.v[s.a.scale][0]
	f := kernel.Affine{Offset: st.i32[:s.n], Factor: st.tmp[:s.n]}
	for j := range f.Factor {
		f.Factor[j] = ws[j%len(ws)] * xs
	}
	if s.biasRows {
		f.Bias = st.v[s.bias]
	}
	o := st.operands[s.operand]
	if s.fixed == nil {
		kernel.PackRows(o, 0, s.n, st.s(s.b.weight), s.k, 0)
	}
	codes, zero := st.u(s.a.u8), int32(s.a.unsignedZero(st, 0))
	for j := range o.Panels() {
		if s.fixed != nil {
			st.w.Panel(s.fixed, j)
		} else {
			st.w.Select(o, j)
		}
		s.panel(st, y, codes, j, zero, 0, &f)
	}
}

// panel does the columns of panel j of one product: m rows of codes by the panel
// that the workspace holds.
func (s *integerMatmul) panel(st *State, y []float32, codes []uint8, j int, za, constant int32, f *kernel.Affine) {
	at := j * kernel.PanelWidth
	cols := min(kernel.PanelWidth, s.n-at)
	tile := st.i32[s.n+s.m:][:kernel.TileRows*kernel.PanelWidth]
	st.w.PanelSums(tile)
	for c, t := range tile[:cols] {
		f.Offset[at+c] = za*t - constant
	}
	rows := f.Row
	for r := 0; r < s.m; r += kernel.TileRows {
		m := min(kernel.TileRows, s.m-r)
		if rows != nil {
			f.Row = rows[r:]
		}
		st.w.Tile(m, codes[r*s.a.ld:], s.a.ld, tile, kernel.PanelWidth)
		kernel.DequantTile(y[r*s.n+at:], s.n, tile, kernel.PanelWidth, m, cols, f, at)
	}
	f.Row = rows
}

func (s *integerMatmul) forwardProducts(st *State, y []float32) {
	a, b := st.u(s.a.u8), st.s(s.b.s8)
	as, bs := st.v[s.a.scale], st.v[s.b.scale]
	o := st.operands[s.operand]
	f := kernel.Affine{Offset: st.i32[:s.n], Factor: st.tmp[:s.n]}
	for i := range s.products {
		p := &s.products[i]
		if s.turned {
			kernel.PackRows(o, 0, s.n, b[p.b:][:s.n*s.k], s.k, 0)
		} else {
			kernel.PackCols(o, 0, s.k, b[p.b:][:s.n*s.k], s.n, 0)
		}
		codes := a[p.a:][:s.m*s.a.ld]
		// Σ(qa-za)(qb-zb) = Σqa·qb - za·Σqb - zb·Σqa + k·za·zb
		za, zb := int32(s.a.unsignedZero(st, p.ga)), int32(s.b.signedZero(st, p.gb))
		f.Row = nil
		if zb != 0 {
			f.Row = st.i32[s.n:][:s.m]
			for r := range f.Row {
				var t int32
				for _, q := range codes[r*s.a.ld:][:s.k] {
					t += int32(q)
				}
				f.Row[r] = zb * t
			}
		}
		kernel.Fill(f.Factor, as[p.ga]*bs[p.gb])
		for j := range o.Panels() {
			st.w.Select(o, j)
			s.panel(st, y[p.y:], codes, j, za, int32(s.k)*za*zb, &f)
		}
	}
}

func (s *integerMatmul) backward(st *State) {
	dy := st.g[s.y]
	if len(dy) == 0 {
		return
	}
	switch {
	case s.fast && s.linear:
		s.fastLinear(st, dy)
	case s.fast:
		s.fastProducts(st, dy)
	case s.linear:
		s.backLinear(st, dy)
	default:
		s.backProducts(st, dy)
	}
	if s.bias < 0 || !s.dbia.want || s.fast && s.linear && s.biasRows {
		return
	}
	g := st.g[s.bias]
	if !s.dbia.acc {
		clear(g)
	}
	if s.biasRows {
		kernel.SumRows(g, dy, len(dy)/s.n, s.n)
	} else {
		g[0] += sum(dy)
	}
}

func (s *integerMatmul) backLinear(st *State, dy []float32) {
	if s.da.want {
		w := st.v[s.float]
		s.b.floats(w, st.v[s.b.x], st.v[s.b.scale], nil)
		da := st.g[s.da.id]
		st.w.Gemm(false, true, s.m, s.k, s.n, 1, dy, s.n, w, s.n, startGrad(da, s.da.acc, s.k == 0), da, s.k)
	}
	if !s.db.want {
		return
	}
	db, codes := st.g[s.db.id], st.u(s.a.u8)
	beta := startGrad(db, s.db.acc, s.m == 0)
	xs, zero := st.v[s.a.scale][0], s.a.unsignedZero(st, 0)
	for r := 0; r < s.m; r += backRows {
		m := min(backRows, s.m-r)
		x := st.tmp[:m*s.a.ld]
		kernel.Dequantize(x, codes[r*s.a.ld:], xs, zero)
		st.w.Gemm(true, false, s.k, s.n, m, 1, x, s.a.ld, dy[r*s.n:], s.n, beta, db, s.n)
		beta = 1
	}
}

func (s *integerMatmul) backProducts(st *State, dy []float32) {
	if s.da.want {
		da, b, bs := st.g[s.da.id], st.s(s.b.s8), st.v[s.b.scale]
		beta := startGrad(da, s.da.acc, s.manyA || s.k == 0)
		f := st.tmp[:s.k*s.n]
		for i := range s.products {
			p := &s.products[i]
			kernel.DequantizeSigned(f, b[p.b:], bs[p.gb], s.b.signedZero(st, p.gb))
			ld := s.n
			if s.turned {
				ld = s.k
			}
			st.w.Gemm(false, !s.turned, s.m, s.k, s.n, 1, dy[p.y:], s.n, f, ld, beta, da[p.da:], s.k)
		}
	}
	if !s.db.want {
		return
	}
	db, a, as := st.g[s.db.id], st.u(s.a.u8), st.v[s.a.scale]
	beta := startGrad(db, s.db.acc, s.manyB || s.m == 0)
	f := st.tmp[:s.m*s.a.ld]
	for i := range s.products {
		p := &s.products[i]
		kernel.Dequantize(f, a[p.a:], as[p.ga], s.a.unsignedZero(st, p.ga))
		if s.turned {
			st.w.Gemm(true, false, s.n, s.k, s.m, 1, dy[p.y:], s.n, f, s.a.ld, beta, db[p.b:], s.k)
		} else {
			st.w.Gemm(true, false, s.k, s.n, s.m, 1, f, s.a.ld, dy[p.y:], s.n, beta, db[p.b:], s.n)
		}
	}
}
