package runtime

import (
	"strings"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// matmul is one or many matrix products y = alpha·op(a)·op(b) (+ bias), the step
// of MatMul, Gemm and MatMul followed by Add.
type matmul struct {
	base
	a, b, y      int
	bias         int // -1: none
	da, db, dbia grad
	ta, tb       bool // as stored: a is k×m, b is n×k
	m, n, k      int
	alpha, beta  float32
	lda, ldb     int
	l            layout // over the matrices of y, a, b; strides in elements
	biasRows     bool   // bias has length n; otherwise it is one number
}

// product describes the operands of a matmul before planning.
type product struct {
	a, b, bias *ir.Value
	ta, tb     bool // on top of the stored matrices
	alpha      float32
	beta       float32
}

func buildMatMul(c *compiler, n *ir.Node) (bool, error) {
	if c.leaveToBias(n) {
		return true, nil
	}
	return c.addMatMul(n, n.Out(), product{a: n.Inputs[0], b: n.Inputs[1], alpha: 1})
}

func buildGemm(c *compiler, n *ir.Node) (bool, error) {
	p := product{a: n.Inputs[0], b: n.Inputs[1], bias: n.Input(2), alpha: n.Attrs.Float("alpha", 1), beta: n.Attrs.Float("beta", 1)}
	p.ta, p.tb = n.Attrs.Int("transA", 0) != 0, n.Attrs.Int("transB", 0) != 0
	if p.bias != nil {
		out, s := c.shape(n.Out()), c.shape(p.bias)
		if k := size(s); k != 1 && (k != out[1] || s[len(s)-1] != out[1]) {
			return false, nil // a bias per row: rare
		}
	}
	return c.addMatMul(n, n.Out(), p)
}

// leaveToBias reports whether the only reader of a MatMul with a 2-D weight is
// an Add of a bias over the last axis; the Add then makes both.
func (c *compiler) leaveToBias(n *ir.Node) bool {
	y := n.Out()
	if c.kept(y) || c.users(y) != 1 || len(c.shape(n.Inputs[1])) != 2 || len(c.shape(y)) < 2 {
		return false
	}
	for _, u := range y.Uses() {
		if !c.live[u.Node] {
			continue
		}
		if !u.Node.Is("Add") {
			return false
		}
		bias := u.Node.Inputs[1-u.Index]
		s := c.shape(bias)
		cols := c.shape(y)[len(c.shape(y))-1]
		if !isFloat(bias) || size(s) != cols || len(s) == 0 || s[len(s)-1] != cols || len(s) > len(c.shape(y)) {
			return false
		}
	}
	c.left[y] = n
	return true
}

// fusedBias makes an Add whose operand is a product left to it.
func (c *compiler) fusedBias(n *ir.Node) (bool, error) {
	for i, v := range n.Inputs {
		if m := c.left[v]; m != nil {
			return c.addMatMul(m, n.Out(), product{a: m.Inputs[0], b: m.Inputs[1], bias: n.Inputs[1-i], alpha: 1, beta: 1})
		}
	}
	return false, nil
}

// onlyFeedsMatMul reports whether all readers of a Transpose that swaps the last
// two axes are products, which can read the matrix turned.
func (c *compiler) onlyFeedsMatMul(n *ir.Node, perm []int) bool {
	r := len(perm)
	if r < 2 || c.kept(n.Out()) || perm[r-1] != r-2 || perm[r-2] != r-1 || !isFloat(n.Inputs[0]) {
		return false
	}
	for i, p := range perm[:r-2] {
		if p != i {
			return false
		}
	}
	for _, u := range n.Out().Uses() {
		turns := u.Node.Is("MatMul") || (u.Index == 3 && u.Node.Domain == ir.Domain && strings.HasPrefix(u.Node.Op, "QMatMul"))
		if c.live[u.Node] && !turns {
			return false
		}
	}
	return true
}

// settleDeferred makes the step of a value that was left to its readers and that
// a reader needs after all.
func (c *compiler) settleDeferred(v *ir.Value) {
	if x := c.turned[v]; x != nil {
		delete(c.turned, v)
		in, out := c.shape(x), c.shape(v)
		ss := rowMajor(in)
		r := len(in)
		ss[r-1], ss[r-2] = ss[r-2], ss[r-1]
		if ok, err := c.addMoves(v.Def, []block{{dst: v, src: x, dims: out, ds: rowMajor(out), ss: ss}}, 0, false); !ok || err != nil {
			panic("runtime: a matrix transpose cannot be planned")
		}
	}
	if m := c.left[v]; m != nil {
		delete(c.left, v)
		if ok, err := c.addMatMul(m, v, product{a: m.Inputs[0], b: m.Inputs[1], alpha: 1}); !ok || err != nil {
			panic("runtime: a product cannot be planned")
		}
	}
}

// matrix is one operand of a product: batch shape, stored rows and columns.
type matrix struct {
	batch      []int
	rows, cols int // of op(matrix)
	turned     bool
}

func (c *compiler) addMatMul(n *ir.Node, out *ir.Value, p product) (bool, error) {
	if !isFloat(p.a) || !isFloat(p.b) {
		return false, nil
	}
	if k := c.integerProduct(n); k != nil {
		c.addIntegerMatMul(n, out, k, p)
		return true, nil
	}
	unturn := func(v *ir.Value, t *bool) *ir.Value {
		if x := c.turned[v]; x != nil {
			*t = !*t
			return x
		}
		return v
	}
	va, vb := unturn(p.a, &p.ta), unturn(p.b, &p.tb)
	sa, sb := c.shape(va), c.shape(vb)
	if len(sa) == 1 {
		sa = []int{1, sa[0]}
	}
	if len(sb) == 1 {
		sb = []int{sb[0], 1}
	}
	A, B := describe(sa, p.ta), describe(sb, p.tb)
	s := &matmul{
		a: c.value(va), b: c.value(vb), y: c.value(out), bias: -1, ta: p.ta, tb: p.tb,
		m: A.rows, n: B.cols, k: A.cols, alpha: p.alpha, beta: p.beta,
		lda: sa[len(sa)-1], ldb: sb[len(sb)-1],
	}
	batch := broadcastShape(A.batch, B.batch)
	if size(B.batch) == 1 && !p.ta { // one product over all rows
		s.m *= size(batch)
		batch = nil
	}
	s.l = broadcastLayout(batch, A.batchOr(batch), B.batchOr(batch))
	for t, unit := range []int{s.m * s.n, A.rows * A.cols, B.rows * B.cols} {
		for i := range s.l.strides[t] {
			s.l.strides[t][i] *= unit
		}
	}
	if len(s.l.dims) > maxRank {
		return false, nil
	}
	s.in, s.out = []int{s.a, s.b}, []int{s.y}
	s.keep = []int{s.a, s.b}
	s.da.id, s.db.id = s.a, s.b
	s.dx = []*grad{&s.da, &s.db}
	if p.bias != nil {
		s.bias = c.value(p.bias)
		s.biasRows = size(c.shape(p.bias)) == s.n
		s.in = append(s.in, s.bias)
		s.dbia.id = s.bias
		s.dx = append(s.dx, &s.dbia)
	}
	c.emit(n, s)
	return true, nil
}

func describe(shape []int, turned bool) matrix {
	r := len(shape)
	m := matrix{batch: shape[:r-2], rows: shape[r-2], cols: shape[r-1], turned: turned}
	if turned {
		m.rows, m.cols = m.cols, m.rows
	}
	return m
}

// batchOr is the batch shape, or nothing when there is one product only.
func (m matrix) batchOr(batch []int) []int {
	if batch == nil {
		return nil
	}
	return m.batch
}

func broadcastShape(a, b []int) []int {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := append([]int{}, a...)
	lead := len(a) - len(b)
	for i, d := range b {
		if out[lead+i] == 1 {
			out[lead+i] = d
		}
	}
	return out
}

func (s *matmul) forward(st *State) error {
	y, a, b := st.v[s.y], st.v[s.a], st.v[s.b]
	if len(y) == 0 {
		return nil
	}
	if s.m*s.n*s.k == 0 {
		clear(y)
	} else {
		var w walk
		for {
			st.w.BatchGemm(s.l.inner(), s.ta, s.tb, s.m, s.n, s.k, s.alpha,
				a[w.at[1]:], s.lda, s.l.last(1), b[w.at[2]:], s.ldb, s.l.last(2),
				0, y[w.at[0]:], s.n, s.l.last(0))
			if !w.next(&s.l) {
				break
			}
		}
	}
	if s.bias < 0 {
		return nil
	}
	bias := st.v[s.bias]
	switch {
	case s.biasRows && s.beta == 1:
		kernel.AddBias(y, y, bias, len(y)/s.n, s.n)
	default:
		for i := range y {
			v := bias[0]
			if s.biasRows {
				v = bias[i%s.n]
			}
			y[i] += float32(s.beta * v)
		}
	}
	return nil
}

func (s *matmul) backward(st *State) {
	dy := st.g[s.y]
	if len(dy) == 0 {
		return
	}
	a, b := st.v[s.a], st.v[s.b]
	if s.da.want {
		s.backA(st, st.g[s.a], b, dy)
	}
	if s.db.want {
		s.backB(st, st.g[s.b], a, dy)
	}
	if s.bias >= 0 && s.dbia.want {
		s.backBias(st.g[s.bias], dy)
	}
}

// backA is da = dy·op(b)ᵀ, or its transpose where a is stored turned.
func (s *matmul) backA(st *State, da, b, dy []float32) {
	shared := s.l.inner() > 1 && s.l.last(1) == 0
	beta := startGrad(da, s.da.acc, shared || len(s.l.dims) > 1 || s.k == 0)
	var w walk
	for {
		cnt, sy, sa, sb := s.l.inner(), s.l.last(0), s.l.last(1), s.l.last(2)
		if s.ta {
			st.w.BatchGemm(cnt, s.tb, true, s.k, s.m, s.n, s.alpha, b[w.at[2]:], s.ldb, sb, dy[w.at[0]:], s.n, sy, beta, da[w.at[1]:], s.lda, sa)
		} else {
			st.w.BatchGemm(cnt, false, !s.tb, s.m, s.k, s.n, s.alpha, dy[w.at[0]:], s.n, sy, b[w.at[2]:], s.ldb, sb, beta, da[w.at[1]:], s.lda, sa)
		}
		if !w.next(&s.l) {
			return
		}
	}
}

// backB is db = op(a)ᵀ·dy, or its transpose where b is stored turned.
func (s *matmul) backB(st *State, db, a, dy []float32) {
	shared := s.l.inner() > 1 && s.l.last(2) == 0
	beta := startGrad(db, s.db.acc, shared || len(s.l.dims) > 1 || s.k == 0)
	var w walk
	for {
		cnt, sy, sa, sb := s.l.inner(), s.l.last(0), s.l.last(1), s.l.last(2)
		if s.tb {
			st.w.BatchGemm(cnt, true, s.ta, s.n, s.k, s.m, s.alpha, dy[w.at[0]:], s.n, sy, a[w.at[1]:], s.lda, sa, beta, db[w.at[2]:], s.ldb, sb)
		} else {
			st.w.BatchGemm(cnt, !s.ta, false, s.k, s.n, s.m, s.alpha, a[w.at[1]:], s.lda, sa, dy[w.at[0]:], s.n, sy, beta, db[w.at[2]:], s.ldb, sb)
		}
		if !w.next(&s.l) {
			return
		}
	}
}

func (s *matmul) backBias(g, dy []float32) {
	if !s.dbia.acc {
		clear(g)
	}
	switch {
	case s.biasRows && s.beta == 1:
		kernel.SumRows(g, dy, len(dy)/s.n, s.n)
	case s.biasRows:
		for i, v := range dy {
			g[i%s.n] += float32(s.beta * v)
		}
	default:
		g[0] += s.beta * sum(dy)
	}
}

// startGrad prepares a gradient for products that write it: it gives the beta of
// the first product, clearing the buffer where several products add to it.
func startGrad(g []float32, acc, many bool) float32 {
	switch {
	case acc:
		return 1
	case many:
		clear(g)
		return 1
	}
	return 0
}
