package runtime

import (
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// TestPackedConv compares convolutions on codes with the oracle, which computes in
// float: in the forms of a student and of a file, with and without padding, and with
// a reader that wants rows. The student gives the same bytes in training.
func TestPackedConv(t *testing.T) {
	for _, form := range []string{"student", "file"} {
		for _, pads := range [][]int64{{0, 0, 0, 0}, {1, 2, 1, 2}} {
			for _, rows := range []bool{false, true} {
				b := newBench(4)
				x := b.g.AddInput("image", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(3), ir.D(9), ir.D(8)}))
				scale, zero := b.con(0.02, 0.03), b.con(-5, -5)
				wscale := b.con(0.004, 0.005, 70)
				var xq, wq *ir.Value
				if form == "student" {
					xq = b.own("FakeQuant", ir.Attrs{"bits": int64(8), "signed": int64(1)}, x, scale, zero)
					wq = b.own("FakeQuant", ir.Attrs{"bits": int64(8), "signed": int64(1), "axis": int64(0)}, b.con(-0.5, 0.5, 70, 3, 3, 2), wscale)
				} else {
					z := b.g.AddConst("z", ir.Scalar(uint8(100)))
					xq = b.op("DequantizeLinear", nil, b.op("QuantizeLinear", nil, x, scale, z), scale, z)
					codes := make([]int8, 70*3*3*2)
					for i := range codes {
						codes[i] = int8(b.rng.IntN(256) - 128)
					}
					wq = b.op("DequantizeLinear", ir.Attrs{"axis": int64(0)}, b.g.AddConst("w", ir.Of(codes, 70, 3, 3, 2)), wscale)
				}
				y := b.op("Conv", ir.Attrs{"strides": []int64{2, 3}, "pads": pads}, xq, wq, b.con(-1, 1, 70))
				if rows {
					y = b.op("Transpose", ir.Attrs{"perm": []int64{0, 2, 1}}, b.op("Reshape", nil, y, b.ints(0, 70, -1)))
				}
				b.g.AddOutput(y)
				b.checkForward(t, false, 1e-5)
				b.sameFusedOrNot(t)
				if form == "student" {
					b.sameBytes(t, Config{Batch: 2}, Config{Batch: 2, Train: true})
				}
				p := b.compile(t, false)
				c, ok := p.steps[0].(*packedConv)
				if !ok || len(p.steps) != 1 || c.channelsFirst == rows {
					t.Errorf("%s, pads %v, rows %v: runs as %T in %d steps", form, pads, rows, p.steps[0], len(p.steps))
				}
				b.taps = []*ir.Value{xq}
				if p = b.compile(t, false); p.Steps() < 2 {
					t.Error("the tapped codes' floats are not made")
				}
			}
		}
	}
}
