package runtime_test

import (
	"slices"
	"testing"
	"time"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/runtime"
)

// quantised makes a W4A4 student of deit-fmnist by hand: GELU as one node, a
// FakeQuant on both operands of every product, per output column for weights,
// per head in attention. It gives the float parameters of the graph.
func quantised(t testing.TB) (g *ir.Graph, params []*ir.Value) {
	g, _, _ = model(t, "deit-fmnist")
	fuseGelu(g)
	if _, err := ops.Infer(g); err != nil {
		t.Fatal(err)
	}
	rank := func(v *ir.Value) int { return v.Type.Rank() }
	fake := func(n *ir.Node, i int, axis, groups int, signed int64, scale float32) {
		attrs := ir.Attrs{"bits": int64(4), "signed": signed}
		var sc *ir.Tensor
		if axis < 0 {
			sc = ir.Scalar(scale)
		} else {
			attrs["axis"] = int64(axis)
			data := make([]float32, groups)
			for k := range data {
				data[k] = scale
			}
			sc = ir.Of(data, groups)
		}
		x := n.Inputs[i]
		q := g.InsertBefore(n, ir.Domain, "FakeQuant", attrs, []*ir.Value{x, g.AddConst(x.Name+"/scale", sc)}, x.Name+"/q")
		n.SetInput(i, q.Out())
	}
	for n := range g.Nodes() {
		switch {
		case n.Is("MatMul") && n.Inputs[1].Const != nil:
			fake(n, 0, -1, 1, 1, 0.3)
			fake(n, 1, 1, n.Inputs[1].Const.Shape[1], 1, 0.05)
		case n.Is("MatMul") && rank(n.Inputs[0]) == 4:
			heads := int(n.Inputs[0].Type.Shape[1].Size)
			unsigned := n.Inputs[0].Def.Is("Softmax")
			if unsigned {
				fake(n, 0, 1, heads, 0, 0.02)
			} else {
				fake(n, 0, 1, heads, 1, 0.3)
			}
			if d := n.Inputs[1].Def; d.Is("Transpose") { // quantise k before it is turned
				fake(d, 0, 1, heads, 1, 0.3)
			} else {
				fake(n, 1, 1, heads, 1, 0.3)
			}
		case n.Is("Conv"):
			fake(n, 1, 0, n.Inputs[1].Const.Shape[0], 1, 0.01)
		}
	}
	for _, v := range g.Consts() {
		if v.Const.Elem == ir.Float32 && len(v.Const.Shape) > 0 || v.Const.Elem == ir.Float32 && slices.ContainsFunc(v.Uses(), func(u ir.Use) bool { return u.Node.Op == "FakeQuant" }) {
			params = append(params, v)
		}
	}
	return g, params
}

// fuseGelu replaces x/√2 → Erf → +1 → ·x → ·½ by Gelu.
func fuseGelu(g *ir.Graph) {
	for n := range g.Nodes() {
		if !n.Is("Erf") {
			continue
		}
		x := n.Inputs[0].Def.Inputs[0]
		next := func(v *ir.Value) *ir.Node { return v.Uses()[0].Node }
		last := next(next(next(n.Out()).Out()).Out())
		gelu := g.InsertAfter(last, "", "Gelu", nil, []*ir.Value{x}, "gelu")
		g.ReplaceUses(last.Out(), gelu.Out())
	}
}

func BenchmarkForwardFloat(b *testing.B) {
	g, _, _ := model(b, "deit-fmnist")
	fuseGelu(g)
	p, err := runtime.Compile(g, runtime.Config{Batch: 32})
	if err != nil {
		b.Fatal(err)
	}
	s := p.NewState()
	_ = s.Forward()
	b.ReportMetric(float64(p.Memory())/1e6, "MB")
	for b.Loop() {
		if err := s.Forward(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTrainStep is one shard of a quantisation-aware step: forward and
// backward for 32 images.
func BenchmarkTrainStep(b *testing.B) {
	g, params := quantised(b)
	p, err := runtime.Compile(g, runtime.Config{Batch: 32, Train: true, Params: params})
	if err != nil {
		b.Fatal(err)
	}
	s := p.NewState()
	grads := make([][]float32, len(params))
	for i, v := range params {
		grads[i] = make([]float32, v.Const.Len())
	}
	in := s.Input(g.Inputs[0])
	for i := range in {
		in[i] = float32(i%28)/14 - 1
	}
	step := func() {
		if err := s.Forward(); err != nil {
			b.Fatal(err)
		}
		for i := range s.Seed(g.Outputs[0]) {
			s.Seed(g.Outputs[0])[i] = float32(i%10) - 4.5
		}
		s.Backward(grads)
	}
	step()
	best := time.Hour
	for b.Loop() {
		t := time.Now()
		step()
		best = min(best, time.Since(t))
	}
	b.ReportMetric(float64(best.Microseconds())/1000, "best-ms")
	b.ReportMetric(float64(p.Memory())/1e6, "MB")
	s.EnableProfile()
	const rounds = 5
	for range rounds {
		step()
	}
	logProfile(b, s.Profile(), rounds)
}
