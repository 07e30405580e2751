package ops

import (
	"fmt"
	"math"

	"github.com/qvitc/qvitc/ir"
)

// The operators of domain ai.qvitc. Their arithmetic is float32 where the
// function bodies that export writes are float32, so that codes agree with ONNX
// Runtime bit for bit.
var ownOps = makeOwnOps()

// PackedBits lists the operand widths for which packed operators exist.
var PackedBits = []int{2, 3, 4, 8}

func makeOwnOps() []*Op {
	list := []*Op{{
		Domain: ir.Domain, Name: "FakeQuant",
		In:    []Param{in("x", "", f32), in("scale", "", f32), opt("zero_point", "", f32)},
		Out:   []Param{in("y", "", f32)},
		Attrs: []Attr{attrReq("bits", Int), attrReq("signed", Int), attrOpt("axis", Int)},
		infer: inferFakeQuant, eval: evalFakeQuant,
	}}
	for _, w := range PackedBits {
		for _, a := range PackedBits {
			list = append(list, qLinear(w, a), qMatMul(w, a))
		}
	}
	return list
}

func inferFakeQuant(c *call) error {
	c.like(0, 0)
	if b := c.intAttr("bits"); b < 1 || b > 16 {
		return c.Errorf("bits is %d, want 1 to 16", b)
	}
	x := &c.in[0]
	groups := known(1)
	if c.Attrs.Has("axis") {
		if !x.ranked {
			return nil
		}
		axis, err := c.axisAttr(0)
		if err != nil {
			return err
		}
		groups = x.dims[axis]
	}
	for i := 1; i < len(c.in); i++ {
		f := &c.in[i]
		if !f.have || !f.ranked {
			continue
		}
		rank := 0
		if c.Attrs.Has("axis") {
			rank = 1
		}
		s, ok := prod(f.dims).cmp(groups)
		if len(f.dims) != rank || ok && s != 0 {
			want := "[]"
			if rank == 1 {
				want = "[" + groups.String() + "]"
			}
			return c.Errorf("input %d (%s) has shape %s, want %s", i, param(c.op.In, i).Name, numsText(f.dims), want)
		}
	}
	return nil
}

// evalFakeQuant computes (q-z)*scale with q = clip(round(x/scale)+z, Qn, Qp)
// and z the rounded zero point, all in float32, half to even.
func evalFakeQuant(c *call) error {
	x := c.t(0)
	lo, hi := codeRange(c.intAttr("bits"), c.intAttr("signed") != 0)
	inner, n := 1, 1
	if c.Attrs.Has("axis") {
		axis, err := c.axisAttr(0)
		if err != nil {
			return err
		}
		n, inner = x.Shape[axis], product(x.Shape[axis+1:])
	}
	scale := c.t(1).F32()
	zp := make([]float32, len(scale))
	for i, s := range scale {
		if !(s > 0) {
			return c.Errorf("scale %d is %v: the quantiser is not calibrated", i, s)
		}
		if c.given(2) {
			zp[i] = float32(math.RoundToEven(float64(c.t(2).F32()[i])))
		}
	}
	out := make([]float64, x.Len())
	for i, v := range x.F32() {
		g := i / inner % n
		q := math.RoundToEven(float64(v/scale[g])) + float64(zp[g])
		q = min(max(q, lo), hi)
		out[i] = (q - float64(zp[g])) * float64(scale[g])
	}
	return put(c, 0, out)
}

// PackedRow is the number of bytes in which a row of k weights of the given
// bits is stored, and the shape it has after the row axis: [ceil(k/2), 1] for 4
// bits, [ceil(k/4), 1] for 2, [ceil(k/8), 3] for 3, [k] for 8.
func PackedRow(bits, k int) (bytes int, shape []int) {
	switch bits {
	case 2:
		return (k + 3) / 4, []int{(k + 3) / 4, 1}
	case 3:
		return (k + 7) / 8 * 3, []int{(k + 7) / 8, 3}
	case 4:
		return (k + 1) / 2, []int{(k + 1) / 2, 1}
	}
	return k, []int{k}
}

// UnpackRow reads k weight codes q of the given bits from a packed row: u =
// q+2^(bits-1) stands in bits LSB first; 8-bit rows hold q itself.
func UnpackRow(row []byte, bits, k int) []int8 {
	out := make([]int8, k)
	for i := range out {
		if bits == 8 {
			out[i] = int8(row[i])
			continue
		}
		u := 0
		for b := range bits {
			at := i*bits + b
			u |= int(row[at/8]>>(at%8)&1) << b
		}
		out[i] = int8(u - 1<<(bits-1))
	}
	return out
}

func qLinear(w, a int) *Op {
	weights := u8
	if w == 8 {
		weights = set(ir.Int8)
	}
	return &Op{
		Domain: ir.Domain, Name: fmt.Sprintf("QLinearW%dA%d", w, a),
		In:    []Param{in("X", "", f32), in("B", "", weights), in("Ws", "", f32), in("Xs", "", f32), in("Xz", "", u8), opt("bias", "", f32)},
		Out:   []Param{in("Y", "", f32)},
		Attrs: []Attr{attrOpt("K", Int), attrOpt("N", Int), attrOpt("bits", Int)},
		infer: func(c *call) error { return inferQLinear(c, w) },
		eval:  func(c *call) error { return evalQLinear(c, w, a) },
		macs:  func(c *call) (int64, bool) { return c.matmulMACs(0) },
	}
}

