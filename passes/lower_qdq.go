package passes

import (
	"encoding/json"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// QDQ says in which integer types QuantizeLinear and DequantizeLinear hold
// codes. The zero value is INT4 and UINT4 for widths up to 4 (opset 21), 8- and
// 16-bit types above.
type QDQ struct {
	Bytes bool // INT8 and UINT8 for all widths up to 8, cut to their width by a Clip on the codes (opset 13)
	Int2  bool // INT2 for 2-bit weights (opset 25)
	// Shift stores signed activations in bytes with one scale as UINT8 with a zero
	// point 128 higher: from opset 21 on ONNX Runtime refuses INT8 ones where it
	// moves them past a Reshape, and UINT8 ones with several scales in products.
	Shift bool
}

// elem is the type that holds codes of a width; Undefined for more than 16 bits.
func (o QDQ) elem(bits int, signed, weight bool) ir.Elem {
	e := [2]ir.Elem{ir.Uint16, ir.Int16}
	switch {
	case bits > 16:
		return ir.Undefined
	case bits > 8:
	case o.Bytes || bits > 4:
		e = [2]ir.Elem{ir.Uint8, ir.Int8}
	case bits <= 2 && o.Int2 && weight:
		e = [2]ir.Elem{ir.Uint2, ir.Int2}
	default:
		e = [2]ir.Elem{ir.Uint4, ir.Int4}
	}
	if signed {
		return e[1]
	}
	return e[0]
}

// LowerQDQ makes the pass that writes quantisers with standard operators.
func LowerQDQ(o QDQ) Pass {
	name := "lower-qdq"
	if o.Bytes {
		name = "lower-qcdq8"
	} else if o.Int2 {
		name = "lower-qdq2"
	}
	return Pass{
		Name: name,
		Doc: `write quantisers as QuantizeLinear and DequantizeLinear

A FakeQuant of an activation becomes QuantizeLinear and DequantizeLinear. Codes
narrower than their type are cut by Max and Min in front (8-bit types: by a Clip
behind). A quantised weight becomes its codes behind a DequantizeLinear; a linear
layer becomes Reshape, Gemm(transB=1) with codes [N,K], Reshape, since runtimes
compute products of other layouts with less exact kernels. A Transpose behind a
quantiser moves in front of it.`,
		Run: func(g *ir.Graph, r *Report) (bool, error) { return lowerQDQ(g, r, o) },
	}
}

type qdqLowering struct {
	QDQ
	g      *ir.Graph
	r      *Report
	names  heldNames
	widths map[string]int
	made   map[*ir.Value]*ir.Value // weights in [N,K] by the FakeQuant they stand for
}

func lowerQDQ(g *ir.Graph, r *Report, o QDQ) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	l := newQDQLowering(g, r, o)
	changed, err := l.linears()
	if err != nil {
		return changed, err
	}
	dropDead(g, &Report{Pass: r.Pass})
	for n := range g.Nodes() {
		if !n.IsOwn("FakeQuant") {
			continue
		}
		s, err := quantOf(n.Out())
		if err != nil {
			return changed, err
		}
		done := false
		switch {
		case s == nil:
		case n.Inputs[0].IsConst():
			done = l.weight(s)
		default:
			done, err = l.activation(s)
		}
		if err != nil {
			return changed, err
		}
		changed = changed || done
	}
	return changed, l.finish(changed)
}

func newQDQLowering(g *ir.Graph, r *Report, o QDQ) *qdqLowering {
	return &qdqLowering{QDQ: o, g: g, r: r, names: heldNames{g: g}, widths: map[string]int{}, made: map[*ir.Value]*ir.Value{}}
}

// linears writes every product by a quantised weight as Gemm.
func (l *qdqLowering) linears() (changed bool, err error) {
	for n := range l.g.Nodes() {
		if n.Is("MatMul") {
			done, err := l.linear(n)
			if err != nil {
				return changed, err
			}
			changed = changed || done
		}
	}
	return changed, nil
}

