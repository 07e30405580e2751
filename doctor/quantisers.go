package doctor

import (
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

var (
	fourBit = []ir.Elem{ir.Int4, ir.Uint4}
	twoBit  = []ir.Elem{ir.Int2, ir.Uint2}
)

// isDequantize reports a DequantizeLinear of either domain.
func isDequantize(n *ir.Node) bool {
	return n != nil && n.Op == "DequantizeLinear" && (n.Domain == "" || n.Domain == microsoft)
}

func isQuantize(n *ir.Node) bool {
	return n != nil && n.Op == "QuantizeLinear" && (n.Domain == "" || n.Domain == microsoft)
}

// codeType is the element type of the codes that a Q or DQ node reads or writes.
func codeType(n *ir.Node) ir.Elem {
	if isDequantize(n) {
		return n.Input(0).Type.Elem
	}
	if z := n.Input(2); z != nil && z.Type.Elem != ir.Undefined {
		return z.Type.Elem
	}
	if e := n.Attrs.Int("output_dtype", 0); e != 0 {
		return ir.Elem(e)
	}
	return n.Out().Type.Elem
}

// stored reports a constant, perhaps behind a Transpose.
func stored(v *ir.Value) bool {
	if v != nil && v.Def.Is("Transpose") {
		v = v.Def.Input(0)
	}
	return v.IsConst()
}

// quantisers checks a node and what stands before it for hazards of Q and DQ.
func (c *checker) quantisers(n *ir.Node) {
	switch {
	case n.Is("MatMul"):
		c.matMul(n)
		c.product(n)
	case n.Is("Gemm"):
		c.gemm(n)
	case isQuantize(n):
		c.quantize(n)
	case n.Is("Transpose"):
		c.transpose(n)
	case n.Is("Add"):
		c.biasAdd(n)
	}
}

func (c *checker) matMul(n *ir.Node) {
	a, b := n.Inputs[0].Def, n.Inputs[1].Def
	if isDequantize(a) && isDequantize(b) && slices.Contains(twoBit, codeType(a)) && slices.Contains(twoBit, codeType(b)) {
		c.at(int2Both, span{since: 1024, until: 1031}, n.Label(), "", "")
	}
	if !isDequantize(b) || !stored(b.Input(0)) {
		return
	}
	codes := b.Input(0)
	e := codes.Type.Elem
	four, two := slices.Contains(fourBit, e), slices.Contains(twoBit, e)
	if !four && !two {
		return
	}
	s := span{since: 1025}
	switch {
	case two:
		s.since = 1028
	case b.Attrs.Int("block_size", 0) > 0:
		s.since = 1020
	}
	c.at(dqMatMul, s, n.Label(), codes.Name, fmt.Sprintf("%s weight, dequantised, in MatMul: rewritten to MatMulNBits with accuracy_level 4, which rounds the activations to 8 bits", e))
	if t := codes.Type; two && t.Rank() == 2 && t.Shape[1].Known() && t.Shape[1].Size%4 != 0 && perColumn(b) {
		c.at(int2Columns, span{since: 1025}, n.Label(), codes.Name,
			fmt.Sprintf("%s weight of %d columns with a scale each in MatMul gives garbage: the number is no multiple of 4", e, t.Shape[1].Size))
	}
}

// perColumn reports scales along the last axis of a matrix.
func perColumn(dq *ir.Node) bool {
	s := dq.Input(1)
	axis := dq.Attrs.Int("axis", 1)
	return s != nil && s.Type.Rank() == 1 && (axis == 1 || axis == -1)
}

func (c *checker) quantize(n *ir.Node) {
	e := codeType(n)
	x, s := n.Input(0), n.Input(1)
	if slices.Contains(twoBit, e) && s != nil && s.Type.Rank() == 1 {
		axis := n.Attrs.Int("axis", 1)
		if r := x.Type.Rank(); axis == -1 || r > 0 && axis == r-1 {
			c.at(int2LastAxis, span{since: 1024, until: 1030}, n.Label(), s.Name, "")
		}
	}
	if d := x.Def; d.Is("Clip") && slices.Contains(fourBit, e) {
		c.at(clipQuantize, span{since: 1020, until: 1023}, n.Label(), x.Name, fmt.Sprintf("Clip %s directly before QuantizeLinear to 4 bits", ir.Quote(d.Label())))
	}
}

func (c *checker) transpose(n *ir.Node) {
	x := n.Input(0)
	if slices.Contains(twoBit, x.Type.Elem) {
		c.at(int2Transpose, span{since: 1024}, n.Label(), x.Name, "")
	}
	d := x.Def
	if !isDequantize(d) {
		return
	}
	e := codeType(d)
	switch {
	case stored(d.Input(0)) && slices.Contains(fourBit, e):
		c.at(dqTranspose, span{since: 1020, until: 1027}, n.Label(), d.Input(0).Name, "")
	case stored(d.Input(0)) && slices.Contains(twoBit, e):
		c.at(dqTranspose, span{since: 1024, until: 1027}, n.Label(), d.Input(0).Name, "")
	case e == ir.Int8 && c.needs.Opset >= 21 && isQuantize(d.Input(0).Def) && d.Input(0).Def.Input(2) != nil && d.Input(1).Type.Rank() <= 0:
		c.at(int8Transpose, span{since: 1027}, n.Label(), x.Name, "")
	}
}

// biasAdd looks for MatMul(DQ, DQ) + constant at 8 bits.
func (c *checker) biasAdd(n *ir.Node) {
	for i, v := range n.Inputs {
		m := v.Def
		if !m.Is("MatMul") || !n.Inputs[1-i].IsConst() || n.Inputs[1-i].Type.Rank() != 1 {
			continue
		}
		a, b := m.Inputs[0].Def, m.Inputs[1].Def
		if isDequantize(a) && isDequantize(b) && codeType(a).Bits() == 8 && codeType(b).Bits() == 8 && stored(b.Input(0)) {
			c.at(biasAfterMatMul, span{}, m.Label(), n.Inputs[1-i].Name, "")
		}
	}
}

// product looks for a scale a head on 8-bit activations in front of MatMul.
func (c *checker) product(n *ir.Node) {
	a, b := n.Inputs[0].Def, n.Inputs[1].Def
	if !isDequantize(a) || !isDequantize(b) || stored(a.Input(0)) || stored(b.Input(0)) || codeType(a).Bits() != 8 || codeType(b).Bits() != 8 || !manyScales(b) {
		return
	}
	switch {
	case quantizeFollows(n.Out()):
		c.at(int8Heads, span{until: 1031}, n.Label(), b.Input(1).Name, "")
	case codeType(a) == ir.Uint8:
		c.at(int8Heads, span{}, n.Label(), b.Input(1).Name, "")
	}
}

func manyScales(dq *ir.Node) bool {
	t := dq.Input(1).Type
	return t.Rank() == 1 && !(t.Shape[0].Known() && t.Shape[0].Size == 1)
}

// quantizeFollows reports a QuantizeLinear behind v, past nodes that only move
// elements, where ONNX Runtime moves it forward.
func quantizeFollows(v *ir.Value) bool {
	for range 8 {
		if len(v.Uses()) != 1 {
			return false
		}
		n := v.Uses()[0].Node
		if isQuantize(n) {
			return true
		}
		if !n.Is("Transpose") && !n.Is("Reshape") {
			return false
		}
		v = n.Out()
	}
	return false
}

// gemm looks for 8-bit weights without zero points in Gemm without bias.
func (c *checker) gemm(n *ir.Node) {
	a, b := n.Inputs[0].Def, n.Inputs[1].Def
	for a.Is("Reshape") {
		a = a.Inputs[0].Def
	}
	if n.Input(2) == nil && isDequantize(a) && isDequantize(b) && codeType(a).Bits() == 8 && codeType(b).Bits() == 8 && b.Input(2) == nil && manyScales(b) {
		c.at(qgemmNoBias, span{until: 1027}, n.Label(), b.Input(1).Name, "")
	}
}
