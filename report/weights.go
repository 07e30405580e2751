package report

import (
	"math"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// weight is the weight of a product in the layout [N,K].
type weight struct {
	n, k   int
	values []float32
	codes  []int8 // nil when the weight is float
	bits   int
}

// packedWeight reads the codes of a QLinear node.
func packedWeight(n *ir.Node, bits int) *weight {
	b, ws := n.Input(1), n.Input(2)
	if !b.IsConst() || !ws.IsConst() || ws.Const.Elem != ir.Float32 || len(b.Const.Shape) < 2 {
		return nil
	}
	w := &weight{n: b.Const.Shape[0], bits: bits}
	scale := ws.Const.F32()
	if len(scale) != w.n {
		return nil
	}
	if bits == 8 {
		w.k, w.codes = b.Const.Shape[1], ir.Data[int8](b.Const)
	} else {
		bytes := ir.Data[uint8](b.Const)
		row := len(bytes) / w.n
		w.k = row * 8 / bits
		for j := range w.n {
			w.codes = append(w.codes, ops.UnpackRow(bytes[j*row:(j+1)*row], bits, w.k)...)
		}
	}
	w.values = make([]float32, len(w.codes))
	for i, c := range w.codes {
		w.values[i] = float32(c) * scale[i/w.k]
	}
	return w
}

// plainWeight reads the weight of a MatMul, Gemm or Conv: float, behind a
// FakeQuant, or stored as codes behind a DequantizeLinear.
func plainWeight(n *ir.Node) *weight {
	v := storedWeight(n.Input(1))
	shape := v.Const.Shape
	if len(shape) < 2 || v.Const.Len() == 0 {
		return nil
	}
	rowsFirst := n.Is("Conv") || n.Attrs.Int("transB", 0) != 0
	for d := n.Input(1).Def; d != nil; d = d.Inputs[0].Def {
		if d.Is("Transpose") {
			rowsFirst = !rowsFirst
		}
	}
	w := &weight{n: shape[0], k: v.Const.Len() / shape[0]}
	outer := 0 // axis of the output channels in the stored tensor
	if !rowsFirst {
		if len(shape) != 2 {
			return nil
		}
		w.n, w.k, outer = shape[1], shape[0], 1
	}
	at := func(j, i int) int {
		if outer == 0 {
			return j*w.k + i
		}
		return i*w.n + j
	}
	scale, zero, lowest := []float32{1}, []float64{0}, 0.0
	var quant *ir.Node
	for d := n.Input(1).Def; d != nil; d = d.Inputs[0].Def {
		if !d.Is("Transpose") {
			quant = d
		}
	}
	if quant != nil {
		if !quant.Input(1).IsConst() || quant.Input(1).Const.Elem != ir.Float32 {
			return nil
		}
		scale = quant.Input(1).Const.F32()
		if len(scale) != 1 && len(scale) != w.n {
			return nil
		}
		if z := quant.Input(2); z.IsConst() {
			zero = zero[:0]
			for i := range z.Const.Len() {
				zero = append(zero, math.RoundToEven(z.Const.Float(i)))
			}
		}
		w.bits = v.Const.Elem.Bits()
		if quant.IsOwn("FakeQuant") {
			w.bits = quant.Attrs.Int("bits", 8)
			if quant.Attrs.Int("signed", 1) != 0 {
				lowest = -float64(int(1) << (w.bits - 1))
			}
		}
	}
	for j := range w.n {
		s, z := scale[j%len(scale)], zero[j%len(zero)]
		for i := range w.k {
			x := v.Const.Float(at(j, i))
			if quant == nil {
				w.values = append(w.values, float32(x))
				continue
			}
			c := x
			if quant.IsOwn("FakeQuant") {
				highest := lowest + float64(int(1)<<w.bits) - 1
				c = min(max(math.RoundToEven(float64(float32(x)/s))+z, lowest), highest)
			}
			c -= z
			w.codes = append(w.codes, int8(c))
			w.values = append(w.values, float32(c)*s)
		}
	}
	return w
}

// bytes is the size of the weight: of codes, packed without gaps.
func (w *weight) bytes() int {
	switch {
	case w == nil:
		return 0
	case w.codes == nil:
		return 4 * len(w.values)
	}
	return (len(w.codes)*w.bits + 7) / 8
}

func constBytes(v *ir.Value) int {
	if !v.IsConst() {
		return 0
	}
	return (v.Const.Len()*v.Const.Elem.Bits() + 7) / 8
}
