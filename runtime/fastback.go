package runtime

import "github.com/qvitc/qvitc/internal/kernel"

// The fast backward of quantised products: each gradient that comes in is rounded
// to 16-bit integers, one scale for every row of the result, and multiplied by
// the codes of the other operand, exactly. Its relative error is about 3e-4, that
// of one rounding to 16 bits; the products take about half the time.

// planFast reserves what the fast backward needs.
func (s *integerMatmul) planFast(c *compiler) {
	s.fast = true
	c.p.i16 = max(c.p.i16, s.m*s.n)
	c.p.tmp = max(c.p.tmp, s.m+2*s.n)
	if s.linear && s.b.weight >= 0 {
		s.keep = append(s.keep, s.b.weight)
	}
	if s.linear || !s.turned {
		s.flat = c.temp(&s.base, 2*s.n*s.k, inBackward)
	}
}

// span is the greatest distance of a code from its zero point; smallest is the
// smallest code, in the count that zero uses.
func (q *fakeQuant) span(zero, smallest float32) int {
	top := smallest + q.qp - q.qn
	return int(max(zero-smallest, top-zero, 1))
}

func (s *integerMatmul) fastLinear(st *State, dy []float32) {
	q := st.i16[:s.m*s.n]
	rows, cols, factor := st.tmp[:s.m], st.tmp[s.m:][:s.n], st.tmp[s.m+s.n:][:s.n]
	if s.da.want {
		ws := st.v[s.b.scale]
		for j := range factor {
			factor[j] = ws[j%len(ws)]
		}
		weight := s.b.fixed
		if weight == nil {
			weight = st.s(s.b.weight)
		}
		kernel.QuantizeRows16(q, s.n, rows, dy, s.n, factor, s.m, s.n)
		kernel.Gemm16(&st.w, false, s.m, s.k, s.n, q, s.n, weight, s.k, 0, s.b.span(0, s.b.qn), rows, s.da.acc, st.g[s.da.id], s.k)
	}
	if !s.db.want {
		return
	}
	zero := s.a.unsignedZero(st, 0)
	kernel.QuantizeCols16(&st.w, q, s.m, cols, dy, s.n, s.m, s.n)
	kernel.Scale(cols, cols, st.v[s.a.scale][0])
	t := st.v[s.flat]
	kernel.Gemm16(&st.w, false, s.n, s.k, s.m, q, s.m, st.u(s.a.u8), s.a.ld, int(zero), s.a.span(zero, 0), cols, false, t[:s.n*s.k], s.k)
	turnInto(st.g[s.db.id], t, s.n, s.k, s.db.acc)
}

// turnInto writes or adds the transpose of the first half of t, rows × cols; the
// second half is scratch.
func turnInto(dst, t []float32, rows, cols int, acc bool) {
	n := rows * cols
	if !acc {
		kernel.Transpose(dst[:n], t[:n], rows, cols)
		return
	}
	kernel.Transpose(t[n:2*n], t[:n], rows, cols)
	kernel.Add(dst[:n], dst[:n], t[n:2*n])
}

func (s *integerMatmul) fastProducts(st *State, dy []float32) {
	q := st.i16[:s.m*s.n]
	rows, cols := st.tmp[:s.m], st.tmp[s.m:][:s.n]
	if s.da.want {
		da, codes, bs := st.g[s.da.id], st.s(s.b.s8), st.v[s.b.scale]
		add := startGrad(da, s.da.acc, s.manyA || s.k == 0) == 1
		for i := range s.products {
			p := &s.products[i]
			zero := s.b.signedZero(st, p.gb)
			kernel.QuantizeRows16(q, s.n, rows, dy[p.y:], s.n, nil, s.m, s.n)
			kernel.Scale(rows, rows, bs[p.gb])
			ld := s.n
			if s.turned {
				ld = s.k
			}
			kernel.Gemm16(&st.w, !s.turned, s.m, s.k, s.n, q, s.n, codes[p.b:], ld, int(zero), s.b.span(zero, -s.b.half()), rows, add, da[p.da:], s.k)
		}
	}
	if !s.db.want {
		return
	}
	db, codes, as := st.g[s.db.id], st.u(s.a.u8), st.v[s.a.scale]
	add := startGrad(db, s.db.acc, s.manyB || s.m == 0) == 1
	for i := range s.products {
		p := &s.products[i]
		zero := s.a.unsignedZero(st, p.ga)
		kernel.QuantizeCols16(&st.w, q, s.m, cols, dy[p.y:], s.n, s.m, s.n)
		kernel.Scale(cols, cols, as[p.ga])
		if s.turned {
			kernel.Gemm16(&st.w, false, s.n, s.k, s.m, q, s.m, codes[p.a:], s.a.ld, int(zero), s.a.span(zero, 0), cols, add, db[p.b:], s.k)
			continue
		}
		t := st.v[s.flat]
		kernel.Gemm16(&st.w, false, s.n, s.k, s.m, q, s.m, codes[p.a:], s.a.ld, int(zero), s.a.span(zero, 0), cols, false, t[:s.n*s.k], s.k)
		turnInto(db[p.b:], t, s.n, s.k, add)
	}
}
