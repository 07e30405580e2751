package runtime

import "github.com/qvitc/qvitc/internal/kernel"

// The fast backward of quantised products: each gradient that comes in is rounded
// to 16-bit integers, one scale for every row or column of the result, and multiplied by
// the codes of the other operand, exactly. Its relative error is about 3e-4, that
// of one rounding to 16 bits; the products take about half the time.

// planFast reserves what the fast backward needs.
func (s *integerMatmul) planFast(c *compiler) {
	s.fast = true
	c.p.i16 = max(c.p.i16, s.m*s.n+1) // see kernel.Gemm16 of an odd number of inputs
	c.p.tmp = max(c.p.tmp, s.m+3*s.n)
	if s.linear && s.b.weight >= 0 {
		s.keep = append(s.keep, s.b.weight)
	}
	if !s.linear && s.turned {
		s.flat = c.temp(&s.base, 2*s.n*s.k, inBackward)
	}
}

// span is the greatest distance of a code from its zero point; smallest is the
// smallest code, in the count that zero uses.
func (q *fakeQuant) span(zero, smallest float32) int {
	top := smallest + q.qp - q.qn
	return int(max(zero-smallest, top-zero, 1))
}

// gradientRows is the number of rows of a gradient that are looked through for all
// that is asked of them while they are in the cache.
const gradientRows = 32

func (s *integerMatmul) fastLinear(st *State, dy []float32) {
	q := st.i16[:s.m*s.n+1]
	rows, most, factor, scale := st.tmp[:s.m], st.tmp[s.m:][:s.n], st.tmp[s.m+s.n:][:s.n], st.tmp[s.m+2*s.n:][:s.n]
	var bias []float32
	if s.bias >= 0 && s.biasRows {
		bias = target(st, &s.dbia)
	}
	ws := st.v[s.b.scale]
	for j := range factor {
		factor[j] = ws[j%len(ws)]
	}
	clear(most)
	for r := 0; r < s.m; r += gradientRows {
		m := min(gradientRows, s.m-r)
		d := dy[r*s.n:][:m*s.n]
		if s.da.want {
			kernel.QuantizeRows16(q[r*s.n:], s.n, rows[r:], d, s.n, factor, m, s.n)
		}
		if bias != nil {
			kernel.SumRows(bias, d, m, s.n)
		}
		kernel.MaxAbsCols(most, d, m, s.n)
	}
	if s.da.want {
		weight := s.b.fixed
		if weight == nil {
			weight = st.s(s.b.weight)
		}
		kernel.Gemm16(&st.w, false, s.m, s.k, s.n, q, s.n, weight, s.k, 0, s.b.span(0, s.b.qn), rows, s.da.acc, st.g[s.da.id], s.k)
	}
	if !s.db.want {
		return
	}
	zero := s.a.unsignedZero(st, 0)
	kernel.Scales16(most, scale, most, st.v[s.a.scale][0])
	kernel.Gemm16Cols(&st.w, s.m, s.n, s.k, st.u(s.a.u8), s.a.ld, int(zero), s.a.span(zero, 0), dy, s.n, most, scale, s.db.acc, st.g[s.db.id], s.n)
}

func (s *integerMatmul) fastProducts(st *State, dy []float32) {
	q := st.i16[:s.m*s.n+1]
	rows, most, scale := st.tmp[:s.m], st.tmp[s.m:][:s.n], st.tmp[s.m+s.n:][:s.n]
	var da, db []float32
	var addA, addB bool
	if s.da.want {
		da = st.g[s.da.id]
		addA = startGrad(da, s.da.acc, s.manyA || s.k == 0) == 1
	}
	if s.db.want {
		db = st.g[s.db.id]
		addB = startGrad(db, s.db.acc, s.manyB || s.m == 0) == 1
	}
	a, b, as, bs := st.u(s.a.u8), st.s(s.b.s8), st.v[s.a.scale], st.v[s.b.scale]
	for i := range s.products {
		p := &s.products[i]
		d := dy[p.y:][:s.m*s.n]
		if s.da.want {
			zero := s.b.signedZero(st, p.gb)
			kernel.QuantizeRows16(q, s.n, rows, d, s.n, nil, s.m, s.n)
			kernel.Scale(rows, rows, bs[p.gb])
			ld := s.n
			if s.turned {
				ld = s.k
			}
			kernel.Gemm16(&st.w, !s.turned, s.m, s.k, s.n, q, s.n, b[p.b:], ld, int(zero), s.b.span(zero, -s.b.half()), rows, addA, da[p.da:], s.k)
		}
		if !s.db.want {
			continue
		}
		clear(most)
		kernel.MaxAbsCols(most, d, s.m, s.n)
		kernel.Scales16(most, scale, most, as[p.ga])
		zero := s.a.unsignedZero(st, p.ga)
		to, add := db[p.b:][:s.n*s.k], addB
		if s.turned {
			to, add = st.v[s.flat][:s.n*s.k], false
		}
		kernel.Gemm16Cols(&st.w, s.m, s.n, s.k, a[p.a:], s.a.ld, int(zero), s.a.span(zero, 0), d, s.n, most, scale, add, to, s.n)
		if s.turned {
			turnInto(db[p.b:], st.v[s.flat], s.k, s.n, addB)
		}
	}
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
