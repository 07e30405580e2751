package ops

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// foreignOps are quantised operators of other domains: weight-only products of
// ONNX Runtime (MatMulNBits, schema text of 1.30) and the quantisers of QONNX
// (IntQuant, and Quant, its older name).
var foreignOps = makeForeignOps()

func makeForeignOps() []*Op {
	list := []*Op{{
		Domain: ir.Microsoft, Name: "MatMulNBits",
		In: []Param{in("A", "T", f32), in("B", "", u8), in("scales", "T", f32), opt("zero_points", "", u8|f32),
			opt("g_idx", "", i32), opt("bias", "T", f32)},
		Out: []Param{in("Y", "T", f32)},
		Attrs: []Attr{attrReq("K", Int), attrReq("N", Int), attrInt("bits", 4), attrReq("block_size", Int), attrInt("accuracy_level", 0),
			attrInt("weight_prepacked", 0)},
		infer: inferNBits, eval: evalNBits,
		macs: func(c *call) (int64, bool) { return c.matmulMACs(0) },
	}}
	for _, d := range []string{ir.QONNX, ir.Brevitas, ir.FINN} {
		for _, name := range []string{"IntQuant", "Quant"} {
			list = append(list, &Op{
				Domain: d, Name: name,
				In:    []Param{in("X", "", f32), in("scale", "", f32), in("zeropt", "", f32), in("bitwidth", "", f32)},
				Out:   []Param{in("Y", "", f32)},
				Attrs: []Attr{attrInt("signed", 1), attrInt("narrow", 0), attrStr("rounding_mode", roundingModes...)},
				infer: inferIntQuant, eval: evalIntQuant,
			})
		}
	}
	return list
}

// roundingModes of IntQuant; the first is the default, half to even.
var roundingModes = []string{"ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "ROUND_TO_ZERO",
	"round", "ceil", "floor", "up", "down", "half_up", "half_down"}

func inferNBits(c *call) error {
	bits, block := c.intAttr("bits"), c.intAttr("block_size")
	k, n := c.intAttr("K"), c.intAttr("N")
	if bits < 2 || bits > 8 || block < 1 || block > 1<<20 || block*bits%8 != 0 || k < 1 || n < 1 || k > 1<<30 || n > 1<<30 {
		return c.Errorf("K %d, N %d, bits %d, block_size %d: want positive sizes, 2 to 8 bits and blocks of whole bytes", k, n, bits, block)
	}
	if err := c.wantRank(0, 1, -1); err != nil {
		return err
	}
	x := &c.in[0]
	if x.ranked {
		d := x.dims[len(x.dims)-1]
		if d.isConst() && d.c != int64(k) {
			return c.Errorf("input A is %s wide, attribute K is %d", d, k)
		}
		c.shape(0, append(append([]num(nil), x.dims[:len(x.dims)-1]...), known(int64(n)))...)
	}
	blocks := int64((k + block - 1) / block)
	for i, want := range map[int]int64{1: int64(n) * blocks * int64(block*bits/8), 2: int64(n) * blocks, 5: int64(n)} {
		if have, ok := c.arg(i).size(); c.arg(i).have && ok && have != want {
			return c.Errorf("input %d (%s) has %d elements, want %d", i, param(c.op.In, i).Name, have, want)
		}
	}
	if z := c.arg(3); z.have {
		want := int64(n) * blocks
		if z.elem == ir.Uint8 {
			want = int64(n) * ((blocks*int64(bits) + 7) / 8)
		}
		if have, ok := z.size(); ok && have != want {
			return c.Errorf("input 3 (zero_points) has %d elements, want %d", have, want)
		}
	}
	return nil
}

// NBitsBlocks reads the constants of a MatMulNBits node whose inputs are known:
// unsigned codes [N, blocks*block_size], scales and zero points [N, blocks].
// scales, zeros (nil: 2^(bits-1)) and b are its inputs 2, 3 and 1.
func NBitsBlocks(b, scales, zeros *ir.Tensor, k, n, bits, block int) (codes []uint8, s, z []float32) {
	blocks := (k + block - 1) / block
	blob := block * bits / 8
	raw := ir.Data[uint8](b)
	codes = make([]uint8, n*blocks*block)
	for i := range n * blocks {
		for j := range block {
			codes[i*block+j] = bitsAt(raw[i*blob:][:blob], j*bits, bits)
		}
	}
	z = make([]float32, n*blocks)
	row := (blocks*bits + 7) / 8
	for i := range z {
		switch {
		case zeros == nil:
			z[i] = float32(int(1) << (bits - 1))
		case zeros.Elem == ir.Uint8:
			z[i] = float32(bitsAt(ir.Data[uint8](zeros)[i/blocks*row:][:row], i%blocks*bits, bits))
		default:
			z[i] = zeros.F32()[i]
		}
	}
	return codes, scales.F32(), z
}

