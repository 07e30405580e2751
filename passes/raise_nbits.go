package passes

import (
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// RaiseNBits turns weight-only products of ONNX Runtime back into quantisers.
var RaiseNBits = Pass{
	Name: "raise-nbits",
	Doc: `make MatMul by a FakeQuant weight of com.microsoft MatMulNBits

Codes with the default zero point 2^(bits-1) are signed. A row whose blocks all
have one scale and zero point gets one scale; other weights are held in rows of
one block each, reshaped behind their FakeQuant. The activation stays float.`,
	Run: raiseNBits,
}

func raiseNBits(g *ir.Graph, r *Report) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	z := newRaiser(g, r)
	changed := false
	for n := range g.Nodes() {
		if !isNBits(n) {
			continue
		}
		why := z.nbits(n)
		if why != "" {
			r.Note(n, "MatMulNBits stays: %s", why)
			continue
		}
		r.Count("weights", 1)
		changed = true
	}
	z.finish(changed)
	return changed, nil
}

// nbits replaces one node; it says why when it does not.
func (z *raiser) nbits(n *ir.Node) string {
	x, b, s, zp, order, bias := n.Input(0), n.Input(1), n.Input(2), n.Input(3), n.Input(4), n.Input(5)
	for _, v := range []*ir.Value{b, s, zp, bias} {
		if v != nil && !v.IsConst() {
			return "not all of its weights are constants"
		}
	}
	if order != nil {
		return "g_idx is not supported"
	}
	k, width, bits, size := n.Attrs.Int("K", 0), n.Attrs.Int("N", 0), n.Attrs.Int("bits", 4), n.Attrs.Int("block_size", 0)
	codes, scale, zero := ops.NBitsBlocks(b.Const, s.Const, unlessNil(zp), k, width, bits, size)
	blocks := (k + size - 1) / size
	q := grid{bits: bits, axis: 0, scale: scale, zero: zero}.unshifted()
	if !(grid{bits: bits, zero: q.zero}).usable() {
		return "its zero points are not integers"
	}
	c := make([]int32, len(codes))
	shift := int32(0)
	if q.signed {
		shift = 1 << (bits - 1)
	}
	for i, u := range codes {
		c[i] = int32(u) - shift
	}
	if w := z.widths[b.Name]; w > 0 && w < bits && fitsWidth(c, w, q.signed) {
		q.bits = w
	}
	var weight *ir.Value
	if perRow(scale, blocks) && perRow(q.zero, blocks) {
		m := make([]int32, k*width)
		for j := range width {
			for i := range k {
				m[i*width+j] = c[j*blocks*size+i]
			}
		}
		q.axis, q.scale, q.zero = 1, everyNth(q.scale, blocks), everyNth(q.zero, blocks)
		weight = z.weight(n, m, []int{k, width}, q, b.Name, s.Name)
	} else {
		weight = z.blockRows(n, c, width, blocks, size, k, q, b.Name, s.Name)
		weight = z.layout(n, "Transpose", weight.Name+".t", ir.Attrs{"perm": ir.Int64s(1, 0)}, []int{k, width}, weight)
	}
	z.product2(n, x, weight, bias)
	return ""
}

func unlessNil(v *ir.Value) *ir.Tensor {
	if v == nil {
		return nil
	}
	return v.Const
}

// perRow reports whether all blocks of each row have the same value.
func perRow(v []float32, blocks int) bool {
	for i := range v {
		if v[i] != v[i-i%blocks] {
			return false
		}
	}
	return true
}

func everyNth(v []float32, n int) []float32 {
	var out []float32
	for i := 0; i < len(v); i += n {
		out = append(out, v[i])
	}
	return slices.Clip(out)
}
