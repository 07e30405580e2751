package runtime

import (
	"slices"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// A product whose operands are both FakeQuant runs on integer codes, just as the
// packed operator does that it is exported as: the student answers with the bits
// of its file. The quantiser then gives codes, a byte each, and no floats at all
// where nobody else reads them; its output is a ghost, which has a gradient but
// no data.

// codeReaders says in which forms a quantiser's output is read.
type codeReaders struct {
	floats   bool
	unsigned bool // first operand: u8 codes, counted from Qn
	signed   bool // second operand: s8 codes, in the layout of the floats
	weight   bool // second operand of a linear layer: s8 codes, transposed
}

func (c *compiler) codeReaders(v *ir.Value) codeReaders {
	var r codeReaders
	if c.kept(v) {
		r.floats = true
	}
	for _, u := range v.Uses() {
		if !c.live[u.Node] {
			continue
		}
		p := c.integerProduct(u.Node)
		switch {
		case p == nil && u.Node.Is("Transpose") && c.turnsCodes(u.Node):
			r.signed = true
		case p == nil:
			r.floats = true
		case u.Index == 0:
			r.unsigned = true
		case p.linear:
			r.weight = true
		default:
			r.signed = true
		}
	}
	return r
}

// codeProduct is a MatMul that runs on codes.
type codeProduct struct {
	a, b   *ir.Node // the quantisers
	linear bool     // b quantises a constant matrix
	turned bool     // b is behind a Transpose of its last two axes
}

// integerProduct recognises the products that passes.LowerPacked packs; nil for
// all other nodes.
func (c *compiler) integerProduct(n *ir.Node) *codeProduct {
	if !n.Is("MatMul") || c.cfg.floatProducts {
		return nil
	}
	p := &codeProduct{a: codeSource(n.Inputs[0]), b: codeSource(n.Inputs[1])}
	if t := n.Inputs[1].Def; p.b == nil && t != nil && t.Is("Transpose") && c.turnsCodes(t) {
		p.b, p.turned = codeSource(t.Inputs[0]), true
	}
	if p.a == nil || p.b == nil {
		return nil
	}
	if w := p.b.Inputs[0]; w.Const != nil && len(c.shape(w)) == 2 && !p.turned {
		p.linear = true
		perColumn := !p.b.Attrs.Has("axis") || wrapAxis(p.b.Attrs.Int("axis", 0), 2) == 1
		if p.a.Attrs.Has("axis") || !perColumn || p.b.Attrs.Int("signed", 0) == 0 || p.b.Input(2) != nil {
			return nil
		}
		return p
	}
	if !c.scaleByMatrix(p.a) || !c.scaleByMatrix(p.b) {
		return nil
	}
	return p
}

// turnsCodes reports whether a Transpose swaps the last two axes of quantised
// values for products alone, which read the codes as they lie.
func (c *compiler) turnsCodes(t *ir.Node) bool {
	q := codeSource(t.Inputs[0])
	if c.cfg.floatProducts || q == nil || c.kept(t.Out()) || !c.scaleByMatrix(q) {
		return false
	}
	perm := t.Attrs.Ints("perm")
	r := len(c.shape(t.Out()))
	if r < 2 || len(perm) != r || perm[r-1] != r-2 || perm[r-2] != r-1 {
		return false
	}
	for i, p := range perm[:r-2] {
		if p != i {
			return false
		}
	}
	for _, u := range t.Out().Uses() {
		if len(c.live) > 0 && !c.live[u.Node] {
			continue
		}
		if !u.Node.Is("MatMul") || u.Index != 1 {
			return false
		}
		if a := codeSource(u.Node.Inputs[0]); a == nil || !c.scaleByMatrix(a) {
			return false
		}
	}
	return true
}

// codeSource gives the FakeQuant that makes v if its codes fit a byte.
func codeSource(v *ir.Value) *ir.Node {
	n := v.Def
	if n == nil || !n.IsOwn("FakeQuant") || !isFloat(n.Inputs[0]) || !isFloat(n.Inputs[1]) || n.Input(2) != nil && !isFloat(n.Input(2)) {
		return nil
	}
	if !width(n.Attrs.Int("bits", 8)) {
		return nil
	}
	return n
}

// scaleByMatrix reports whether the scale of a quantiser is the same within each
// matrix of its last two axes.
func (c *compiler) scaleByMatrix(q *ir.Node) bool {
	r := len(c.shape(q.Inputs[0]))
	return r >= 2 && (!q.Attrs.Has("axis") || wrapAxis(q.Attrs.Int("axis", 0), r) < r-2)
}

// code makes a value of n codes for the step b.
func (c *compiler) code(b *base, n int) int {
	id := c.add(value{elem: ir.Uint8, shape: []int{n}, n: n, kind: asCodes, param: -1})
	b.out = append(b.out, id)
	return id
}

// addCodes makes the values of the forms in which the quantiser is read.
func (c *compiler) addCodes(s *fakeQuant, r codeReaders) {
	n := s.outer * s.groups * s.inner
	if r.unsigned {
		// Rows are padded to whole words, as kernel.Tile reads them.
		in := c.shape(s.node.Inputs[0])
		s.cols = max(1, in[len(in)-1])
		s.ld = (s.cols + 3) &^ 3
		s.u8 = c.code(&s.base, n/s.cols*s.ld)
	}
	if r.signed {
		s.s8 = c.code(&s.base, n)
	}
	if r.weight {
		s.weight = c.code(&s.base, n)
		s.flat = c.temp(&s.base, n, inForward)
	}
	if !r.floats {
		c.p.values[s.y].kind = ghost
	}
}

// zeroAt is the zero point of group g, rounded.
func (s *fakeQuant) zeroAt(st *State, g int) float32 {
	if s.zr < 0 {
		return 0
	}
	return st.v[s.zr][g]
}

// unsignedZero is the zero point that counts from the smallest code.
func (s *fakeQuant) unsignedZero(st *State, g int) float32 { return s.zeroAt(st, g) - s.qn }

// signedZero is the zero point that counts from the middle of the codes.
func (s *fakeQuant) signedZero(st *State, g int) float32 { return s.zeroAt(st, g) - s.qn - s.half() }

// half is the distance of unsigned and signed codes.
func (s *fakeQuant) half() float32 { return (s.qp - s.qn + 1) / 2 }

// geluRun is about how many elements of a GELU are made at a time, and how many are
// looked at before they are encoded: while they are in the cache.
const geluRun = 4096

// encode writes the codes that products read.
func (s *fakeQuant) encode(st *State) error {
	x, scale := st.v[s.x], st.v[s.scale]
	run := geluRun
	if s.u8 >= 0 {
		run = max(1, geluRun/s.cols) * s.cols
	}
	for i := range s.outer * s.groups {
		g := i % s.groups
		for at, end := i*s.inner, (i+1)*s.inner; at < end; at += run {
			v := x[at:min(at+run, end)]
			if err := s.check(st, at, v); err != nil {
				return err
			}
			if s.gelu {
				y := st.tmp[:len(v)]
				kernel.Gelu(y, v)
				v = y
			}
			if s.u8 >= 0 {
				s.encodeRows(st.u(s.u8)[at/s.cols*s.ld:], v, scale[g], s.unsignedZero(st, g))
			}
			if s.s8 >= 0 {
				kernel.QuantizeS8(st.s(s.s8)[at:][:len(v)], v, scale[g], s.signedZero(st, g), -s.half(), s.half()-1)
			}
		}
	}
	return nil
}

func (s *fakeQuant) encodeRows(dst []uint8, x []float32, scale, zero float32) {
	cols := s.cols
	if s.ld == cols {
		cols = len(x)
	}
	for len(x) > 0 {
		kernel.QuantizeU8(dst[:cols], x, scale, zero, 0, s.qp-s.qn, 0)
		if x = x[cols:]; len(x) > 0 {
			dst = dst[s.ld:]
		}
	}
}

// encodeWeight writes the codes of a K×N matrix as N×K.
func (s *fakeQuant) encodeWeight(st *State) {
	s.encodeTurned(st.s(s.weight), st.v[s.flat], st.v[s.x], st.v[s.scale])
}

func (s *fakeQuant) encodeTurned(codes []int8, flat, w, scale []float32) {
	n := s.columns
	k := len(w) / max(1, n)
	kernel.Transpose(flat, w, k, n)
	for j := range n {
		kernel.QuantizeS8(codes[j*k:][:k], flat[j*k:], scale[j%len(scale)], 0, s.qn, s.qp)
	}
}

// operandShape is what products must agree on to pack into the same memory.
type operandShape struct{ bits, abits, n, k int }

// operand gives the place in State.operands of a right-hand side.
func (c *compiler) operand(o operandShape) int {
	i := slices.Index(c.p.operands, o)
	if i < 0 {
		i = len(c.p.operands)
		c.p.operands = append(c.p.operands, o)
	}
	return i
}

// fixedWeight quantises a weight that no parameter can change, once.
func (c *compiler) fixedWeight(s *fakeQuant, n *ir.Node) error {
	w, scale := n.Inputs[0].Const.F32(), n.Inputs[1].Const.F32()
	if err := s.checkScale(scale); err != nil {
		return err
	}
	s.fixed = make([]int8, len(w))
	s.encodeTurned(s.fixed, make([]float32, len(w)), w, scale)
	return nil
}

// quantiseTurned moves quantisers behind a Transpose that products alone read
// and that they cannot read through: rounding commutes with moving.
func (c *compiler) quantiseTurned() {
	tapped := func(v *ir.Value) bool {
		for _, t := range c.cfg.Taps {
			if c.of[t] == v {
				return true
			}
		}
		return c.g.IsOutput(v)
	}
	for t := range c.g.Nodes() {
		if !t.Is("Transpose") || t.Inputs[0] == nil || len(t.Inputs[0].Uses()) != 1 || c.turnsCodes(t) {
			continue
		}
		q := codeSource(t.Inputs[0])
		perm := t.Attrs.Ints("perm")
		if q == nil || len(perm) == 0 || tapped(q.Out()) || tapped(t.Out()) {
			continue
		}
		products := len(t.Out().Uses()) > 0
		for _, u := range t.Out().Uses() {
			products = products && u.Node.Is("MatMul")
		}
		if !products {
			continue
		}
		moved := c.g.InsertBefore(t, "", "Transpose", t.Attrs.Clone(), []*ir.Value{q.Inputs[0]}, t.Out().Name+"/moved")
		moved.Name, moved.Origin = t.Name, t.Origin
		moved.Out().Type = t.Out().Type
		attrs := q.Attrs.Clone()
		if attrs.Has("axis") {
			attrs["axis"] = int64(slices.Index(perm, wrapAxis(attrs.Int("axis", 0), len(perm))))
		}
		in := slices.Clone(q.Inputs)
		in[0] = moved.Out()
		coded := c.g.InsertBefore(t, ir.Domain, "FakeQuant", attrs, in, t.Out().Name+"/coded")
		coded.Name, coded.Origin = q.Name, q.Origin
		coded.Out().Type = t.Out().Type
		c.g.ReplaceUses(t.Out(), coded.Out())
		c.g.Remove(t)
		c.g.Remove(q)
	}
}