func (l *qdqLowering) finish(changed bool) error {
	if changed {
		dropDead(l.g, &Report{Pass: l.r.Pass})
		l.names.settle()
	}
	return noteWidths(l.g, l.widths)
}

// noteWidths stores the widths that the types of the codes do not tell.
func noteWidths(g *ir.Graph, widths map[string]int) error {
	named := map[string]int{}
	for name, bits := range widths {
		if g.Value(name).IsConst() {
			named[name] = bits
		}
	}
	if len(named) == 0 {
		return nil
	}
	text, err := json.Marshal(named) // in the order of names
	g.Meta[WidthsKey] = string(text)
	return err
}

// codesOf makes the constant of a weight's codes, cut to its width where the
// type is a byte.
func (l *qdqLowering) codesOf(before *ir.Node, s *quantSettings, e ir.Elem, codes []int32, shape ...int) *ir.Value {
	name := s.node.Inputs[0].Name
	v := l.names.add(name+"_codes", codeTensor(e, codes, shape...))
	if s.bits == e.Bits() {
		return v
	}
	if !l.Bytes || s.bits > 8 {
		l.widths[v.Name] = s.bits
		return v
	}
	lo, hi := s.bounds()
	clip := l.g.InsertBefore(before, "", "Clip", nil, []*ir.Value{v,
		l.g.AddConst(name+"_lowest", codeTensor(e, []int32{int32(lo)})), l.g.AddConst(name+"_highest", codeTensor(e, []int32{int32(hi)}))}, name+"_clipped")
	clip.Name, clip.Origin = partName(s.node, "/clip"), s.node.Origin
	clip.Out().Type = v.Type
	return l.r.rewrote(clip).Out()
}

// zeroOf makes the constant of the zero points, higher by shift; nil when all
// are 0 and that is the default. ok is false when one does not fit the type.
func (l *qdqLowering) zeroOf(s *quantSettings, e ir.Elem, shift int) (v *ir.Value, ok bool) {
	lo, hi := grid{bits: e.Bits(), signed: e.IsSigned()}.bounds()
	z, ok := s.zeroPoints(lo-shift, hi-shift)
	if !ok || s.zeroPoint == nil && e == ir.Uint8 && shift == 0 {
		return nil, ok
	}
	codes := make([]int32, len(z))
	for i := range z {
		codes[i] = int32(z[i] + shift)
	}
	shape := []int{}
	if s.axis >= 0 {
		shape = []int{len(z)}
	}
	name := strings.TrimSuffix(s.node.Inputs[1].Name, "_scale") + "_zero_point"
	if in := s.node.Input(2); in != nil {
		name = in.Name
	}
	return l.names.add(name, codeTensor(e, codes, shape...)), true
}

// linear writes a product by a quantised weight as Gemm.
func (l *qdqLowering) linear(n *ir.Node) (bool, error) {
	if n.Inputs[0].IsConst() || n.Inputs[0].Type.Rank() < 1 {
		return false, nil
	}
	w := l.made[n.Inputs[1]]
	if w == nil {
		var err error
		if w, err = l.matrix(n); w == nil {
			return false, err
		}
		l.made[n.Inputs[1]] = w
	}
	x, root := n.Inputs[0], n
	k, width := w.Type.Shape[1], w.Type.Shape[0]
	in := []*ir.Value{x, w}
	if add, bias := biasAdd(n, int(width.Size)); add != nil {
		root = add
		in = append(in, bias)
	} else if w.Def.Inputs[0].Type.Elem.Bits() == 8 {
		// without a float bias ONNX Runtime makes an integer Gemm that knows one scale only
		in = append(in, l.g.AddConst(root.Out().Name+".no_bias", ir.Of(make([]float32, width.Size), int(width.Size))))
	}
	rank := x.Type.Rank()
	if rank != 2 {
		in[0] = l.node(root, n, "Reshape", ".rows", nil, ir.Shape{ir.UnknownDim, k}, x, l.ints(root, ".rows_shape", -1, k.Size))
	}
	shape := root.Out().Type.Shape
	if rank != 2 {
		shape = ir.Shape{ir.UnknownDim, width}
	}
	gemm := l.node(root, n, "Gemm", ".gemm", ir.Attrs{"transB": int64(1)}, shape, in...)
	gemm.Def.Name, gemm.Def.Role = n.Name, n.Role
	if rank != 2 {
		gemm = l.node(root, n, "Reshape", ".out", nil, root.Out().Type.Shape, gemm, l.outShape(root, n, x, width))
	}
	substitute(l.g, root.Out(), gemm)
	l.g.Remove(root)
	if root != n {
		l.g.Remove(n)
	}
	l.r.Count("linear", 1)
	return true, nil
}

