package export

import (
	"context"
	"math"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/zoo"
)

// TestSizeOfDeiTSmall holds the file of a DeiT-S to its promised size at each
// width.
func TestSizeOfDeiTSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 22 million weights")
	}
	m, err := zoo.Preset("deit-small")
	if err != nil {
		t.Fatal(err)
	}
	g, err := m.Graph(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	d := passes.Driver{}
	if _, err := d.Run(g, passes.Clean); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		bits int
		most float64 // MB
	}{{4, 12.2}, {3, 9.5}, {2, 6.9}} {
		student, _ := g.Clone()
		plan := passes.DefaultPlan(c.bits, c.bits)
		plan.IRM = passes.IRMRescale
		if _, err := d.Run(student, passes.Quantize(plan)); err != nil {
			t.Fatal(err)
		}
		for n := range student.Nodes() {
			if !n.IsOwn("FakeQuant") {
				continue
			}
			scale := make([]float32, n.Inputs[1].Const.Len())
			for i := range scale {
				scale[i] = float32(0.05 + 0.001*math.Sin(float64(i)))
			}
			n.Inputs[1].SetConst(ir.Of(scale, n.Inputs[1].Const.Shape...))
		}
		b, err := Build(student, Target{})
		if err != nil {
			t.Fatal(err)
		}
		file, err := onnxio.Encode(b.Graph, b.Write)
		if err != nil {
			t.Fatal(err)
		}
		if mb := float64(len(file)) / 1e6; mb > c.most {
			t.Errorf("%d bits: %.3f MB, at most %.1f are promised", c.bits, mb, c.most)
		} else {
			t.Logf("%d bits: %.3f MB", c.bits, mb)
		}
	}
}
