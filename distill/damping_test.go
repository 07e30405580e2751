package distill

import (
	"context"
	"math"
	"testing"
)

// flips counts how often the code of a weight changes in the second half of a run.
func flips(t *testing.T, damping float64) int {
	j := tinyJob(t, Options{Epochs: 30, LR: 0.02, MinLR: 0.02, Damping: damping})
	var last []float64
	n := 0
	weights := Params(j.Student)
	j.Progress = func(s Step) {
		var codes []float64
		for _, p := range weights {
			if p.Kind != Weight || p.Quant == nil {
				continue
			}
			scale := p.Quant.Input(1).Const.F32()
			lo, hi := codeRange(p.Quant)
			for i, x := range p.Value.Const.F32() {
				q := math.RoundToEven(float64(x / scale[i%len(scale)]))
				codes = append(codes, min(max(q, float64(lo)), float64(hi)))
			}
		}
		if s.Step > s.Steps/2 {
			for i, q := range codes {
				if q != last[i] {
					n++
				}
			}
		}
		last = codes
	}
	if _, err := Train(context.Background(), j); err != nil {
		t.Fatal(err)
	}
	return n
}

// Damped weights stay with their codes.
func TestDampingCalmsCodes(t *testing.T) {
	without, with := flips(t, 0), flips(t, 0.1)
	t.Logf("%d changes of a code without damping, %d with", without, with)
	if with*2 > without {
		t.Errorf("%d changes of a code without damping, %d with", without, with)
	}
}