// biasAdd is the Add of a constant vector of n values behind a product.
func biasAdd(n *ir.Node, width int) (*ir.Node, *ir.Value) {
	add := soleUser(n.Out())
	if !add.Is("Add") || len(add.Inputs) != 2 {
		return nil, nil
	}
	b := other(add, n.Out())
	if !b.IsConst() || len(b.Const.Shape) != 1 || b.Const.Shape[0] != width || b.Const.Elem != ir.Float32 {
		return nil, nil
	}
	return add, b
}

// node makes a node before root that stands for a part of n.
func (l *qdqLowering) node(root, n *ir.Node, op, suffix string, attrs ir.Attrs, shape ir.Shape, in ...*ir.Value) *ir.Value {
	k := l.g.InsertBefore(root, "", op, attrs, in, root.Out().Name+suffix)
	l.r.inherit(k, n).Role = ir.Role{Block: -1}
	k.Name = partName(n, suffix)
	k.Out().Type = ir.TensorType(ir.Float32, shape)
	return k.Out()
}

func (l *qdqLowering) ints(root *ir.Node, suffix string, v ...int64) *ir.Value {
	return l.g.AddConst(root.Out().Name+suffix, ir.Of(v, len(v)))
}

// outShape is the target of the Reshape that gives the product its shape.
func (l *qdqLowering) outShape(root, n *ir.Node, x *ir.Value, width ir.Dim) *ir.Value {
	rank := x.Type.Rank()
	target := make([]int64, rank)
	free := 0
	for i, d := range x.Type.Shape[:rank-1] {
		if target[i] = d.Size; !d.Known() {
			target[i] = -1
			free++
		}
	}
	target[rank-1] = width.Size
	if free <= 1 {
		return l.ints(root, ".out_shape", target...)
	}
	of := l.node(root, n, "Shape", ".shape", ir.Attrs{"start": int64(0), "end": int64(rank - 1)}, nil, x)
	of.Type = ir.TensorType(ir.Int64, ir.Known(rank-1))
	v := l.node(root, n, "Concat", ".out_shape", ir.Attrs{"axis": int64(0)}, nil, of, l.ints(root, ".width", width.Size))
	v.Type = ir.TensorType(ir.Int64, ir.Known(rank))
	return v
}

// matrix makes the dequantised weight [N,K] of a product by W [K,N]; nil when W
// is not quantised in a way that fits.
func (l *qdqLowering) matrix(n *ir.Node) (*ir.Value, error) {
	b, err := blockWeightOf(n.Inputs[1])
	if err != nil {
		return nil, err
	}
	if b != nil {
		return l.blockMatrix(n, b), nil
	}
	s, err := quantOf(n.Inputs[1])
	if err != nil || s == nil || !s.node.Inputs[0].IsConst() || len(s.node.Inputs[0].Const.Shape) != 2 || s.axis == 0 {
		return nil, err
	}
	e := l.elem(s.bits, s.signed, true)
	zero, ok := l.zeroOf(s, e, 0)
	if e == ir.Undefined || !ok {
		return nil, nil
	}
	w := s.node.Inputs[0].Const
	k, width := w.Shape[0], w.Shape[1]
	in := []*ir.Value{l.codesOf(n, s, e, transposedCodes(s.codes(w), k, width), width, k), s.node.Inputs[1]}
	if s.zeroPoint != nil {
		in = append(in, zero)
	}
	attrs := ir.Attrs{}
	if s.axis >= 0 {
		attrs["axis"] = int64(0)
	}
	v := l.g.InsertBefore(n, "", "DequantizeLinear", attrs, in, s.node.Out().Name)
	v.Name, v.Origin = s.node.Name, s.node.Origin
	v.Out().Type = ir.TensorType(ir.Float32, ir.Known(width, k))
	return l.names.hold(l.r.rewrote(v).Out(), s.node.Out().Name), nil
}

