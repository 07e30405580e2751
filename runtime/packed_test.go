package runtime

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// packCodes lays out n×k codes of w bits as the packed operators want them.
func packCodes(codes []int, w, n, k int) *ir.Tensor {
	if w == 8 {
		out := make([]int8, n*k)
		for i, q := range codes {
			out[i] = int8(q)
		}
		return ir.Of(out, n, k)
	}
	per, bytes := 8/w, 1
	if w == 3 {
		per, bytes = 8, 3
	}
	groups := (k + per - 1) / per
	out := make([]uint8, n*groups*bytes)
	for i := range n {
		for j := range groups * per {
			u := 1 << (w - 1)
			if j < k {
				u += codes[i*k+j]
			}
			word := u << (w * (j % per))
			for b := range bytes {
				out[(i*groups+j/per)*bytes+b] |= uint8(word >> (8 * b))
			}
		}
	}
	return ir.Of(out, n, groups, bytes)
}

func TestPackedLinear(t *testing.T) {
	for _, w := range []int{2, 3, 4, 8} {
		for _, a := range []int{2, 3, 4, 8} {
			for _, bias := range []bool{true, false} {
				t.Run(fmt.Sprintf("W%dA%d", w, a), func(t *testing.T) {
					const n, k = 7, 21
					b := newBench(uint64(10*w + a))
					x := b.g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(5), ir.D(k)}))
					codes := make([]int, n*k)
					for i := range codes {
						codes[i] = b.rng.IntN(1<<w) - 1<<(w-1)
					}
					zero := uint8(b.rng.IntN(1 << a))
					in := []*ir.Value{
						x, b.g.AddConst("w", packCodes(codes, w, n, k)), b.con(0.01, 0.1, n), b.con(0.05, 0.2),
						b.g.AddConst("z", ir.Scalar(zero)), b.con(-1, 1, n),
					}
					if !bias {
						in = in[:5]
					}
					attrs := ir.Attrs{"K": int64(k), "N": int64(n), "bits": int64(w)}
					b.g.AddOutput(b.own(fmt.Sprintf("QLinearW%dA%d", w, a), attrs, in...))
					b.checkForward(t, false, 0)
					p := b.compile(t, false)
					if _, ok := p.steps[len(p.steps)-1].(*packedLinear); !ok || len(p.steps) > 3 {
						t.Errorf("ends with %T, after %d steps", p.steps[len(p.steps)-1], len(p.steps)-1)
					}
					b.sameFusedOrNot(t)
				})
			}
		}
	}
}

func TestPackedMatMul(t *testing.T) {
	for _, bits := range [][2]int{{2, 2}, {3, 3}, {4, 4}, {8, 8}, {4, 8}} {
		for _, form := range []string{"scores", "context", "unsigned"} {
			t.Run(fmt.Sprintf("A%dB%d %s", bits[0], bits[1], form), func(t *testing.T) {
				b := newBench(uint64(bits[0]))
				const h, m, k, n = 3, 5, 9, 6
				sym := ir.Sym("batch")
				x := b.g.AddInput("a", ir.TensorType(ir.Float32, ir.Shape{sym, ir.D(h), ir.D(m), ir.D(k)}))
				shape := ir.Shape{sym, ir.D(h), ir.D(k), ir.D(n)}
				if form == "scores" {
					shape[2], shape[3] = shape[3], shape[2]
				}
				y := b.g.AddInput("b", ir.TensorType(ir.Float32, shape))
				v := y
				if form == "scores" {
					v = b.op("Transpose", ir.Attrs{"perm": []int64{0, 1, 3, 2}}, y)
				}
				az, bz := uint8(1<<(bits[0]-1)), uint8(1<<(bits[1]-1))
				switch form {
				case "context":
					az = 0
				case "unsigned":
					bz = 0
				}
				out := b.own(fmt.Sprintf("QMatMulA%dB%d", bits[0], bits[1]), nil,
					x, b.con(0.05, 0.5, 1, h, 1, 1), b.g.AddConst("az", ir.Scalar(az)),
					v, b.con(0.05, 0.5, 1, h, 1, 1), b.g.AddConst("bz", ir.Scalar(bz)))
				b.g.AddOutput(out)
				b.checkForward(t, false, 0)
				p := b.compile(t, false)
				if _, ok := p.steps[0].(*qmatmul); !ok || len(p.steps) != 1 {
					t.Errorf("runs as %T in %d steps", p.steps[0], len(p.steps))
				}
			})
		}
	}
}

// sameFusedOrNot compares the bytes of the fused steps with those of the plain ones.
func (b *bench) sameFusedOrNot(t *testing.T) {
	t.Helper()
	b.sameBytes(t, Config{Batch: 2, NoFuse: true}, Config{Batch: 2})
}

// sameBytes wants the outputs of the first form from all others.
func (b *bench) sameBytes(t *testing.T, forms ...Config) {
	t.Helper()
	var first [][]float32
	for k, form := range forms {
		p, err := Compile(b.g, form)
		if err != nil {
			t.Fatal(err)
		}
		s := p.NewState()
		for i, v := range b.g.Inputs {
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			for j := range s.Input(v) {
				s.Input(v)[j] = rng.Float32()*4 - 2
			}
		}
		if err := s.Forward(); err != nil {
			t.Fatal(err)
		}
		for i, o := range b.g.Outputs {
			if k == 0 {
				first = append(first, slices.Clone(s.Value(o)))
			} else if !slices.Equal(first[i], s.Value(o)) {
				t.Errorf("output %q differs from that of the first form", o.Name)
			}
		}
	}
}

func TestPackedHasNoGradient(t *testing.T) {
	b := newBench(1)
	x := b.par(-1, 1, 4, 8)
	y := b.own("QLinearW4A4", ir.Attrs{"K": int64(8), "N": int64(2), "bits": int64(4)}, x,
		b.g.AddConst("w", packCodes(make([]int, 16), 4, 2, 8)), b.con(1, 2, 2), b.con(1, 2), b.g.AddConst("z", ir.Scalar(uint8(8))))
	b.g.AddOutput(y)
	_, err := Compile(b.g, Config{Train: true, Params: b.params})
	wantError(t, err, "(QLinearW4A4)", "cannot be differentiated")
}
