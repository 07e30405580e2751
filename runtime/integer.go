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
	block        int          // rows of a linear layer that are summed at a time
	float        int          // floats of the weight, for backward
	products     []codeMatrix // of activations
	manyA, manyB bool         // several products add to one gradient
}

// codeMatrix is one matrix product of a batch: offsets, and groups of the scales.
type codeMatrix struct{ a, b, y, ga, gb int }

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
		s.block = min(s.m, max(16, accLimit/max(1, s.n)))
		s.float = c.temp(&s.base, s.k*s.n, inBackward)
		c.p.i32 = max(c.p.i32, s.block*s.n+s.n)
		c.p.tmp = max(c.p.tmp, s.n, min(s.m, backRows)*s.k)
	} else {
		s.pair(A, B)
		c.p.i8 = max(c.p.i8, s.k*s.n)
		c.p.i32 = max(c.p.i32, s.m*s.n+s.n+s.m)
		c.p.tmp = max(c.p.tmp, s.m*s.k, s.k*s.n)
	}
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
			p.a += at * l.strides[1][d] * s.m * s.k
			p.b += at * l.strides[2][d] * s.k * s.n
		}
		p.ga, p.gb = s.a.groupOf(p.a), s.b.groupOf(p.b)
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
		return nil
	}
	s.forwardProducts(st, y)
	if s.bias >= 0 {
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
	weight := s.b.fixed
	if weight == nil {
		weight = st.s(s.b.weight)
	}
	codes, ws := st.u(s.a.u8), st.v[s.b.scale]
	xs, zero := st.v[s.a.scale][0], int32(s.a.unsignedZero(st, 0))
	factor, offset := st.tmp[:s.n], st.i32[s.block*s.n:][:s.n]
	for j := range factor {
		factor[j] = ws[j%len(ws)] * xs
		offset[j] = zero * sumCodes(weight[j*s.k:][:s.k])
	}
	for r := 0; r < s.m; r += s.block {
		m := min(s.block, s.m-r)
		acc := st.i32[:m*s.n]
		st.w.IGemm(m, s.n, s.k, codes[r*s.k:], s.k, weight, s.k, acc, s.n)
		for i := range m {
			d, t := y[(r+i)*s.n:][:s.n], acc[i*s.n:][:s.n]
			f, o := factor[:len(d)], offset[:len(d)]
			for j := range d {
				d[j] = float32(t[j]-o[j]) * f[j]
			}
		}
		if s.bias >= 0 {
			s.addBias(y[r*s.n:][:m*s.n], st.v[s.bias])
		}
	}
}

func sumCodes(q []int8) int32 {
	var t int32
	for _, v := range q {
		t += int32(v)
	}
	return t
}

func (s *integerMatmul) forwardProducts(st *State, y []float32) {
	a, b := st.u(s.a.u8), st.s(s.b.s8)
	as, bs := st.v[s.a.scale], st.v[s.b.scale]
	acc := st.i32[:s.m*s.n]
	cols, rows := st.i32[s.m*s.n:][:s.n], st.i32[s.m*s.n+s.n:][:s.m]
	for i := range s.products {
		p := &s.products[i]
		ua, ub := a[p.a:][:s.m*s.k], b[p.b:][:s.k*s.n]
		if !s.turned {
			t := st.i8[:s.k*s.n]
			for r := range s.k {
				for j, q := range ub[r*s.n:][:s.n] {
					t[j*s.k+r] = q
				}
			}
			ub = t
		}
		st.w.IGemm(s.m, s.n, s.k, ua, s.k, ub, s.k, acc, s.n)
		// Σ(qa-za)(qb-zb) = Σqa·qb - za·Σqb - zb·Σqa + k·za·zb
		za, zb := int32(s.a.unsignedZero(st, p.ga)), int32(s.b.signedZero(st, p.gb))
		clear(cols)
		if za != 0 {
			for j := range cols {
				cols[j] = za*sumCodes(ub[j*s.k:][:s.k]) - int32(s.k)*za*zb
			}
		}
		clear(rows)
		if zb != 0 {
			for r := range rows {
				var t int32
				for _, q := range ua[r*s.k:][:s.k] {
					t += int32(q)
				}
				rows[r] = zb * t
			}
		}
		f := as[p.ga] * bs[p.gb]
		for r := range s.m {
			d := y[p.y+r*s.n:][:s.n]
			t, q := acc[r*s.n:][:len(d)], cols[:len(d)]
			for j := range d {
				d[j] = float32(t[j]-q[j]-rows[r]) * f
			}
		}
	}
}

func (s *integerMatmul) backward(st *State) {
	dy := st.g[s.y]
	if len(dy) == 0 {
		return
	}
	if s.linear {
		s.backLinear(st, dy)
	} else {
		s.backProducts(st, dy)
	}
	if s.bias < 0 || !s.dbia.want {
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
		x := st.tmp[:m*s.k]
		kernel.Dequantize(x, codes[r*s.k:], xs, zero)
		st.w.Gemm(true, false, s.k, s.n, m, 1, x, s.k, dy[r*s.n:], s.n, beta, db, s.n)
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
			st.w.Gemm(false, !s.turned, s.m, s.k, s.n, 1, dy[p.y:], s.n, f, ld, beta, da[p.a:], s.k)
		}
	}
	if !s.db.want {
		return
	}
	db, a, as := st.g[s.db.id], st.u(s.a.u8), st.v[s.a.scale]
	beta := startGrad(db, s.db.acc, s.manyB || s.m == 0)
	f := st.tmp[:s.m*s.k]
	for i := range s.products {
		p := &s.products[i]
		kernel.Dequantize(f, a[p.a:], as[p.ga], s.a.unsignedZero(st, p.ga))
		if s.turned {
			st.w.Gemm(true, false, s.n, s.k, s.m, 1, dy[p.y:], s.n, f, s.k, beta, db[p.b:], s.k)
		} else {
			st.w.Gemm(true, false, s.k, s.n, s.m, 1, f, s.k, dy[p.y:], s.n, beta, db[p.b:], s.n)
		}
	}
}