// blockMatrix is matrix for weights with a scale for each block of a row: the
// form with block_size, which came with opset 21; nil for target of bytes.
func (l *qdqLowering) blockMatrix(n *ir.Node, b *blockWeight) *ir.Value {
	e := l.elem(b.q.bits, b.q.signed, true)
	zero, ok := l.zeroOf(b.q, e, 0)
	if l.Bytes || e == ir.Undefined || !ok {
		return nil
	}
	all := b.q.codes(b.q.node.Inputs[0].Const)
	codes := make([]int32, 0, b.rows*b.width)
	for r := range b.rows {
		codes = append(codes, all[r*b.blocks*b.size:][:b.width]...)
	}
	square := func(v *ir.Value) *ir.Value {
		t, err := v.Const.Reshaped(b.rows, b.blocks)
		if err != nil {
			panic("passes: " + err.Error())
		}
		return l.names.add(v.Name, t)
	}
	in := []*ir.Value{l.codesOf(n, b.q, e, codes, b.rows, b.width), square(b.q.node.Inputs[1])}
	if b.q.zeroPoint != nil {
		in = append(in, square(zero))
	}
	v := l.g.InsertBefore(n, "", "DequantizeLinear", ir.Attrs{"axis": int64(1), "block_size": int64(b.size)}, in, n.Inputs[1].Name)
	v.Name, v.Origin = b.q.node.Name, b.q.node.Origin
	v.Out().Type = ir.TensorType(ir.Float32, ir.Known(b.rows, b.width))
	return l.r.rewrote(v).Out()
}

// weight writes a quantised constant as codes and DequantizeLinear.
func (l *qdqLowering) weight(s *quantSettings) bool {
	n := s.node
	e := l.elem(s.bits, s.signed, true)
	zero, ok := l.zeroOf(s, e, 0)
	if e == ir.Undefined || !ok {
		return false
	}
	w := n.Inputs[0].Const
	in := []*ir.Value{l.codesOf(n, s, e, s.codes(w), w.Shape...), n.Inputs[1]}
	if s.zeroPoint != nil {
		in = append(in, zero)
	}
	attrs := ir.Attrs{}
	if s.axis >= 0 {
		attrs["axis"] = int64(s.axis)
	}
	replaceNode(l.g, l.r, n, "DequantizeLinear", attrs, "weights", in...)
	return true
}

