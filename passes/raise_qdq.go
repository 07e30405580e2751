package passes

import (
	"math"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// RaiseQDQ turns QuantizeLinear and DequantizeLinear back into quantisers.
var RaiseQDQ = Pass{
	Name: "raise-qdq",
	Doc: `make FakeQuant of QuantizeLinear and DequantizeLinear

A DequantizeLinear of constant codes becomes a FakeQuant of the values they stand
for; int32 codes (biases) become float constants; codes with block scales become
rows of one block each, reshaped behind the FakeQuant. QuantizeLinear and the
DequantizeLinear that undo it become one FakeQuant. Clip on the codes between
them, and Max and Min in front that cut at the values of the lowest and highest
code, give the width of the codes.`,
	Run: raiseQDQ,
}

func raiseQDQ(g *ir.Graph, r *Report) (bool, error) {
	changed := false
	for n := range g.Nodes() {
		if n.Domain == ir.Microsoft && (n.Op == "QuantizeLinear" || n.Op == "DequantizeLinear") {
			n.Domain = "" // the contrib operator is the standard one with more types
			r.Count("contrib", 1)
			changed = true
		}
	}
	if _, err := ops.Infer(g); err != nil {
		return changed, err
	}
	z := newRaiser(g, r)
	for n := range g.Nodes() {
		switch {
		case n.Is("DequantizeLinear"):
			changed = z.dequantise(n) || changed
		case n.Is("QuantizeLinear"):
			changed = z.pair(n) || changed
		}
	}
	z.finish(changed)
	return changed, nil
}

// gridOf reads scale, zero point and axis of a QuantizeLinear or
// DequantizeLinear for codes of elem; ok is false when they are not constants.
func gridOf(n *ir.Node, elem ir.Elem) (q grid, ok bool) {
	scale, ok := floats(n.Input(1))
	if !ok || n.Input(2) != nil && !n.Input(2).IsConst() || !elem.IsInt() || elem.Bits() > 16 {
		return q, false
	}
	q = grid{bits: elem.Bits(), signed: elem.IsSigned(), axis: -1, scale: scale, zero: numbers(n.Input(2))}
	if len(q.zero) == 1 && len(scale) > 1 {
		return q, false
	}
	if len(scale) > 1 {
		if q.axis = axisAttr(n, "axis", 1, n.Inputs[0].Type.Rank()); q.axis < 0 {
			return q, false
		}
	}
	return q, true
}

// dequantise replaces a DequantizeLinear of constant codes.
func (z *raiser) dequantise(n *ir.Node) bool {
	codes, clip := n.Inputs[0], def(n.Inputs[0], "Clip")
	if clip != nil {
		codes = clip.Inputs[0]
	}
	if !codes.IsConst() || z.g.IsOutput(n.Out()) && len(n.Out().Uses()) == 0 {
		return false
	}
	if codes.Const.Elem == ir.Int32 && clip == nil {
		return z.plain(n)
	}
	q, ok := gridOf(n, codes.Const.Elem)
	if !ok {
		z.r.Note(n, "DequantizeLinear stays: its scale is not a float32 constant")
		return false
	}
	if clip != nil {
		lo, hi, ok := codeBounds(clip)
		if !ok {
			return false
		}
		q.bits = widthFor(lo, hi, q)
	}
	c := codesOf(codes.Const)
	if w := z.widths[codes.Name]; w > 0 && w < q.bits && fitsWidth(c, w, q.signed) {
		q.bits = w
	}
	for _, s := range q.scale {
		if s != s || math.IsInf(float64(s), 0) {
			z.r.Note(n, "DequantizeLinear stays: its scale has the value %v", s)
			return false
		}
	}
	var v *ir.Value
	if block := n.Attrs.Int("block_size", 0); block > 0 {
		if v = z.blocks(n, c, codes, q, block); v == nil {
			z.r.Note(n, "DequantizeLinear stays: blocks of a tensor of shape %v", codes.Const.Shape)
			return false
		}
	} else {
		v = z.weight(n, c, codes.Const.Shape, q, codes.Name, n.Inputs[1].Name)
	}
	z.replaceOut(n, v)
	z.r.Count("weights", 1)
	return true
}

// replaceOut puts v in the place of n's output and removes n.
func (z *raiser) replaceOut(n *ir.Node, v *ir.Value) {
	z.g.ReplaceUses(n.Out(), v)
	z.g.Remove(n)
}

// plain turns codes that no FakeQuant holds into a float constant.
func (z *raiser) plain(n *ir.Node) bool {
	in := make([]*ir.Tensor, len(n.Inputs))
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		if !v.IsConst() {
			return false
		}
		in[i] = v.Const
	}
	out, err := ops.Eval(n, in)
	if err != nil {
		z.r.Note(n, "DequantizeLinear stays: %v", err)
		return false
	}
	z.replaceOut(n, z.names.add(n.Inputs[0].Name, out[0]))
	z.r.Count("int32 constants", 1)
	return true
}

