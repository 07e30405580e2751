package passes_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/passes"
)

// TestLowerModels quantises whole models, gives every quantiser some scale, and
// compares the student with its lowered form in the oracle.
func TestLowerModels(t *testing.T) {
	for _, c := range []struct {
		model string
		irm   string
		bits  int
	}{
		{"timm-deit-op17-dyn", passes.IRMOff, 4},
		{"timm-deit-op17-dyn", passes.IRMLayerNorm, 3},
		{"tv-vit-op17-dyn", passes.IRMRescale, 4},
		{"hf-vit-op17-dyn", passes.IRMOff, 2},
		{"timm-swin-op17-fixed", passes.IRMRescale, 4},
	} {
		t.Run(c.model+"-"+c.irm, func(t *testing.T) {
			g := loadModel(t, c.model)
			clean(t, g)
			teacher, _ := g.Clone()
			plan := passes.DefaultPlan(c.bits, c.bits)
			plan.IRM = c.irm
			d := passes.Driver{Check: true, ReproDir: t.TempDir()}
			if _, err := d.Run(g, passes.Quantize(plan)[:1]); err != nil {
				t.Fatal(err)
			}
			x := image(g, 1)
			if c.irm != passes.IRMLayerNorm { // the same function as the teacher
				if diff := difference(t, teacher, g, x); diff > 1e-4 {
					t.Errorf("IRM changes the function by %g", diff)
				}
			}
			if _, err := d.Run(g, passes.Quantize(plan)[1:]); err != nil {
				t.Fatal(err)
			}
			setScales(g)
			student, _ := g.Clone()
			res, err := d.Run(g, passes.Lower)
			if err != nil {
				t.Fatal(err)
			}
			for n := range g.Nodes() {
				if n.IsOwn("FakeQuant") || n.Is("Gelu") || n.Is("MatMul") {
					t.Errorf("%s is left: %s", n.Op, passes.LayerName(n))
				}
			}
			diff := difference(t, student, g, x)
			t.Logf("%d -> %d nodes, largest difference %.3g relative to 1+|student|; %s", student.Len(), g.Len(), diff, res.Step("lower-packed").Report)
			if diff > 1e-3 {
				t.Errorf("lowered output differs by %g", diff)
			}
		})
	}
}

// image is one random input picture (symbolic dimensions are 1).
func image(g *ir.Graph, seed uint64) map[string]*ir.Tensor {
	r := rand.New(rand.NewPCG(seed, 5))
	v := g.Inputs[0]
	dims := make([]int, len(v.Type.Shape))
	n := 1
	for i, d := range v.Type.Shape {
		dims[i] = max(1, int(d.Size))
		n *= dims[i]
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(r.NormFloat64())
	}
	return map[string]*ir.Tensor{v.Name: ir.Of(data, dims...)}
}

// difference is the largest |a-b|/(1+|a|) over the outputs.
func difference(t *testing.T, a, b *ir.Graph, x map[string]*ir.Tensor) float64 {
	t.Helper()
	p, err := ops.EvalGraph(a, x)
	if err != nil {
		t.Fatal(err)
	}
	q, err := ops.EvalGraph(b, x)
	if err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	for _, v := range a.Outputs {
		for i := range p[v.Name].Len() {
			f := p[v.Name].Float(i)
			worst = max(worst, math.Abs(f-q[v.Name].Float(i))/(1+math.Abs(f)))
		}
	}
	return worst
}

// setScales gives weights the scale of their largest value a channel and
// activations one that spreads unit variance over the codes.
func setScales(g *ir.Graph) {
	for n := range g.Nodes() {
		if !n.IsOwn("FakeQuant") {
			continue
		}
		bits := n.Attrs.Int("bits", 4)
		qp := float32(int(1)<<(bits-1)) - 0.5
		scale := n.Inputs[1].Const.F32()
		w := n.Inputs[0].Const
		for i := range scale {
			scale[i] = 2 / qp
			if n.Attrs.Int("signed", 1) == 0 {
				scale[i] = 0.3 / qp
			}
		}
		if w == nil {
			continue
		}
		inner := 1
		axis := n.Attrs.Int("axis", 0)
		for _, d := range w.Shape[axis+1:] {
			inner *= d
		}
		for i := range scale {
			scale[i] = 1e-6
		}
		for i, x := range w.F32() {
			k := i / inner % len(scale)
			scale[k] = max(scale[k], float32(math.Abs(float64(x)))/qp)
		}
	}
}
