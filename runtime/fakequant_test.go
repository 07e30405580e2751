package runtime

import (
	"fmt"
	"math"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// TestFakeQuantGradient checks the straight-through rules of method.md 2.3, by
// the definition, element by element.
func TestFakeQuantGradient(t *testing.T) {
	cases := []struct {
		shape        []int
		axis, groups int // axis < 0: none
		bits, signed int64
		zero, inter  bool // with zero points; x is an activation, not a parameter
	}{
		{[]int{4, 33}, -1, 1, 3, 1, false, true},
		{[]int{4, 33}, -1, 1, 4, 0, true, true},
		{[]int{2, 3, 5, 8}, 1, 3, 4, 1, false, true},
		{[]int{2, 3, 5, 8}, 1, 3, 2, 0, true, false},
		{[]int{40, 19}, 1, 19, 4, 1, false, false},
		{[]int{40, 19}, 1, 19, 3, 0, true, true},
		{[]int{19, 40}, 0, 19, 8, 1, false, false},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			b := newBench(3)
			var x *ir.Value
			if c.inter {
				x = b.act(-1, 1, c.shape...)
			} else {
				x = b.par(-1, 1, c.shape...)
			}
			attrs := ir.Attrs{"bits": c.bits, "signed": c.signed}
			var gs []int
			if c.axis >= 0 {
				attrs["axis"] = int64(c.axis)
				gs = []int{c.groups}
			}
			in := []*ir.Value{x, b.par(0.05, 0.3, gs...)}
			if c.zero {
				in = append(in, b.par(-2, 6, gs...))
			}
			y := b.own("FakeQuant", attrs, in...)
			b.g.AddOutput(y)
			p := b.compile(t, true)
			s := p.NewState()
			if err := s.Forward(); err != nil {
				t.Fatal(err)
			}
			r := b.floats(size(c.shape), -1, 1)
			copy(s.Seed(y), r)
			grads := make([][]float32, len(b.params))
			for i, v := range b.params {
				grads[i] = make([]float32, v.Const.Len())
			}
			s.Backward(grads)

			qn, qp := quantRange(int(c.bits), c.signed != 0)
			xs, alpha := b.params[0].Const.F32(), b.params[1].Const.F32()
			dAlpha, dZero := make([]float64, c.groups), make([]float64, c.groups)
			inner := size(c.shape)
			if c.axis >= 0 {
				inner = size(c.shape[c.axis+1:])
			}
			for i, v := range xs {
				g := i / inner % c.groups
				var z float32
				if c.zero {
					z = float32(math.RoundToEven(float64(b.params[2].Const.F32()[g])))
				}
				u := v / alpha[g]
				q := min(max(float32(math.RoundToEven(float64(u)))+z, qn), qp)
				inside := qn <= u+z && u+z <= qp
				if want := (q - z) * alpha[g]; s.Value(y)[i] != want {
					t.Fatalf("y[%d] = %v, want %v", i, s.Value(y)[i], want)
				}
				want := r[i]
				term := float64(q - z)
				if inside {
					term -= float64(u)
				} else {
					want = 0
					dZero[g] -= float64(r[i]) * float64(alpha[g])
				}
				dAlpha[g] += term * float64(r[i])
				if grads[0][i] != want {
					t.Fatalf("dx[%d] = %v, want %v", i, grads[0][i], want)
				}
			}
			for g := range c.groups {
				near(t, "dalpha", float64(grads[1][g]), dAlpha[g], 1e-5)
				if c.zero {
					near(t, "dzero", float64(grads[2][g]), dZero[g], 1e-5)
				}
			}
		})
	}
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*(1+math.Abs(want))) {
		t.Fatalf("%s = %v, want %v", what, got, want)
	}
}

// TestFakeQuantUncalibrated wants an error that names the node.
func TestFakeQuantUncalibrated(t *testing.T) {
	for _, bad := range []float32{0, -1, float32(math.NaN())} {
		b := newBench(1)
		scale := b.par(1, 2)
		y := b.own("FakeQuant", ir.Attrs{"bits": int64(4), "signed": int64(1)}, b.par(-1, 1, 4), scale)
		y.Def.Name = "act.7"
		b.g.AddOutput(y)
		s := b.compile(t, true).NewState()
		scale.Const.F32()[0] = bad
		wantError(t, s.Forward(), `"act.7" (FakeQuant)`, "not calibrated")
	}
}