// codeBounds reads the constant bounds of a Clip on codes.
func codeBounds(clip *ir.Node) (lo, hi int, ok bool) {
	lo, hi = math.MinInt32, math.MaxInt32
	for i, p := range []*int{&lo, &hi} {
		v := clip.Input(i + 1)
		if v == nil {
			continue
		}
		if !v.IsConst() || v.Const.Len() != 1 || !v.Const.Elem.IsInt() {
			return 0, 0, false
		}
		*p = int(v.Const.Int(0))
	}
	return lo, hi, true
}

// widthFor is the smallest width of codes of q's sign that holds [lo, hi]; at
// most q's own.
func widthFor(lo, hi int, q grid) int {
	for b := 1; b < q.bits; b++ {
		w := q
		w.bits = b
		if l, h := w.bounds(); l <= lo && hi <= h {
			return b
		}
	}
	return q.bits
}

func (q grid) bounds() (int, int) {
	return (&quantSettings{bits: q.bits, signed: q.signed}).bounds()
}

func fitsWidth(codes []int32, bits int, signed bool) bool {
	lo, hi := grid{bits: bits, signed: signed}.bounds()
	return !slices.ContainsFunc(codes, func(c int32) bool { return int(c) < lo || int(c) > hi })
}

// pair replaces a QuantizeLinear whose readers are DequantizeLinear nodes that
// undo it, or Clip nodes on the codes in front of such.
func (z *raiser) pair(n *ir.Node) bool {
	elem := n.Out().Type.Elem
	q, ok := gridOf(n, elem)
	if !ok || !q.usable() || n.Attrs.Int("block_size", 0) != 0 || z.g.IsOutput(n.Out()) || len(n.Out().Uses()) == 0 || n.Inputs[0].Type.Elem != ir.Float32 {
		return false
	}
	type end struct{ clip, dq *ir.Node }
	var ends []end
	for _, u := range n.Out().Uses() {
		if u.Index != 0 {
			return false
		}
		e := end{dq: u.Node}
		if u.Node.Is("Clip") {
			if e.clip, e.dq = u.Node, soleUser(u.Node.Out()); z.g.IsOutput(u.Node.Out()) {
				return false
			}
			if _, _, ok := codeBounds(e.clip); !ok {
				return false
			}
		}
		if !e.dq.Is("DequantizeLinear") || !undoes(n, e.dq) {
			return false
		}
		ends = append(ends, e)
	}
	shift := 0
	if u := q.unshifted(); u.signed && !q.signed {
		q, shift = u, 1<<(q.bits-1)
	}
	for _, e := range ends {
		x, w := n.Inputs[0], q
		if e.clip != nil {
			lo, hi, _ := codeBounds(e.clip)
			lo, hi = max(lo, -1<<16)-shift, min(hi, 1<<16)-shift
			w.bits = widthFor(lo, hi, q)
			if l, h := w.bounds(); l < lo || hi < h { // a range that is no width, as [-7, 7]
				x = z.guard(n, x, w, lo, hi)
			}
		} else {
			x, w = z.guarded(x, w)
		}
		v := z.quantise(n, x, w, n.Inputs[1].Name, zeroName(n))
		z.dropFloor(e.dq, w)
		out := e.dq.Out()
		if !z.g.IsOutput(out) {
			z.g.ReplaceUses(out, v)
		} else {
			substitute(z.g, out, v)
		}
		z.g.Remove(e.dq)
	}
	z.r.Count("activations", 1)
	return true
}

func zeroName(n *ir.Node) string {
	if z := n.Input(2); z != nil {
		return z.Name
	}
	return LayerName(n) + "_zero_point"
}

// dropFloor removes a Max behind a DequantizeLinear that cuts at the value of the
// lowest code.
func (z *raiser) dropFloor(dq *ir.Node, q grid) {
	n := soleUser(dq.Out())
	if !n.Is("Max") || len(n.Inputs) != 2 || n.Inputs[0] != dq.Out() || z.g.IsOutput(n.Out()) || z.g.IsOutput(dq.Out()) {
		return
	}
	if lo, _ := q.bounds(); q.cutsAt(n.Inputs[1], lo, dq.Out().Type.Rank()) {
		z.g.ReplaceUses(n.Out(), dq.Out())
		z.g.Remove(n)
	}
}