// activation writes a quantiser as QuantizeLinear and DequantizeLinear.
func (l *qdqLowering) activation(s *quantSettings) (bool, error) {
	n := s.node
	e := l.elem(s.bits, s.signed, false)
	x := n.Inputs[0]
	shift := 0
	if e == ir.Int8 && l.Shift && s.axis < 0 {
		e, shift = ir.Uint8, 128
	}
	zero, ok := l.zeroOf(s, e, shift)
	if !ok {
		return false, zeroPointError(s)
	}
	if e == ir.Undefined || s.axis >= 0 && x.Type.Rank() < 0 {
		return false, nil
	}
	q := grid{bits: s.bits, signed: s.signed, axis: s.axis, scale: s.scale}
	for _, z := range s.zeroPoint {
		q.zero = append(q.zero, float32(z))
	}
	root := n
	if t := soleUser(n.Out()); t.Is("Transpose") && !l.g.IsOutput(n.Out()) && len(perm(t)) == x.Type.Rank() {
		p := perm(t)
		k := l.g.InsertBefore(n, "", "Transpose", t.Attrs.Clone(), []*ir.Value{x}, x.Name+".t")
		k.Out().Type = t.Out().Type
		x = l.r.inherit(k, t).Out()
		for i, a := range p {
			if q.axis >= 0 && a == q.axis {
				q.axis = i
				break
			}
		}
		root = t
	}
	lo, hi := s.bounds()
	if s.bits < e.Bits() && !(l.Bytes && s.bits <= 8) {
		x = addGuard(&l.names, l.r, n, x, q, lo, hi)
	}
	params := []*ir.Value{nil, scalarOrVector(&l.names, s)}
	if zero != nil {
		params = append(params, zero)
	}
	attrs := func() ir.Attrs {
		if q.axis < 0 {
			return nil
		}
		return ir.Attrs{"axis": int64(q.axis)}
	}
	params[0] = x
	c := l.g.InsertBefore(n, "", "QuantizeLinear", attrs(), params, n.Out().Name+".codes")
	c.Out().Type = ir.Type{Elem: e, Shape: x.Type.Shape, Ranked: x.Type.Ranked}
	l.r.inherit(c, n)
	v := c.Out()
	if s.bits < e.Bits() && l.Bytes && s.bits <= 8 {
		clip := l.g.InsertBefore(n, "", "Clip", nil, []*ir.Value{v,
			l.g.AddConst(n.Out().Name+".lowest", codeTensor(e, []int32{int32(lo + shift)})),
			l.g.AddConst(n.Out().Name+".highest", codeTensor(e, []int32{int32(hi + shift)}))}, n.Out().Name+".clipped")
		clip.Out().Type = v.Type
		v = l.r.inherit(clip, n).Out()
		clip.Name = partName(n, "/clip")
	}
	c.Name = partName(n, "/codes")
	params[0] = v
	d := l.g.InsertBefore(n, "", "DequantizeLinear", attrs(), params, root.Out().Name)
	d.Out().Type = root.Out().Type
	v = l.r.inherit(d, n).Out()
	if e.Bits() == 8 && q.axis >= 0 && readByProduct(root.Out()) {
		v = l.apart(n, v, q)
	}
	substitute(l.g, root.Out(), v)
	if root != n {
		l.g.Remove(root)
	}
	l.g.Remove(n)
	l.r.Count("activations", 1)
	return true, nil
}

func readByProduct(v *ir.Value) bool {
	for _, u := range v.Uses() {
		if u.Node.Is("MatMul") {
			return true
		}
	}
	return false
}

// apart puts a Max at the lowest value, which changes nothing, behind a
// DequantizeLinear of bytes with several scales: ONNX Runtime takes such ones
// into integer products that know one scale only, and fails when it runs them.
func (l *qdqLowering) apart(n *ir.Node, v *ir.Value, q grid) *ir.Value {
	lo, _ := q.bounds()
	k := l.g.InsertBefore(n, "", "Max", nil, []*ir.Value{v, l.g.AddConst(n.Out().Name+".lowest_value", q.cuts(lo, v.Type.Rank()))}, n.Out().Name+".apart")
	k.Out().Type = v.Type
	l.r.inherit(k, n).Name = partName(n, "/apart")
	return k.Out()
}

// scalarOrVector is the scale constant, 0-d without an axis.
func scalarOrVector(names *heldNames, s *quantSettings) *ir.Value {
	if s.axis < 0 {
		return scalarScale(names, s)
	}
	return s.node.Inputs[1]
}

// partName names a node that stands for a part of n; empty where n has no name.
func partName(n *ir.Node, suffix string) string {
	if n.Name == "" {
		return ""
	}
	return n.Name + suffix
}
