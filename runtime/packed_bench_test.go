package runtime

import (
	"fmt"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// BenchmarkPackedLinear is one fc1 of DeiT-S on eight images; GOP/s counts
// multiply and add as two.
func BenchmarkPackedLinear(b *testing.B) {
	const m, k, n = 8 * 197, 384, 1536
	t := newBench(1)
	x := t.g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(m, k)))
	w := t.g.AddConst("w", packCodes(make([]int, n*k), 4, n, k))
	t.g.AddOutput(t.own("QLinearW4A4", ir.Attrs{"K": int64(k), "N": int64(n), "bits": int64(4)}, x, w, t.con(1, 2, n), t.con(0.1, 0.2), t.g.AddConst("z", ir.Scalar(uint8(8))), t.con(0, 1, n)))
	run(b, t, 2*m*k*n)
}

// BenchmarkPackedScores is q·kᵀ of DeiT-S on eight images, beside the same in
// float32.
func BenchmarkPackedScores(b *testing.B) {
	const batch, h, m, k = 8, 6, 197, 64
	for _, packed := range []bool{true, false} {
		b.Run(fmt.Sprint(packed), func(b *testing.B) {
			t := newBench(1)
			q := t.g.AddInput("q", ir.TensorType(ir.Float32, ir.Known(batch, h, m, k)))
			v := t.g.AddInput("k", ir.TensorType(ir.Float32, ir.Known(batch, h, m, k)))
			kt := t.op("Transpose", ir.Attrs{"perm": []int64{0, 1, 3, 2}}, v)
			if packed {
				z := t.g.AddConst("z", ir.Scalar(uint8(8)))
				t.g.AddOutput(t.own("QMatMulA4B4", nil, q, t.con(0.1, 0.2, 1, h, 1, 1), z, kt, t.con(0.1, 0.2, 1, h, 1, 1), z))
			} else {
				t.g.AddOutput(t.op("MatMul", nil, q, kt))
			}
			run(b, t, 2*batch*h*m*m*k)
		})
	}
}

func run(b *testing.B, t *bench, ops int) {
	p, err := Compile(t.g, Config{})
	if err != nil {
		b.Fatal(err)
	}
	s := p.NewState()
	for _, v := range t.g.Inputs {
		copy(s.Input(v), t.floats(len(s.Input(v)), -1, 1))
	}
	for b.Loop() {
		if err := s.Forward(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(ops)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOP/s")
}