// undoes reports whether dq has the scale and zero point of q.
func undoes(q, dq *ir.Node) bool {
	if dq.Attrs.Int("block_size", 0) != 0 || dq.Out().Type.Elem != ir.Float32 {
		return false
	}
	for i := 1; i <= 2; i++ {
		if b := dq.Input(i); b != nil && !b.IsConst() {
			return false
		}
		x, y := numbers(q.Input(i)), numbers(dq.Input(i))
		if x == nil {
			x = make([]float32, len(y)) // no zero point: 0
		}
		if y == nil {
			y = make([]float32, len(x))
		}
		if !slices.Equal(x, y) {
			return false
		}
	}
	rank := q.Inputs[0].Type.Rank()
	return q.Inputs[1].Const.Len() == 1 || axisAttr(q, "axis", 1, rank) == axisAttr(dq, "axis", 1, rank)
}

// cut is the value of a code: where a guard in front of a quantiser cuts.
func (q grid) cut(code, group int) float32 {
	zero := float32(0)
	if q.zero != nil {
		zero = q.zero[group]
	}
	return (float32(code) - zero) * q.scale[group]
}

// cuts holds the value of a code for each group, shaped to broadcast.
func (q grid) cuts(code, rank int) *ir.Tensor {
	bound := make([]float32, len(q.scale))
	for g := range bound {
		bound[g] = q.cut(code, g)
	}
	if q.axis < 0 {
		return ir.Scalar(bound[0])
	}
	shape := make([]int, rank-q.axis)
	for d := range shape {
		shape[d] = 1
	}
	shape[0] = len(bound)
	return ir.Of(bound, shape...)
}

// guarded looks through Min(Max(x, low), high) or Clip(x, low, high) whose
// bounds are the values of the lowest and highest code of some width below that
// of q: the input of the guard and q at that width; x and q where there is none.
func (z *raiser) guarded(x *ir.Value, q grid) (*ir.Value, grid) {
	inner, lo, hi := guardOf(x)
	if inner == nil {
		return x, q
	}
	for b := 1; b < q.bits; b++ {
		w := q
		w.bits = b
		l, h := w.bounds()
		if w.cutsAt(lo, l, inner.Type.Rank()) && w.cutsAt(hi, h, inner.Type.Rank()) {
			return inner, w
		}
	}
	return x, q
}

// guardOf takes a guard apart; nil when x is not one.
func guardOf(x *ir.Value) (inner, lo, hi *ir.Value) {
	if c := def(x, "Clip"); c != nil && len(c.Inputs) == 3 && c.Inputs[1].IsConst() && c.Inputs[2].IsConst() {
		return c.Inputs[0], c.Inputs[1], c.Inputs[2]
	}
	lower := def(x, "Min")
	if lower == nil || len(lower.Inputs) != 2 || !lower.Inputs[1].IsConst() {
		return nil, nil, nil
	}
	upper := def(lower.Inputs[0], "Max")
	if upper == nil || len(upper.Inputs) != 2 || !upper.Inputs[1].IsConst() {
		return nil, nil, nil
	}
	return upper.Inputs[0], upper.Inputs[1], lower.Inputs[1]
}

// cutsAt reports whether the constant holds the value of a code for each group,
// shaped to broadcast along the axis of the groups.
func (q grid) cutsAt(v *ir.Value, code, rank int) bool {
	c, ok := floats(v)
	if !ok || len(c) != len(q.scale) {
		return false
	}
	if axis, ok := scaleAxis(v.Const.Shape, rank); !ok || len(c) > 1 && axis != q.axis {
		return false
	}
	for i := range c {
		if c[i] != q.cut(code, i) {
			return false
		}
	}
	return true
}

// guard puts Max and Min in front of a quantiser whose codes use only [lo, hi].
func (z *raiser) guard(before *ir.Node, x *ir.Value, q grid, lo, hi int) *ir.Value {
	if l, h := q.bounds(); lo < l || hi > h {
		lo, hi = max(lo, l), min(hi, h)
	}
	return addGuard(&z.names, z.r, before, x, q, lo, hi)
}

// addGuard cuts x at the values of the codes lo and hi.
func addGuard(names *heldNames, r *Report, before *ir.Node, x *ir.Value, q grid, lo, hi int) *ir.Value {
	for i, op := range []string{"Max", "Min"} {
		name := x.Name + []string{".low", ".cut"}[i]
		t := q.cuts([]int{lo, hi}[i], x.Type.Rank())
		k := names.g.InsertBefore(before, "", op, nil, []*ir.Value{x, names.g.AddConst(name+"_bound", t)}, name)
		k.Out().Type = x.Type
		k.Name = partName(before, []string{"/low", "/cut"}[i])
		k.Origin = before.Origin
		x = r.rewrote(k).Out()
	}
	return x
}
