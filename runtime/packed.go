package runtime

import (
	"fmt"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// ownBuilder finds the builder of a packed operator by its name, which carries
// the widths; nil for other names.
func ownBuilder(op string) builder {
	var w, a int
	var rest string
	if n, _ := fmt.Sscanf(op, "QLinearW%dA%d%s", &w, &a, &rest); n == 2 && width(w) && width(a) {
		return func(c *compiler, n *ir.Node) (bool, error) { return buildQLinear(c, n, w, a) }
	}
	if n, _ := fmt.Sscanf(op, "QMatMulA%dB%d%s", &w, &a, &rest); n == 2 && width(w) && width(a) {
		return func(c *compiler, n *ir.Node) (bool, error) { return buildQMatMul(c, n, w, a) }
	}
	return nil
}

func width(b int) bool { return b >= 2 && b <= 4 || b == 8 }

// qlinear is a packed linear layer: codes of x times codes of the weight, summed
// exactly in int32, then y = float32(sum)·(ws·xs) + bias in float32.
type qlinear struct {
	base
	noBackward
	x, y    int
	weight  []int8 // n × k codes
	ws      []float32
	factor  []float32 // ws·xs
	offset  []int32   // zero point times the weight's row sum
	bias    []float32 // nil where left out
	xs, xz  float32
	qp      float32
	m, n, k int
	block   int // rows of one product
	kept    int // codes of x, see observe.go; -1: not kept
}

// accLimit bounds the int32 sums held at a time, in elements.
const accLimit = 1 << 18

func buildQLinear(c *compiler, n *ir.Node, wbits, abits int) (bool, error) {
	x := n.Inputs[0]
	w, ws, xs, xz := c.fixed(n.Input(1)), c.fixed(n.Input(2)), c.fixed(n.Input(3)), c.fixed(n.Input(4))
	in := c.shape(x)
	if w == nil || ws == nil || xs == nil || xz == nil || !isFloat(x) || len(in) == 0 || xs.Len() != 1 || xz.Len() != 1 || len(w.Shape) < 2 {
		return false, nil
	}
	bias := n.Input(5)
	if bias != nil && c.fixed(bias) == nil {
		return false, nil
	}
	s := &qlinear{
		x: c.value(x), y: c.value(n.Out()), k: in[len(in)-1], n: w.Shape[0], m: size(in[:len(in)-1]),
		xs: xs.F32()[0], xz: float32(xz.Int(0)), qp: float32(int(1)<<abits - 1), ws: ws.F32(), kept: -1,
	}
	if len(s.ws) != s.n {
		return false, n.Errorf("the weight has %d rows and %d scales", s.n, len(s.ws))
	}
	if bias != nil {
		if s.bias = bias.Const.F32(); len(s.bias) != s.n {
			return false, n.Errorf("the weight has %d rows and the bias %d values", s.n, len(s.bias))
		}
	}
	s.factor, s.offset = make([]float32, s.n), make([]int32, s.n)
	for j := range s.n {
		s.factor[j] = s.ws[j] * s.xs
	}
	if !c.cfg.Train && !c.cfg.NoFuse {
		return true, c.addPackedLinear(n, s, w, wbits, abits)
	}
	var err error
	if s.weight, err = unpack(w, wbits, s.n, s.k); err != nil {
		return false, n.Errorf("%v", err)
	}
	for j := range s.n {
		var t int32
		for _, q := range s.weight[j*s.k:][:s.k] {
			t += int32(q)
		}
		s.offset[j] = int32(s.xz) * t
	}
	s.block = min(s.m, max(16, accLimit/max(1, s.n)))
	c.p.u8 = max(c.p.u8, s.block*s.k)
	c.p.i32 = max(c.p.i32, s.block*s.n)
	s.in, s.out = []int{s.x}, []int{s.y}
	s.blocked = []int{s.x}
	s.err = n.Errorf("cannot be differentiated: a packed operator has no gradient; train the graph with FakeQuant before it is packed")
	c.emit(n, s)
	return true, nil
}

func (s *qlinear) forward(st *State) error {
	x, y := st.v[s.x], st.v[s.y]
	if s.n == 0 {
		return nil
	}
	for r := 0; r < s.m; r += s.block {
		m := min(s.block, s.m-r)
		codes, acc := st.u8[:m*s.k], st.i32[:m*s.n]
		kernel.QuantizeU8(codes, x[r*s.k:], s.xs, s.xz, 0, s.qp, 0)
		if s.kept >= 0 {
			copy(st.u(s.kept)[r*s.k:], codes)
		}
		st.w.IGemm(m, s.n, s.k, codes, s.k, s.weight, s.k, acc, s.n)
		for i := range m {
			s.finish(y[(r+i)*s.n:][:s.n], acc[i*s.n:][:s.n])
		}
	}
	return nil
}

// finish turns one row of sums into outputs.
func (s *qlinear) finish(y []float32, acc []int32) {
	acc, f, o := acc[:len(y)], s.factor[:len(y)], s.offset[:len(y)]
	if s.bias == nil {
		for j := range y {
			y[j] = float32(acc[j]-o[j]) * f[j]
		}
		return
	}
	b := s.bias[:len(y)]
	for j := range y {
		y[j] = float32(float32(acc[j]-o[j])*f[j]) + b[j]
	}
}

// qmatmul is the product of two quantised activations, summed exactly:
// y = float32(Σ (qa-za)·(qb-zb))·(as·bs). Scales may differ between the matrices
// of a batch, such as by head.
type qmatmul struct {
	base
	noBackward
	a, b, y  int
	products []qproduct
	m, n, k  int
	za, zb   int32 // zero points; that of b counts from the middle of its codes
	qa       float32
	half     float32 // codes of b are stored less this
	turned   bool    // b is stored n × k

	abits, bbits int
	gridA, gridB []kernel.Grid // quantisers by matrix: of a, and of b as unsigned codes
	keptA, keptB int           // codes, see observe.go; -1: not kept
}

// qproduct is one matrix product of the batch.
type qproduct struct {
	a, b, y int // offsets
	as, bs  float32
}

func buildQMatMul(c *compiler, n *ir.Node, abits, bbits int) (bool, error) {
	as, az, bs, bz := c.fixed(n.Input(1)), c.fixed(n.Input(2)), c.fixed(n.Input(4)), c.fixed(n.Input(5))
	va, vb := n.Inputs[0], n.Inputs[3]
	if as == nil || bs == nil || az == nil || bz == nil || az.Len() != 1 || bz.Len() != 1 || !isFloat(va) || !isFloat(vb) {
		return false, nil
	}
	s := &qmatmul{za: int32(az.Int(0)), qa: float32(int(1)<<abits - 1), half: float32(int(1) << (bbits - 1)), abits: abits, bbits: bbits, keptA: -1, keptB: -1}
	s.zb = int32(bz.Int(0)) - int32(s.half)
	if x := c.turned[vb]; x != nil {
		s.turned, vb = true, x
	}
	sa, sb := c.shape(va), c.shape(vb)
	if len(sa) < 2 || len(sb) < 2 {
		return false, nil
	}
	A, B := describe(sa, false), describe(sb, s.turned)
	s.m, s.k, s.n = A.rows, A.cols, B.cols
	batch := broadcastShape(A.batch, B.batch)
	scaleA, okA := perMatrix(as, batch)
	scaleB, okB := perMatrix(bs, batch)
	if !okA || !okB {
		return false, nil
	}
	l := layout{dims: batch, strides: [][]int{rowMajor(batch), broadcastStrides(A.batch, batch), broadcastStrides(B.batch, batch)}}
	for i := range size(batch) {
		p := qproduct{y: i * s.m * s.n, as: scaleA(i), bs: scaleB(i)}
		rest := i
		for d := len(batch) - 1; d >= 0; d-- {
			at := rest % batch[d]
			rest /= batch[d]
			p.a += at * l.strides[1][d] * s.m * s.k
			p.b += at * l.strides[2][d] * s.k * s.n
		}
		s.products = append(s.products, p)
		s.gridA = append(s.gridA, c.kernelGrid(grid{p.as, float32(s.za), s.qa}))
		s.gridB = append(s.gridB, c.kernelGrid(grid{p.bs, float32(bz.Int(0)), float32(int(1)<<bbits - 1)}))
	}
	s.a, s.b, s.y = c.value(va), c.value(vb), c.value(n.Out())
	s.in, s.out = []int{s.a, s.b}, []int{s.y}
	s.blocked = []int{s.a, s.b}
	s.err = n.Errorf("cannot be differentiated: a packed operator has no gradient; train the graph with FakeQuant before it is packed")
	c.p.u8 = max(c.p.u8, s.m*s.k)
	c.p.i8 = max(c.p.i8, 2*s.k*s.n)
	c.p.i32 = max(c.p.i32, s.m*s.n+s.n+s.m)
	c.emit(n, s)
	return true, nil
}

// perMatrix reads a scale that is one number for each matrix of a batch.
func perMatrix(t *ir.Tensor, batch []int) (func(i int) float32, bool) {
	v := t.F32()
	if len(v) == 1 {
		return func(int) float32 { return v[0] }, true
	}
	r := len(t.Shape)
	if v == nil || r < 2 || t.Shape[r-1] != 1 || t.Shape[r-2] != 1 || r-2 > len(batch) {
		return nil, false
	}
	st := broadcastStrides(t.Shape[:r-2], batch)
	return func(i int) float32 {
		at := 0
		for d := len(batch) - 1; d >= 0; d-- {
			at += i % batch[d] * st[d]
			i /= batch[d]
		}
		return v[at]
	}, true
}

func (s *qmatmul) forward(st *State) error {
	a, b, y := st.v[s.a], st.v[s.b], st.v[s.y]
	ua := st.u8[:s.m*s.k]
	ub, ut := st.i8[:s.k*s.n], st.i8[s.k*s.n:2*s.k*s.n]
	acc := st.i32[:s.m*s.n]
	colSum, rowSum := st.i32[s.m*s.n:][:s.n], st.i32[s.m*s.n+s.n:][:s.m]
	for i := range s.products {
		p := &s.products[i]
		kernel.QuantizeU8(ua, a[p.a:], p.as, float32(s.za), 0, s.qa, 0)
		kernel.QuantizeS8(ub, b[p.b:], p.bs, float32(s.zb), -s.half, s.half-1)
		if s.keptA >= 0 {
			s.keep(st, p, ua, ub)
		}
		bt := ub
		if !s.turned {
			bt = ut
			for r := range s.k {
				for j, q := range ub[r*s.n:][:s.n] {
					bt[j*s.k+r] = q
				}
			}
		}
		st.w.IGemm(s.m, s.n, s.k, ua, s.k, bt, s.k, acc, s.n)
		// Σ(qa-za)(qb-zb) = Σqa·qb - za·Σqb - zb·Σqa + k·za·zb
		clear(colSum)
		if s.za != 0 {
			for j := range colSum {
				var t int32
				for _, q := range bt[j*s.k:][:s.k] {
					t += int32(q)
				}
				colSum[j] = s.za*t - int32(s.k)*s.za*s.zb
			}
		}
		clear(rowSum)
		if s.zb != 0 {
			for r := range rowSum {
				var t int32
				for _, q := range ua[r*s.k:][:s.k] {
					t += int32(q)
				}
				rowSum[r] = s.zb * t
			}
		}
		f := p.as * p.bs
		for r := range s.m {
			d := y[p.y+r*s.n:][:s.n]
			t, q := acc[r*s.n:][:len(d)], colSum[:len(d)]
			for j := range d {
				d[j] = float32(t[j]-q[j]-rowSum[r]) * f
			}
		}
	}
	return nil
}
