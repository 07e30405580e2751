package ops

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Matrix products in floats.
var matmulOps = []*Op{
	{
		Name: "MatMul", Since: 13, In: []Param{in("A", "T", wide), in("B", "T", wide)}, Out: []Param{in("Y", "T", wide)},
		infer: func(c *call) error { return c.inferMatMul(0, 1) }, eval: evalMatMul,
		macs: func(c *call) (int64, bool) { return c.matmulMACs(0) },
	},
	{
		Name: "Gemm", Since: 13, In: []Param{in("A", "T", wide), in("B", "T", wide), opt("C", "T", wide)}, Out: []Param{in("Y", "T", wide)},
		Attrs: []Attr{attrF("alpha", 1), attrF("beta", 1), attrInt("transA", 0), attrInt("transB", 0)},
		infer: inferGemm, eval: evalGemm,
		macs: func(c *call) (int64, bool) {
			k := 1
			if c.intAttr("transA") != 0 {
				k = 0
			}
			return c.times(k)
		},
	},
}

// times multiplies the elements of the result by dimension k of input 0.
func (c *call) times(k int) (int64, bool) {
	n, ok := c.out[0].size()
	if !ok || !c.in[0].ranked || k < 0 || k >= len(c.in[0].dims) || !c.in[0].dims[k].isConst() {
		return 0, false
	}
	return mulInt(n, c.in[0].dims[k].c)
}

func (c *call) matmulMACs(a int) (int64, bool) {
	n, ok := c.out[0].size()
	d := c.in[a].dims
	if !ok || len(d) == 0 || !d[len(d)-1].isConst() {
		return 0, false
	}
	return mulInt(n, d[len(d)-1].c)
}

// inferMatMul gives output 0 the shape of the NumPy product of inputs a and b.
func (c *call) inferMatMul(a, b int) error {
	x, y := c.in[a], c.in[b]
	if !x.ranked || !y.ranked {
		return nil
	}
	if len(x.dims) == 0 || len(y.dims) == 0 {
		return c.Errorf("cannot multiply a scalar: shapes %s and %s", numsText(x.dims), numsText(y.dims))
	}
	xd, yd := matrices(x.dims, y.dims)
	k, l := xd[len(xd)-1], yd[len(yd)-2]
	if s, ok := k.cmp(l); ok && s != 0 {
		return c.Errorf("inner dimensions %s and %s differ (shapes %s and %s)", k, l, numsText(x.dims), numsText(y.dims))
	}
	out, ok := broadcastShapes(xd[:len(xd)-2], yd[:len(yd)-2])
	if !ok {
		return c.Errorf("batch dimensions of %s and %s do not broadcast", numsText(x.dims), numsText(y.dims))
	}
	out = slices.Clone(out)
	if len(x.dims) > 1 {
		out = append(out, xd[len(xd)-2])
	}
	if len(y.dims) > 1 {
		out = append(out, yd[len(yd)-1])
	}
	c.shape(0, out...)
	return nil
}

// matrices gives 1-D operands the missing dimension.
func matrices(x, y []num) ([]num, []num) {
	if len(x) == 1 {
		x = []num{known(1), x[0]}
	}
	if len(y) == 1 {
		y = []num{y[0], known(1)}
	}
	return x, y
}

// product2 is a batched matrix product in a wide type: a and b as NumPy's
// matmul takes them.
func product2[T wideNum](a, b []T, as, bs []int) []T {
	if len(as) == 1 {
		as = []int{1, as[0]}
	}
	if len(bs) == 1 {
		bs = []int{bs[0], 1}
	}
	ra, rb := len(as)-2, len(bs)-2
	m, k, n := as[ra], as[ra+1], bs[rb+1]
	batch := make([]int, max(ra, rb))
	for i := range batch {
		batch[i] = 1
		if j := i - len(batch) + ra; j >= 0 {
			batch[i] = as[j]
		}
		if j := i - len(batch) + rb; j >= 0 && bs[j] != 1 {
			batch[i] = bs[j]
		}
	}
	out := make([]T, product(batch)*m*n)
	w := newOdometer(batch, spread(as[:ra], batch), spread(bs[:rb], batch))
	for o := range product(batch) {
		multiply(out[o*m*n:][:m*n], a[w.at[0]*m*k:], b[w.at[1]*k*n:], m, k, n)
		w.next()
	}
	return out
}

