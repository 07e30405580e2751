package quantize

import (
	"context"

	"github.com/qvitc/qvitc/ir"
)

// irmStatic is one IRM of the form static: y = gamma*(x - mean)/spread + beta
// with constants mean and spread [H,1,1] (or [1,1]), gamma and beta [H,1,d] (or [d]).
type irmStatic struct {
	x, last                   *ir.Value
	mean, spread, gamma, beta *ir.Value
}

func irmStatics(g *ir.Graph) []irmStatic {
	var out []irmStatic
	chain := []string{"Add", "Mul", "Div", "Sub"}
	for n := range g.Nodes() {
		if n.Role.Kind != ir.RoleIRMQ && n.Role.Kind != ir.RoleIRMK {
			continue
		}
		s := irmStatic{last: n.Out()}
		constants := []**ir.Value{&s.beta, &s.gamma, &s.spread, &s.mean}
		at := n
		for i, op := range chain {
			if !at.Is(op) || !at.Inputs[1].IsConst() || at.Inputs[1].Const.F32() == nil {
				s.x = nil
				break
			}
			*constants[i], s.x = at.Inputs[1], at.Inputs[0]
			at = s.x.Def
		}
		if s.x != nil {
			out = append(out, s)
		}
	}
	return out
}

// initStatic gives every IRM of the form static the mean and the deviation of q
// or k over images, tokens and channels of a head, and sets gamma to the
// deviation and beta to the mean: together they change nothing.
func initStatic(ctx context.Context, g *ir.Graph, batches Batches, o CalibrateOptions) error {
	statics := irmStatics(g)
	if len(statics) == 0 {
		return nil
	}
	f, err := newFloatGraph(g)
	if err != nil {
		return err
	}
	var taps []*ir.Value
	var groups []int
	for _, s := range statics { // the float model has no IRM
		taps, groups = append(taps, f.of[s.x]), append(groups, s.mean.Const.Len())
		f.g.ReplaceUses(f.of[s.last], f.of[s.x])
	}
	run := runOptions{samples: o.Samples, chunk: o.Chunk}
	seen, err := f.gather(ctx, taps, groups, batches, o.Threads, run, func(_ int, of []moments, x []float32, shape []int) error {
		perHead := len(x)
		if len(of) > 1 {
			perHead = shape[len(shape)-2] * shape[len(shape)-1]
		}
		for k, v := range x {
			of[k/perHead%len(of)].add(float64(v))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, s := range statics {
		heads := s.mean.Const.Len()
		mean, spread := make([]float32, heads), make([]float32, heads)
		gamma, beta := make([]float32, s.gamma.Const.Len()), make([]float32, s.beta.Const.Len())
		for h := range heads {
			mu, deviation := seen[i][h].of()
			mean[h], spread[h] = float32(mu), float32(deviation)
			if !(spread[h] > 0) {
				spread[h] = 1 // constant: no spread to keep
			}
			for k := range len(gamma) / heads {
				gamma[h*len(gamma)/heads+k], beta[h*len(beta)/heads+k] = spread[h], mean[h]
			}
		}
		for v, data := range map[*ir.Value][]float32{s.mean: mean, s.spread: spread, s.gamma: gamma, s.beta: beta} {
			v.SetConst(ir.Of(data, v.Const.Shape...))
		}
	}
	return nil
}
