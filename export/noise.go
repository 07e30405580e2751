package export

import (
	"context"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// noiseStep is the relative change that perturbed makes: a few times what
// approximations of exp and erf in float32 differ by.
const noiseStep = 0x1p-18

// perturbed is a copy of g whose normalisations are scaled up and down by a hair,
// element by element: another runtime's rounding has the same effect.
func perturbed(g *ir.Graph) *ir.Graph {
	c, _ := g.Clone()
	done := map[*ir.Value]bool{}
	for n := range c.Nodes() {
		v := n.Input(1)
		if !n.Is("LayerNormalization") || !v.IsConst() || v.Const.Elem != ir.Float32 || done[v] {
			continue
		}
		done[v] = true
		for i, x := range v.Const.F32() {
			step := float32(1 + noiseStep)
			if i%2 == 1 {
				step = 1 - noiseStep
			}
			v.Const.F32()[i] = x * step
		}
	}
	return c
}

// noise is how far the answers to the samples move under such a change: the
// median over the rows of the largest difference.
func noise(ctx context.Context, g *ir.Graph, samples []map[string]*ir.Tensor, threads int) (float64, error) {
	var sessions [2]*runtime.Session
	for i, one := range []*ir.Graph{g, perturbed(g)} {
		s, err := runtime.NewSession(one, runtime.Options{Threads: threads})
		if err != nil {
			return 0, err
		}
		sessions[i] = s
	}
	r := &ORTResult{}
	for _, in := range samples {
		want, err := sessions[0].Run(ctx, in)
		if err != nil {
			return 0, err
		}
		got, err := sessions[1].Run(ctx, in)
		if err != nil {
			return 0, err
		}
		for _, v := range g.Outputs {
			r.rows(want[v.Name], got[v.Name])
		}
	}
	if len(r.diffs) == 0 {
		return 0, nil
	}
	slices.Sort(r.diffs)
	return r.diffs[len(r.diffs)/2], nil
}
