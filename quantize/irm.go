package quantize

import (
	"context"
	"math"

	"github.com/qvitc/qvitc/ir"
)

// irmNorm is one IRM of the form layernorm: y = gamma*(x - mean)/std + beta.
type irmNorm struct {
	node  *ir.Node  // LayerNormalization over the head width
	last  *ir.Value // its rectified output: of node, or of gamma and beta per head behind it
	gamma *ir.Value // [d], or [H,1,d]
}

// irmNorms finds the rectifications of the form layernorm. The form rescale
// keeps the function of the float model and needs no gain.
func irmNorms(g *ir.Graph) []irmNorm {
	var out []irmNorm
	for n := range g.Nodes() {
		if n.Role.Kind != ir.RoleIRMQ && n.Role.Kind != ir.RoleIRMK {
			continue
		}
		x := irmNorm{node: n, last: n.Out()}
		switch {
		case n.Is("LayerNormalization"):
			x.gamma = n.Inputs[1]
		case n.Is("Add") && n.Inputs[0].Def.Is("Mul") && n.Inputs[0].Def.Inputs[0].Def.Is("LayerNormalization"):
			x.node, x.gamma = n.Inputs[0].Def.Inputs[0].Def, n.Inputs[0].Def.Inputs[1]
		default:
			continue
		}
		if x.gamma.IsConst() && x.gamma.Const.Elem == ir.Float32 {
			out = append(out, x)
		}
	}
	return out
}

// InitIRM gives gamma of every IRM of the form layernorm the mean deviation of
// the tokens that the float model shows it: E[s_q] and E[s_k], per head where
// gamma is. That keeps the mean temperature of the attention to first order
// (method.md 5.4); gamma = 1 would not. Images are those of Calibrate, which
// calls this first. It gives the number of gammas set.
func InitIRM(ctx context.Context, g *ir.Graph, batches Batches, o CalibrateOptions) (int, error) {
	norms := irmNorms(g)
	if len(norms) == 0 {
		return 0, nil
	}
	f, err := newFloatGraph(g)
	if err != nil {
		return 0, err
	}
	var taps []*ir.Value
	var groups []int
	for _, n := range norms { // the float model has no IRM
		taps, groups = append(taps, f.of[n.node.Inputs[0]]), append(groups, gammaHeads(n.gamma))
		f.g.ReplaceUses(f.of[n.last], f.of[n.node.Inputs[0]])
	}
	run := runOptions{samples: o.Samples, chunk: o.Chunk}
	seen, err := f.gather(ctx, taps, groups, batches, o.Threads, run, func(_ int, of []moments, x []float32, shape []int) error {
		tokenStd(of, x, shape)
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i, n := range norms {
		data := make([]float32, n.gamma.Const.Len())
		heads := gammaHeads(n.gamma)
		for h := range heads {
			mean := float32(seen[i][h].sum.mean())
			if !(mean > 0) {
				mean = 1 // constant tokens: no spread to keep
			}
			for k := range len(data) / heads {
				data[h*len(data)/heads+k] = mean
			}
		}
		n.gamma.SetConst(ir.Of(data, n.gamma.Const.Shape...))
	}
	return len(norms), nil
}

// gammaHeads is the number of heads that gamma tells apart.
func gammaHeads(gamma *ir.Value) int {
	if s := gamma.Const.Shape; len(s) == 3 {
		return s[0]
	}
	return 1
}

// tokenStd adds the deviation of every token of x [.., H, N, d] to the sum of
// its head; with one sum all heads share it.
func tokenStd(sums []moments, x []float32, shape []int) {
	d := shape[len(shape)-1]
	perHead := len(x)
	if len(sums) > 1 {
		perHead = shape[len(shape)-2] * d
	}
	for at := 0; at+d <= len(x); at += d {
		var sum, squares float64
		for _, v := range x[at : at+d] {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		mean := sum / float64(d)
		sums[at/perHead%len(sums)].add(math.Sqrt(max(0, squares/float64(d)-mean*mean)))
	}
}
