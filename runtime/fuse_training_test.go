package runtime

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// TestGeluCodes compares a quantiser that makes its GELU itself with the two steps, which
// a tap keeps apart: forward every bit, and the gradients.
func TestGeluCodes(t *testing.T) {
	for _, cols := range []int{8, 13} { // codes with and without padding
		for _, frozen := range []bool{false, true} {
			b := newBench(61)
			quant := func(v *ir.Value, signed int64, in ...*ir.Value) *ir.Value {
				return b.own("FakeQuant", ir.Attrs{"bits": int64(4), "signed": signed}, append([]*ir.Value{v}, in...)...)
			}
			var x *ir.Value
			if frozen { // the quantiser alone is trained
				x = b.g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(3, 211, cols)))
			} else {
				x = b.act(-3, 3, 3, 211, cols)
			}
			g := b.op("Gelu", nil, x)
			q := quant(g, 0, b.g.AddConst("s", ir.Scalar(float32(0.2))), b.g.AddConst("z", ir.Scalar(float32(3))))
			w := quant(b.par(-1, 1, cols, 6), 1, b.g.AddConst("ws", ir.Scalar(float32(0.1))))
			b.g.AddOutput(b.op("MatMul", nil, q, w))
			b.params = append(b.params, q.Def.Inputs[1], q.Def.Inputs[2])
			data := b.floats(1<<14, -1, 1)
			run := func(taps ...*ir.Value) (y, grads []float32, fused bool) {
				p, err := Compile(b.g, Config{Train: true, Params: b.params, Taps: taps})
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range p.steps {
					f, ok := s.(*fakeQuant)
					fused = fused || ok && f.gelu
				}
				s := p.NewState()
				grads = gradients(t, p, s, b.g, data)
				return s.Value(b.g.Outputs[0]), grads, fused
			}
			got, gotG, fused := run()
			want, wantG, apart := run(g)
			if !fused || apart {
				t.Fatalf("fused %v, with a tap %v", fused, apart)
			}
			for i := range want {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("%d columns: y[%d] = %v, want %v", cols, i, got[i], want[i])
				}
			}
			for i := range wantG {
				near(t, fmt.Sprintf("%d columns, frozen %v: gradient %d", cols, frozen, i), float64(gotG[i]), float64(wantG[i]), 1e-5)
			}
		}
	}
}

// TestLogitCodes does so with the softmax of attention and the quantiser behind it,
// which has one grid or one for each head.
func TestLogitCodes(t *testing.T) {
	for _, perHead := range []bool{false, true} {
		b := newBench(62)
		attrs, groups := ir.Attrs{"bits": int64(4), "signed": int64(0)}, 1
		if perHead {
			attrs, groups = ir.Attrs{"bits": int64(4), "signed": int64(0), "axis": int64(1)}, 3
		}
		s := b.op("Mul", nil, b.act(-3, 3, 2, 3, 21, 19), b.g.AddConst("k", ir.Scalar(float32(0.5))))
		p := b.op("Softmax", nil, s)
		shape := []int{3}[:groups/3]
		q := b.own("FakeQuant", attrs, p, b.par(0.005, 0.01, shape...), b.par(-2, 2, shape...))
		v := b.own("FakeQuant", ir.Attrs{"bits": int64(4), "signed": int64(1)}, b.act(-1, 1, 2, 3, 19, 8), b.par(0.1, 0.2))
		b.g.AddOutput(b.op("MatMul", nil, q, v))
		data := b.floats(1<<14, -1, 1)
		run := func(taps ...*ir.Value) (y, grads []float32, fused bool) {
			p, err := Compile(b.g, Config{Train: true, Params: b.params, Taps: taps})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range p.steps {
				l, ok := s.(*logits)
				fused = fused || ok && l.codes != nil
			}
			s := p.NewState()
			grads = gradients(t, p, s, b.g, data)
			return s.Value(b.g.Outputs[0]), grads, fused
		}
		got, gotG, fused := run()
		want, wantG, apart := run(p)
		if !fused || apart {
			t.Fatalf("fused %v, with a tap %v", fused, apart)
		}
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("y[%d] = %v, want %v", i, got[i], want[i])
			}
		}
		for i := range wantG {
			near(t, fmt.Sprintf("per head %v: gradient %d", perHead, i), float64(gotG[i]), float64(wantG[i]), 1e-5)
		}
		// Codes hide what is not finite, so it is an error here.
		b.params[0].Const.F32()[19*21+4] = float32(math.NaN())
		prog, err := Compile(b.g, Config{Train: true, Params: b.params})
		if err != nil {
			t.Fatal(err)
		}
		var bad *NotFiniteError
		if err := prog.NewState().Forward(); !errors.As(err, &bad) || bad.Index/19 != 21 || bad.Value == bad.Value {
			t.Errorf("a NaN among the scores of row 21: %v", err)
		}
	}
}
