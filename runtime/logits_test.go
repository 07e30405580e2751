package runtime

import (
	"math"
	"slices"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// rectified are the scores of attention between rescaling and softmax; what lies
// between is an Add of a bias for 2.
func rectified(b *bench, form int) (scores, inner *ir.Value) {
	scores = b.act(-1, 1, 2, 3, 5, 7)
	x := scores
	if form != 1 {
		x = b.op("Mul", nil, x, b.act(0.5, 1, 2, 3, 5, 1))
		x = b.op("Mul", nil, x, b.act(0.5, 1, 2, 3, 1, 7))
		mean := b.op("Mul", nil, b.op("Mul", nil, b.act(-1, 1, 2, 3, 5, 1), b.con(2, 2)), b.act(-1, 1, 2, 3, 1, 7))
		x = b.op("Add", nil, x, mean)
		inner = x
	}
	if form != 3 {
		x = b.op("Mul", nil, x, b.g.AddConst("scale", ir.Scalar(float32(0.7))))
	}
	if form == 2 {
		inner = x
		x = b.op("Add", nil, x, b.par(-1, 1, 3, 5, 7))
	}
	b.g.AddOutput(b.op("Softmax", nil, x))
	return scores, inner
}

// TestLogits wants one step for what lies round the softmax, with the bits of the single
// steps forward and true gradients, also where the scores have another reader.
func TestLogits(t *testing.T) {
	for form := range 5 {
		b := newBench(uint64(50 + form))
		scores, inner := rectified(b, form)
		if form == 4 {
			b.g.AddOutput(b.op("Tanh", nil, scores))
		}
		p := b.compile(t, true)
		count := 0
		for _, s := range p.steps {
			if _, ok := s.(*logits); ok {
				count++
			}
		}
		want := 1
		if form == 2 {
			want = 2 // the bias lies between
		}
		if count != want {
			t.Fatalf("form %d: %d steps of logits, want %d", form, count, want)
		}
		b.checkForward(t, true, 1e-6)
		b.checkGradients(t, 1e-4)
		if inner == nil {
			continue
		}
		// A tap keeps the steps apart.
		run := func(taps ...*ir.Value) []float32 {
			p, err := Compile(b.g, Config{Train: true, Params: b.params, Taps: taps})
			if err != nil {
				t.Fatal(err)
			}
			s := p.NewState()
			if err := s.Forward(); err != nil {
				t.Fatal(err)
			}
			return s.Value(b.g.Outputs[0])
		}
		if got, single := run(), run(inner, inner.Def.Inputs[0]); !slices.EqualFunc(got, single, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }) {
			t.Errorf("form %d: not the bits of the single steps", form)
		}
	}
}