// bitsAt reads an unsigned number of at most 8 bits, least significant first.
func bitsAt(b []uint8, at, bits int) uint8 {
	word := uint16(b[at/8])
	if at/8+1 < len(b) {
		word |= uint16(b[at/8+1]) << 8
	}
	return uint8(word >> (at % 8) & (1<<bits - 1))
}

// evalNBits is A times the transposed weight (code - zero point)*scale, which
// is rounded to float32; accuracy_level, a licence to compute less exactly, is
// not used.
func evalNBits(c *call) error {
	if g := c.t(4); g != nil {
		block := c.intAttr("block_size")
		for i := range g.Len() {
			if g.Int(i) != int64(i/block) {
				return c.Errorf("g_idx that reorders the rows is not supported")
			}
		}
	}
	k, n, block := c.intAttr("K"), c.intAttr("N"), c.intAttr("block_size")
	codes, scales, zeros := NBitsBlocks(c.t(1), c.t(2), c.t(3), k, n, c.intAttr("bits"), block)
	blocks := (k + block - 1) / block
	w := make([]float64, n*k)
	for j := range n {
		for i := range k {
			g := j*blocks + i/block
			w[j*k+i] = float64(float32(codes[g*block+i%block]) - zeros[g])
			w[j*k+i] = float64(float32(w[j*k+i]) * scales[g])
		}
	}
	x := c.t(0).F32()
	rows := len(x) / k
	out := make([]float64, rows*n)
	for r := range rows {
		for j := range n {
			sum := 0.0
			for i, v := range w[j*k:][:k] {
				sum += float64(x[r*k+i]) * v
			}
			if c.given(5) {
				sum += float64(c.t(5).F32()[j])
			}
			out[r*n+j] = sum
		}
	}
	return put(c, 0, out)
}

func inferIntQuant(c *call) error {
	c.like(0, 0)
	if !c.in[0].ranked {
		return nil
	}
	for _, i := range []int{1, 2} {
		if err := c.unidirectional(i, c.in[0].dims); err != nil {
			return err
		}
	}
	return c.single(3)
}

// evalIntQuant is, in float32: x/scale + zeropt, clipped, then rounded, then
// (q - zeropt)*scale.
func evalIntQuant(c *call) error {
	x := c.t(0)
	b := c.t(3).Float(0)
	signed, narrow := c.intAttr("signed") != 0, c.intAttr("narrow") != 0
	if !(b >= 1 && b <= 24) || signed && b < 2 {
		return c.Errorf("bitwidth is %v", b)
	}
	lo, hi := 0.0, math.Exp2(b)-1
	if signed {
		lo, hi = -math.Exp2(b-1), math.Exp2(b-1)-1
	}
	if narrow && signed {
		lo++
	} else if narrow {
		hi--
	}
	round := roundingOf(c.strAttr("rounding_mode"))
	scale, zero := wideOf[float64](c.t(1), x.Shape), wideOf[float64](c.t(2), x.Shape)
	out := make([]float64, x.Len())
	for i, v := range x.F32() {
		u := float64(v/float32(scale[i]) + float32(zero[i]))
		q := round(min(max(u, lo), hi))
		out[i] = float64(float32(float32(q)-float32(zero[i])) * float32(scale[i]))
	}
	return put(c, 0, out)
}

func roundingOf(mode string) func(float64) float64 {
	switch mode {
	case "CEIL", "ceil":
		return math.Ceil
	case "FLOOR", "floor":
		return math.Floor
	case "UP", "up": // away from zero
		return func(x float64) float64 { return math.Copysign(math.Ceil(math.Abs(x)), x) }
	case "DOWN", "down", "ROUND_TO_ZERO":
		return math.Trunc
	case "HALF_UP", "half_up": // ties away from zero
		return math.Round
	case "HALF_DOWN", "half_down": // ties towards zero
		return func(x float64) float64 { return math.Copysign(math.Ceil(math.Abs(x)-0.5), x) }
	}
	return math.RoundToEven
}