// multiply adds the product of an m x k and a k x n matrix to out.
func multiply[T wideNum](out, a, b []T, m, k, n int) {
	for i := range m {
		row := out[i*n : (i+1)*n]
		for l := range k {
			x := a[i*k+l]
			for j, y := range b[l*n : (l+1)*n] {
				row[j] += x * y
			}
		}
	}
}

func evalMatMul(c *call) error {
	switch e := c.in[0].elem; {
	case e.IsFloat():
		return put(c, 0, product2(floatsOf(c.t(0)), floatsOf(c.t(1)), c.t(0).Shape, c.t(1).Shape))
	case isUnsigned(e):
		return put(c, 0, product2(unpack[uint64](c.t(0)), unpack[uint64](c.t(1)), c.t(0).Shape, c.t(1).Shape))
	}
	return put(c, 0, product2(intsOf(c.t(0)), intsOf(c.t(1)), c.t(0).Shape, c.t(1).Shape))
}

func inferGemm(c *call) error {
	for i := range 2 {
		if err := c.wantRank(i, 2, 2); err != nil {
			return err
		}
	}
	m, n := unknown, unknown
	k, l := unknown, unknown
	if d := c.in[0].dims; c.in[0].ranked {
		m, k = d[0], d[1]
		if c.intAttr("transA") != 0 {
			m, k = k, m
		}
	}
	if d := c.in[1].dims; c.in[1].ranked {
		l, n = d[0], d[1]
		if c.intAttr("transB") != 0 {
			l, n = n, l
		}
	}
	if s, ok := k.cmp(l); ok && s != 0 {
		return c.Errorf("inner dimensions %s and %s differ (shapes %s and %s)", k, l, numsText(c.in[0].dims), numsText(c.in[1].dims))
	}
	c.shape(0, m, n)
	return c.unidirectional(2, c.out[0].dims)
}

func transposed[T wideNum](v []T, rows, cols int) []T {
	out := make([]T, len(v))
	for i := range rows {
		for j := range cols {
			out[j*rows+i] = v[i*cols+j]
		}
	}
	return out
}

func evalGemm(c *call) error {
	switch e := c.in[0].elem; {
	case e.IsFloat():
		return gemm[float64](c)
	case isUnsigned(e):
		return gemm[uint64](c)
	}
	return gemm[int64](c)
}

func gemm[T wideNum](c *call) error {
	a, b := unpack[T](c.t(0)), unpack[T](c.t(1))
	as, bs := c.t(0).Shape, c.t(1).Shape
	k := as[1]
	if c.intAttr("transA") != 0 {
		a, k = transposed(a, as[0], as[1]), as[0]
	}
	if c.intAttr("transB") != 0 {
		b = transposed(b, bs[0], bs[1])
	}
	shape := c.sizes(0)
	out := make([]T, product(shape))
	multiply(out, a, b, shape[0], k, shape[1])
	alpha, beta := c.floatAttr("alpha"), c.floatAttr("beta")
	if alpha != 1 {
		for i := range out {
			out[i] = T(alpha * float64(out[i]))
		}
	}
	if c.given(2) {
		for i, x := range wideOf[T](c.t(2), shape) {
			if beta != 1 {
				x = T(beta * float64(x))
			}
			out[i] += x
		}
	}
	return put(c, 0, out)
}

// MACs counts the multiply-accumulates of one evaluation of n at the shapes on
// its values: products for MatMul, Gemm, Conv, Einsum, Attention and their
// quantised forms; 2 per element for LayerNormalization and
// RMSNormalization (the rule of method.md section 11.1, which also gives the
// convention that additions, activations and softmax count nothing). It reports
// false where a shape is not known; operators without products give 0, true.
func MACs(n *ir.Node) (int64, bool) {
	o := Lookup(n.Domain, n.Op)
	if o == nil || Validate(n) != nil {
		return 0, false
	}
	if o.macs == nil {
		return 0, true
	}
	c := &call{Node: n, op: o, in: make([]fact, len(n.Inputs)), out: make([]fact, len(n.Outputs))}
	for i, v := range n.Inputs {
		if v != nil {
			c.in[i].have = true
			c.in[i].setType(v.Type)
			c.in[i].tensor = v.Const
		}
	}
	for k, v := range n.Outputs {
		if v != nil {
			c.out[k].setType(v.Type)
		}
	}
	return o.macs(c)
}
