package runtime

import (
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// TestFusedElementwise puts functions between two packed layers and wants one step
// for each layer, with the bytes of the single steps.
func TestFusedElementwise(t *testing.T) {
	forms := map[string]func(b *bench, x *ir.Value) *ir.Value{
		"none": func(b *bench, x *ir.Value) *ir.Value { return x },
		"relu": func(b *bench, x *ir.Value) *ir.Value { return b.op("Relu", nil, x) },
		"gelu": func(b *bench, x *ir.Value) *ir.Value { return b.op("Gelu", nil, x) },
		"gelu tanh": func(b *bench, x *ir.Value) *ir.Value {
			return b.op("Gelu", ir.Attrs{"approximate": "tanh"}, x)
		},
		"gelu tanh spelled": func(b *bench, x *ir.Value) *ir.Value {
			cube := b.op("Mul", nil, b.op("Mul", nil, x, x), x)
			arg := b.op("Add", nil, x, b.op("Mul", nil, cube, b.con(0.044715, 0.044715)))
			inner := b.op("Tanh", nil, b.op("Mul", nil, arg, b.con(0.7978846, 0.7978846)))
			p := b.op("Mul", nil, x, b.op("Add", nil, inner, b.con(1, 1)))
			return b.op("Mul", nil, p, b.con(0.5, 0.5))
		},
		"silu": func(b *bench, x *ir.Value) *ir.Value { return b.op("Mul", nil, b.op("Sigmoid", nil, x), x) },
	}
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			b := newBench(3)
			x := b.g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(31), ir.D(24)}))
			linear := func(v *ir.Value, k, n int) *ir.Value {
				codes := make([]int, n*k)
				for i := range codes {
					codes[i] = b.rng.IntN(16) - 8
				}
				return b.own("QLinearW4A4", ir.Attrs{"K": int64(k), "N": int64(n), "bits": int64(4)}, v,
					b.g.AddConst("w", packCodes(codes, 4, n, k)), b.con(0.02, 0.1, n), b.con(0.2, 0.3), b.g.AddConst("z", ir.Scalar(uint8(2))), b.con(-1, 1, n))
			}
			b.g.AddOutput(linear(f(b, linear(x, 24, 102)), 102, 7))
			b.sameFusedOrNot(t)
			b.checkForward(t, false, 1e-5)
			p := b.compile(t, false)
			var ops []string
			for _, s := range p.steps {
				if op := s.plan().op; op != "Pack" { // some sets lay the codes out first
					ops = append(ops, op)
				}
			}
			if len(ops) != 3 {
				t.Errorf("runs as %s", strings.Join(ops, ", "))
			}
		})
	}
}
