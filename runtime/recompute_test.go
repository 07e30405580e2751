package runtime

import (
	"math"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// gradients runs one step and gives all gradients, one after the other.
func gradients(t *testing.T, p *Program, s *State, g *ir.Graph, data []float32) []float32 {
	t.Helper()
	for _, v := range g.Inputs {
		copy(s.Input(v), data)
	}
	if err := s.Forward(); err != nil {
		t.Fatal(err)
	}
	copy(s.Seed(g.Outputs[0]), data)
	var grads [][]float32
	var all []float32
	for _, id := range p.params {
		grads = append(grads, make([]float32, p.values[id].n))
	}
	s.Backward(grads)
	for _, x := range grads {
		all = append(all, x...)
	}
	return all
}

// TestMaxMemory lowers the limit step by step: the plan stays below it with more
// and more segments run twice, and the gradients keep their bits.
func TestMaxMemory(t *testing.T) {
	for _, quant := range []bool{false, true} {
		b := newBench(21)
		x := vit(b, quant)
		data := b.floats(1<<12, -1, 1)
		compile := func(limit int64) (*Program, error) {
			return Compile(b.g, Config{Shapes: map[string][]int{x.Name: {16, 1, 8, 8}}, Train: true, Params: b.params, Taps: b.taps, MaxMemory: limit})
		}
		p, err := compile(0)
		if err != nil {
			t.Fatal(err)
		}
		want := gradients(t, p, p.NewState(), b.g, data)
		whole := p.Memory()
		most, plans := -1, 0
		for part := int64(98); ; part -= 3 {
			limit := whole * part / 100
			p, err := compile(limit)
			if err != nil {
				if !strings.Contains(err.Error(), "MiB") || plans < 3 {
					t.Fatalf("quant %v: after %d plans: %v", quant, plans, err)
				}
				t.Logf("quant %v: %d bytes whole, no plan at %d %%", quant, whole, part)
				break
			}
			n, of := p.Recomputed()
			if p.Memory() > limit || n < most || n > of {
				t.Fatalf("quant %v, limit %d: %d bytes with %d of %d segments run twice, %d before", quant, limit, p.Memory(), n, of, most)
			}
			most = n
			plans++
			s := p.NewState()
			for run := range 2 { // the second one starts from the second places
				for i, v := range gradients(t, p, s, b.g, data) {
					if math.Float32bits(v) != math.Float32bits(want[i]) {
						t.Fatalf("quant %v, limit %d, run %d: gradient %d is %v, without a limit %v", quant, limit, run, i, v, want[i])
					}
				}
			}
		}
		if most < 1 {
			t.Errorf("quant %v: no segment ran twice", quant)
		}
	}
}

// TestTrainingAllocatesNothing after the first step, in any form of the step.
func TestTrainingAllocatesNothing(t *testing.T) {
	b := newBench(22)
	vit(b, true)
	for _, c := range []Config{{}, {FastBackward: true}, {MaxMemory: 110_000}, {floatProducts: true}} {
		c.Batch, c.Train, c.Params = 2, true, b.params
		if c.MaxMemory > 0 {
			c.Batch = 12
		}
		p, err := Compile(b.g, c)
		if err != nil {
			t.Fatal(err)
		}
		s := p.NewState()
		var grads [][]float32
		for _, v := range b.params {
			grads = append(grads, make([]float32, v.Const.Len()))
		}
		step := func() {
			if err := s.Forward(); err != nil {
				t.Fatal(err)
			}
			s.Seed(b.g.Outputs[0])[0] = 1
			s.Backward(grads)
		}
		step()
		if n := testing.AllocsPerRun(5, step); n != 0 {
			t.Errorf("%+v: %v allocations a step", c, n)
		}
	}
}