func inferQLinear(c *call, w int) error {
	x, b := &c.in[0], &c.in[1]
	if err := c.wantRank(0, 1, -1); err != nil {
		return err
	}
	for _, i := range []int{3, 4} {
		if err := c.single(i); err != nil {
			return err
		}
	}
	for _, i := range []int{2, 5} {
		if err := c.vector(i); err != nil {
			return err
		}
	}
	if !b.ranked || !x.ranked || len(b.dims) == 0 {
		return nil
	}
	n, k := b.dims[0], x.dims[len(x.dims)-1]
	if k.isConst() {
		_, tail := PackedRow(w, int(k.c))
		bad := len(b.dims) != 1+len(tail)
		for i := 0; i < len(tail) && !bad; i++ {
			bad = b.dims[1+i].isConst() && b.dims[1+i].c != int64(tail[i])
		}
		if bad {
			return c.Errorf("packed weight of shape %s does not fit K=%s at %d bits, want [%s,%v]", numsText(b.dims), k, w, n, tail)
		}
	}
	for _, i := range []int{2, 5} {
		if f := c.arg(i); f.have && f.ranked {
			if s, ok := f.dims[0].cmp(n); ok && s != 0 {
				return c.Errorf("input %d (%s) has %s values for %s rows", i, param(c.op.In, i).Name, f.dims[0], n)
			}
		}
	}
	for i, d := range []num{k, n} {
		name := []string{"K", "N"}[i]
		if c.Attrs.Has(name) && d.isConst() && int64(c.intAttr(name)) != d.c {
			return c.Errorf("attribute %s is %d, the operands say %s", name, c.intAttr(name), d)
		}
	}
	c.shape(0, append(append([]num(nil), x.dims[:len(x.dims)-1]...), n)...)
	return nil
}

// activationCodes quantises x to b-bit codes less the zero point.
func activationCodes(c *call, x, s, z *ir.Tensor, bits int) ([]int64, error) {
	zp := float64(z.Int(0))
	scale := wideOf[float64](s, x.Shape)
	_, hi := codeRange(bits, false)
	out := make([]int64, x.Len())
	for i, v := range x.F32() {
		if !(scale[i] > 0) {
			return nil, c.Errorf("activation scale is %v: the quantiser is not calibrated", scale[i])
		}
		q := math.RoundToEven(float64(v/float32(scale[i]))) + zp
		if q != q {
			q = zp
		}
		out[i] = int64(min(max(q, 0), hi) - zp)
	}
	return out, nil
}

func evalQLinear(c *call, w, a int) error {
	x, b := c.t(0), c.t(1)
	k, n := x.Shape[len(x.Shape)-1], b.Shape[0]
	xq, err := activationCodes(c, x, c.t(3), c.t(4), a)
	if err != nil {
		return err
	}
	rows := product(x.Shape[:len(x.Shape)-1])
	bytes, _ := PackedRow(w, k)
	raw := make([]byte, b.Len())
	for i := range raw {
		raw[i] = byte(b.Int(i))
	}
	wq := make([][]int8, n)
	for j := range wq {
		wq[j] = UnpackRow(raw[j*bytes:(j+1)*bytes], w, k)
	}
	ws, xs := c.t(2).F32(), c.t(3).F32()[0]
	out := make([]float64, rows*n)
	for i := range rows {
		for j := range n {
			acc := int64(0)
			for l, q := range wq[j] {
				acc += xq[i*k+l] * int64(q)
			}
			y := float32(float32(acc) * (ws[j] * xs)) // rounded before the bias on every machine
			if c.given(5) {
				y += c.t(5).F32()[j]
			}
			out[i*n+j] = float64(y)
		}
	}
	return put(c, 0, out)
}

func qMatMul(a, b int) *Op {
	return &Op{
		Domain: ir.Domain, Name: fmt.Sprintf("QMatMulA%dB%d", a, b),
		In:  []Param{in("A", "", f32), in("As", "", f32), in("Az", "", u8), in("B", "", f32), in("Bs", "", f32), in("Bz", "", u8)},
		Out: []Param{in("Y", "", f32)},
		infer: func(c *call) error {
			for _, p := range []int{0, 3} {
				if err := c.single(p + 2); err != nil {
					return err
				}
				if c.in[p].ranked {
					if err := c.unidirectional(p+1, c.in[p].dims); err != nil {
						return err
					}
				}
			}
			return c.inferMatMul(0, 3)
		},
		eval: func(c *call) error { return evalQMatMul(c, a, b) },
		macs: func(c *call) (int64, bool) { return c.matmulMACs(0) },
	}
}

func evalQMatMul(c *call, a, b int) error {
	x, err := activationCodes(c, c.t(0), c.t(1), c.t(2), a)
	if err != nil {
		return err
	}
	y, err := activationCodes(c, c.t(3), c.t(4), c.t(5), b)
	if err != nil {
		return err
	}
	acc := product2(x, y, c.t(0).Shape, c.t(3).Shape)
	shape := c.sizes(0)
	for _, p := range []int{1, 4} {
		s := tensorFact(c.t(p)).dims
		dims := c.out[0].dims
		if j, ok := broadcastShapes(dims, s); !ok || len(j) != len(dims) || !sameSizes(j, shape) {
			return c.Errorf("input %d (%s) of shape %v does not broadcast to the result %v", p, param(c.op.In, p).Name, c.t(p).Shape, shape)
		}
	}
	as, bs := wideOf[float64](c.t(1), shape), wideOf[float64](c.t(4), shape)
	out := make([]float64, len(acc))
	for i, v := range acc {
		out[i] = float64(float32(v) * (float32(as[i]) * float32(bs[i])))
	}
	return put(c, 0, out)
}
