package main

import (
	"cmp"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// operatorTime is where the time of one batch goes, on one thread.
type operatorTime struct {
	Op    string  `json:"op"`
	Steps int     `json:"steps"`
	Ms    float64 `json:"ms"`
	Share float64 `json:"share"`
}

// operatorTimes runs the compiled graph with a clock around every step and adds
// the steps up by operator, the costliest first.
func operatorTimes(g *ir.Graph, in map[string]*ir.Tensor, runs int) ([]operatorTime, error) {
	shapes := map[string][]int{}
	for name, t := range in {
		shapes[name] = t.Shape
	}
	p, err := runtime.Compile(g, runtime.Config{Shapes: shapes})
	if err != nil {
		return nil, err
	}
	s := p.NewState()
	for _, v := range g.Inputs {
		if err := s.SetInput(v, in[v.Name]); err != nil {
			return nil, err
		}
	}
	if err := s.Forward(); err != nil { // warm
		return nil, err
	}
	s.EnableProfile()
	for range runs {
		if err := s.Forward(); err != nil {
			return nil, err
		}
	}
	var total int64
	at := map[string]int{}
	var out []operatorTime
	for _, t := range s.Profile() {
		i, ok := at[t.Op]
		if !ok {
			i = len(out)
			at[t.Op] = i
			out = append(out, operatorTime{Op: t.Op})
		}
		out[i].Steps++
		out[i].Ms += float64(t.Nanos) / 1e6 / float64(runs)
		total += t.Nanos
	}
	for i := range out {
		out[i].Share = out[i].Ms / (float64(max(1, total)) / 1e6 / float64(runs))
	}
	slices.SortStableFunc(out, func(a, b operatorTime) int { return cmp.Compare(b.Ms, a.Ms) })
	return out, nil
}
