package passes

import (
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// LowerPacked makes packed low-bit operators.
var LowerPacked = Pass{
	Name: "lower-packed",
	Doc: `make QLinear and QMatMul of products whose operands are both quantised

MatMul of a FakeQuant activation and a FakeQuant weight, with the bias behind it,
becomes ai.qvitc::QLinearW{w}A{a} with the weight in true low-bit bytes. MatMul
of two FakeQuant activations becomes ai.qvitc::QMatMulA{a}B{b} with scales shaped
to broadcast; the quantiser of k passes its Transpose. The result is the same up
to the rounding of float sums.`,
	Run: lowerPacked,
}

func lowerPacked(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	changed := false
	names := heldNames{g: g}
	for n := range g.Nodes() {
		if !n.Is("MatMul") {
			continue
		}
		done, err := lowerLinear(&names, r, n)
		if err == nil && !done {
			done, err = lowerProduct(&names, r, n)
		}
		if err != nil {
			return changed, err
		}
		changed = changed || done
	}
	if changed {
		dropDead(g, &Report{Pass: r.Pass})
		names.settle()
	}
	return changed, nil
}

// heldNames makes values whose names are still held by the ones they take the
// place of, and renames them when those are gone.
type heldNames struct {
	g    *ir.Graph
	made []*ir.Value
	want []string
}

func (h *heldNames) add(name string, t *ir.Tensor) *ir.Value {
	return h.hold(h.g.AddConst(name, t), name)
}

// hold gives v the name when settle finds it free.
func (h *heldNames) hold(v *ir.Value, name string) *ir.Value {
	if v.Name != name {
		h.made, h.want = append(h.made, v), append(h.want, name)
	}
	return v
}

func (h *heldNames) settle() {
	for i, v := range h.made {
		if h.g.Value(h.want[i]) == nil && len(v.Uses()) > 0 {
			h.g.Rename(v, h.want[i])
		}
	}
}

// lowerLinear turns FakeQuant(x)·FakeQuant(W) + bias into QLinear.
func lowerLinear(names *heldNames, r *Report, n *ir.Node) (bool, error) {
	if !IsLinear(n) {
		return false, nil
	}
	g := names.g
	xq, err := quantOf(n.Inputs[0])
	if err != nil {
		return false, err
	}
	wq, err := quantOf(n.Inputs[1])
	if err != nil {
		return false, err
	}
	if xq == nil || wq == nil || xq.axis >= 0 || wq.axis == 0 || !wq.signed || wq.zeroPoint != nil || !packs(xq.bits) || !packs(wq.bits) {
		return false, nil
	}
	z, ok := xq.offset()
	if !ok {
		return false, zeroPointError(xq)
	}
	w := weightOf(n).Const
	k, width := w.Shape[0], w.Shape[1]
	packed, err := PackWeights(transposedAs[int8](wq.codes(w), k, width), width, k, wq.bits) // [N,K]
	if err != nil {
		return false, n.Errorf("%v", err)
	}
	ws := wq.node.Inputs[1]
	if wq.axis < 0 {
		scales := make([]float32, width)
		for i := range scales {
			scales[i] = wq.scale[0]
		}
		ws = names.add(ws.Name, ir.Of(scales, width))
	}
	name := LayerName(n)
	in := []*ir.Value{xq.node.Inputs[0], names.add(name+".weight_packed", packed), ws,
		scalarScale(names, xq), names.add(name+".input_offset", ir.Scalar(z))}
	root := n
	if add, bias := linearBias(n); add != nil {
		in = append(in, bias)
		root = add
	}
	op := fmt.Sprintf("QLinearW%dA%d", wq.bits, xq.bits)
	q := g.InsertBefore(root, ir.Domain, op, ir.Attrs{"K": int64(k), "N": int64(width), "bits": int64(wq.bits)}, in, root.Out().Name)
	q.Out().Type = root.Out().Type
	r.inherit(q, n).Name = name
	substitute(g, root.Out(), q.Out())
	r.Count(op, 1)
	return true, nil
}

func packs(bits int) bool { _, _, ok := packGroup(bits); return ok }

func zeroPointError(s *quantSettings) error {
	lo, hi := s.bounds()
	e := s.node.Errorf("zero point %v does not fit the codes %d to %d", s.zeroPoint, lo, hi)
	e.Tensor = s.node.Inputs[2].Name
	e.Hint = "clip zero points to the range of the codes after each training step"
	return e
}

// scalarScale is the FakeQuant's own scale constant, made 0-d where it is not.
func scalarScale(names *heldNames, s *quantSettings) *ir.Value {
	v := s.node.Inputs[1]
	if len(v.Const.Shape) == 0 {
		return v
	}
	return names.add(v.Name, ir.Scalar(s.scale[0]))
}

// lowerProduct turns a product of two fake-quantised activations into QMatMul.
func lowerProduct(names *heldNames, r *Report, n *ir.Node) (bool, error) {
	if weightOf(n) != nil {
		return false, nil
	}
	g := names.g
	var in []*ir.Value
	var bits [2]int
	name := LayerName(n)
	if k := n.Role.Kind; k != "" && !strings.HasSuffix(name, "."+k) {
		name += "." + k
	}
	var operands [2]operand
	for i, v := range n.Inputs {
		o, err := operandOf(v, i == 0)
		if err != nil || o.q == nil {
			return false, err
		}
		operands[i], bits[i] = o, o.q.bits
	}
	for i, o := range operands {
		z, ok := o.q.offset()
		if !ok {
			return false, zeroPointError(o.q)
		}
		x := o.q.node.Inputs[0]
		if o.trans != nil {
			t := g.InsertBefore(n, "", "Transpose", o.trans.Attrs.Clone(), []*ir.Value{x}, o.trans.Out().Name)
			t.Out().Type = o.trans.Out().Type
			names.hold(t.Out(), o.trans.Out().Name)
			x = r.inherit(t, o.trans).Out()
		}
		side := string("ab"[i])
		in = append(in, x, o.scale(names, n.Inputs[i].Type.Rank()), names.add(name+"."+side+"_offset", ir.Scalar(z)))
	}
	op := fmt.Sprintf("QMatMulA%dB%d", bits[0], bits[1])
	q := g.InsertBefore(n, ir.Domain, op, nil, in, n.Out().Name)
	q.Out().Type = n.Out().Type
	r.inherit(q, n).Name = name
	substitute(g, n.Out(), q.Out())
	r.Count(op, 1)
	return true, nil
}

// operand is one side of a product: a FakeQuant, maybe with a Transpose behind.
type operand struct {
	q     *quantSettings
	trans *ir.Node
}

// operandOf reads one side. Its scale may vary along the axis in front of the
// matrices, the heads: along their own axes it would not factor out of the sums.
func operandOf(v *ir.Value, first bool) (operand, error) {
	o := operand{}
	rank := v.Type.Rank()
	if t := def(v, "Transpose"); t != nil {
		o.trans, v = t, t.Inputs[0]
	}
	q, err := quantOf(v)
	if err != nil || q == nil || !packs(q.bits) {
		return operand{}, err
	}
	o.q = q
	if q.axis >= 0 {
		if rank < 3 || o.outAxis() != rank-3 {
			return operand{}, nil
		}
	}
	return o, nil
}

// outAxis is the axis of the scale after the Transpose.
func (o operand) outAxis() int {
	if o.trans == nil {
		return o.q.axis
	}
	for i, p := range perm(o.trans) {
		if p == o.q.axis {
			return i
		}
	}
	return -1
}

// scale is the scale constant shaped to broadcast against the operand.
func (o operand) scale(names *heldNames, rank int) *ir.Value {
	if o.q.axis < 0 {
		return scalarScale(names, o.q)
	}
	shape := make([]int, rank)
	for i := range shape {
		shape[i] = 1
	}
	shape[o.outAxis()] = len(o.q.scale)
	return names.add(o.q.node.Inputs[1].Name, ir.Of(append([]float32(nil), o.q.scale...), shape...))
}
