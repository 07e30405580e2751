package passes

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// NBits says how weights are stored for MatMulNBits.
type NBits struct {
	TwoBits bool // 2-bit codes as they are, which ONNX Runtime has from 1.24 on; else in 4 bits
}

// WeightsOnly takes the quantisers of activations out.
var WeightsOnly = Pass{
	Name: "weights-only",
	Doc:  "take the quantisers of activations out, for targets that hold weights only",
	Run: func(g *ir.Graph, r *Report) (bool, error) {
		for n := range g.Nodes() {
			if !n.IsOwn("FakeQuant") || n.Inputs[0].IsConst() {
				continue
			}
			if g.IsOutput(n.Out()) {
				substitute(g, n.Out(), g.InsertBefore(n, "", "Identity", nil, n.Inputs[:1], n.Out().Name).Out())
			} else {
				g.ReplaceUses(n.Out(), n.Inputs[0])
			}
			g.Remove(n)
			r.Count("left out", 1)
		}
		g.DropUnusedConsts()
		return r.Get("left out") > 0, nil
	},
}

// LowerNBits makes the pass that writes weight-only products of ONNX Runtime.
func LowerNBits(o NBits) Pass {
	return Pass{
		Name: "lower-nbits",
		Doc: `write products by quantised weights as com.microsoft MatMulNBits

Weights of up to 4 bits are stored in 4 (or 2) bits, in blocks along the input
that repeat the scale of their channel; accuracy_level 1, so that activations
stay float. Other quantised weights become 8-bit codes behind DequantizeLinear.`,
		Run: func(g *ir.Graph, r *Report) (bool, error) { return lowerNBits(g, r, o) },
	}
}

func lowerNBits(g *ir.Graph, r *Report, o NBits) (bool, error) {
	if _, err := ops.Infer(g); err != nil {
		return false, err
	}
	changed := false
	l := newQDQLowering(g, r, QDQ{Bytes: true})
	for n := range g.Nodes() {
		if !n.Is("MatMul") || n.Inputs[0].IsConst() {
			continue
		}
		w, err := nbitsWeight(n)
		if err != nil {
			return changed, err
		}
		if w != nil {
			w.write(l, n, o)
			changed = true
		}
	}
	dropDead(g, &Report{Pass: r.Pass})
	more, err := lowerBytes(g, r, false)
	if err != nil {
		return changed, err
	}
	changed = changed || more
	return changed, l.finish(changed)
}

// nbitsWeightOf is a weight as blocks of rows, one row an output channel.
type rowBlocks struct {
	q                  *quantSettings
	codes              []int32 // [rows, blocks*size]
	rows, blocks, size int
	width              int // K
	repeat             int // blocks that one scale of q spans
}

// nbitsWeight reads the weight of a product; nil when MatMulNBits cannot hold
// it, as widths above 4.
func nbitsWeight(n *ir.Node) (*rowBlocks, error) {
	b, err := blockWeightOf(n.Inputs[1])
	if err != nil {
		return nil, err
	}
	if b != nil {
		w := &rowBlocks{q: b.q, codes: b.q.codes(b.q.node.Inputs[0].Const), rows: b.rows, blocks: b.blocks, size: b.size, width: b.width, repeat: 1}
		if b.size < 16 || b.size&(b.size-1) != 0 || !w.fits() {
			return nil, nil
		}
		return w, nil
	}
	s, err := quantOf(n.Inputs[1])
	if err != nil || s == nil || !s.node.Inputs[0].IsConst() || len(s.node.Inputs[0].Const.Shape) != 2 || s.axis == 0 {
		return nil, err
	}
	t := s.node.Inputs[0].Const
	w := &rowBlocks{q: s, rows: t.Shape[1], width: t.Shape[0]}
	if !w.fits() {
		return nil, nil
	}
	w.size = blockFor(w.width)
	w.blocks = (w.width + w.size - 1) / w.size
	w.repeat = w.blocks
	if s.axis < 0 {
		w.repeat *= w.rows
	}
	w.codes = make([]int32, w.rows*w.blocks*w.size)
	for i, c := range s.codes(t) {
		w.codes[i%w.rows*w.blocks*w.size+i/w.rows] = c
	}
	for j := range w.rows { // rows are filled up with the code of 0
		for i := w.width; i < w.blocks*w.size; i++ {
			w.codes[j*w.blocks*w.size+i] = int32(w.zero(j*w.blocks + i/w.size))
		}
	}
	return w, nil
}

// fits reports whether codes and zero points are those of 4 bits at most.
func (w *rowBlocks) fits() bool {
	lo, hi := grid{bits: 4, signed: w.q.signed}.bounds()
	_, ok := w.q.zeroPoints(lo, hi)
	return ok && w.q.bits <= 4
}

// zero is the zero point of a block.
func (w *rowBlocks) zero(block int) int {
	if w.q.zeroPoint == nil {
		return 0
	}
	return w.q.zeroPoint[block/w.repeat]
}

// blockFor is the largest block of 16 to 128 that divides the width, or 32 (16
// for small widths) where none does.
func blockFor(width int) int {
	for b := 128; b >= 16; b /= 2 {
		if width%b == 0 {
			return b
		}
	}
	if width < 32 {
		return 16
	}
	return 32
}

func (w *rowBlocks) write(l *qdqLowering, n *ir.Node, o NBits) {
	bits := 4
	if o.TwoBits && w.q.bits <= 2 {
		bits = 2
	}
	shift := int32(0)
	if w.q.signed {
		shift = 1 << (bits - 1)
	}
	blob := w.size * bits / 8
	packed := make([]uint8, w.rows*w.blocks*blob)
	for i, c := range w.codes {
		packed[i*bits/8] |= uint8(c+shift) << (i * bits % 8)
	}
	scale := make([]float32, w.rows*w.blocks)
	for i := range scale {
		scale[i] = w.q.scale[i/w.repeat]
	}
	name := w.q.node.Inputs[0].Name
	b := l.names.add(name+"_packed", ir.Of(packed, w.rows, w.blocks, blob))
	if w.q.bits != bits {
		l.widths[b.Name] = w.q.bits
	}
	// the scales keep the name of their quantiser, whose own are gone then
	in := []*ir.Value{n.Inputs[0], b, l.names.add(w.q.node.Inputs[1].Name, ir.Of(scale, w.rows, w.blocks))}
	if w.q.zeroPoint != nil || !w.q.signed {
		row := (w.blocks*bits + 7) / 8
		z := make([]uint8, w.rows*row)
		for i := range w.rows * w.blocks {
			at := i % w.blocks * bits
			z[i/w.blocks*row+at/8] |= uint8(int32(w.zero(i))+shift) << (at % 8)
		}
		in = append(in, l.names.add(fmt.Sprintf("%s_zero_points", name), ir.Of(z, w.rows, row)))
	}
	attrs := ir.Attrs{"K": int64(w.width), "N": int64(w.rows), "bits": int64(bits), "block_size": int64(w.size), "accuracy_level": int64(1)}
	k := l.g.InsertBefore(n, ir.Microsoft, "MatMulNBits", attrs, in, n.Out().Name)
	k.Out().Type = n.Out().Type
	l.r.inherit(k, n)
	substitute(l.g, n.Out(), k.Out())
	l.g.Remove(n)
	l.r.Count(fmt.Sprintf("%d bits", bits), 1)
}
