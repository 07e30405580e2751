package quantize

import (
	"context"
	"math"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// equalBits is the width from which the grid is fine enough for unequal channels.
const equalBits = 8

// maxGain bounds the gain of a channel against the mean of all.
const maxGain = 32

// equalNorm is a layer normalisation that quantised linear layers alone read.
type equalNorm struct {
	node    *ir.Node
	linears []equalLinear
	shift   bool // every linear layer has a bias to take the mean
}

// equalLinear is a linear layer y = x·W + b; bias is nil without b.
type equalLinear struct{ weight, bias *ir.Value }

// Equalise gives the channels that a LayerNormalization hands to quantised
// linear layers mean 0 and equal deviation, so that the one step of their
// quantiser fits all of them; the function of the float model stays. For the
// mean m and deviation s of a channel over images and tokens, and r = s over its
// geometric mean over channels,
//
//	gamma' = gamma/r   beta' = (beta-m)/r   W' = diag(r)·W   b' = b + m·W
//
// as in Outlier Suppression+ (arXiv 2304.09145), with r the deviation itself.
// Layers read at 8 bits and more, and norms that something else reads, stay as
// they are; where a linear layer has no bias the mean stays. It comes before
// Calibrate and sees the same images; o.Method and o.Weights mean nothing to it.
// It gives the number of norms equalised. g is changed only on success.
func Equalise(ctx context.Context, g *ir.Graph, batches Batches, o CalibrateOptions) (int, error) {
	norms := equalNorms(g)
	if len(norms) == 0 {
		return 0, nil
	}
	f, err := newFloatGraph(g)
	if err != nil {
		return 0, err
	}
	var taps []*ir.Value
	var groups []int
	for _, n := range norms {
		taps, groups = append(taps, f.of[n.node.Out()]), append(groups, n.channels())
	}
	run := runOptions{samples: o.Samples, chunk: o.Chunk, progress: o.Progress}
	seen, err := f.gather(ctx, taps, groups, batches, o.Threads, run, func(i int, of []moments, x []float32, _ []int) error {
		for k, v := range x {
			if v-v != 0 {
				return refuse(fakeQuant{node: norms[i].node, x: norms[i].node.Out()}, ErrNotFinite, "activation")
			}
			of[k%len(of)].add(float64(v))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i, n := range norms {
		mean, spread := make([]float64, n.channels()), make([]float64, n.channels())
		for c, m := range seen[i] {
			mean[c], spread[c] = m.of()
		}
		if !n.shift {
			clear(mean)
		}
		n.apply(mean, gains(spread))
	}
	return len(norms), nil
}

// gains are the deviations over their geometric mean, from 1/maxGain to maxGain.
func gains(spread []float64) []float64 {
	floor, logs := slices.Max(spread)/1e4, 0.0
	r := make([]float64, len(spread))
	for c, s := range spread {
		r[c] = 1
		if floor > 0 {
			r[c] = max(s, floor)
		}
		logs += math.Log(r[c])
	}
	middle := math.Exp(logs / float64(len(r)))
	for c := range r {
		r[c] = min(max(r[c]/middle, 1.0/maxGain), maxGain)
	}
	return r
}

func (n equalNorm) channels() int { return n.node.Inputs[1].Const.Len() }

func (n equalNorm) apply(mean, gain []float64) {
	gamma, beta := slices.Clone(n.node.Inputs[1].Const.F32()), slices.Clone(n.node.Inputs[2].Const.F32())
	for c, r := range gain {
		gamma[c] = float32(float64(gamma[c]) / r)
		beta[c] = float32((float64(beta[c]) - mean[c]) / r)
	}
	n.node.Inputs[1].SetConst(ir.Of(gamma, len(gamma)))
	n.node.Inputs[2].SetConst(ir.Of(beta, len(beta)))
	for _, l := range n.linears {
		rows, width := l.weight.Const.Shape[0], l.weight.Const.Shape[1]
		w, moved := slices.Clone(l.weight.Const.F32()), make([]float64, width)
		for c := range rows {
			row := w[c*width : (c+1)*width]
			for j, v := range row {
				moved[j] += mean[c] * float64(v)
				row[j] = float32(float64(v) * gain[c])
			}
		}
		l.weight.SetConst(ir.Of(w, rows, width))
		if l.bias != nil && n.shift {
			b := slices.Clone(l.bias.Const.F32())
			for j := range b {
				b[j] = float32(float64(b[j]) + moved[j])
			}
			l.bias.SetConst(ir.Of(b, width))
		}
	}
}

// equalNorms finds the layer normalisations that can be equalised.
func equalNorms(g *ir.Graph) (out []equalNorm) {
	for n := range g.Nodes() {
		if !n.Is("LayerNormalization") || !own(n.Input(1), 1) || !own(n.Input(2), 1) || !lastAxis(n) {
			continue
		}
		if linears := channelReaders(g, n.Out(), n.Inputs[1].Const.Len()); len(linears) > 0 {
			noBias := slices.ContainsFunc(linears, func(l equalLinear) bool { return l.bias == nil })
			out = append(out, equalNorm{node: n, linears: linears, shift: !noBias})
		}
	}
	return out
}

// own tells whether v is a float32 constant of so many dimensions that one node alone reads.
func own(v *ir.Value, rank int) bool {
	return v.IsConst() && v.Const.Elem == ir.Float32 && len(v.Const.Shape) == rank && len(v.Uses()) == 1
}

func lastAxis(n *ir.Node) bool {
	axis := n.Attrs.Int("axis", -1)
	return axis == -1 || axis == n.Inputs[0].Type.Rank()-1
}

// channelReaders gives the linear layers that read v [..., channels] at less
// than equalBits bits, through nodes that move tokens and leave their channels
// together; nil where anything else reads it.
func channelReaders(g *ir.Graph, v *ir.Value, channels int) (out []equalLinear) {
	reached := map[*ir.Value]bool{v: true}
	var joins []*ir.Node
	for queue := []*ir.Value{v}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if g.IsOutput(at) {
			return nil
		}
		for _, u := range at.Uses() {
			n := u.Node
			switch {
			case n.Is("MatMul") && u.Index == 0:
				l, ok := linearOf(n, channels)
				if q := at.Def; !ok || !q.IsOwn("FakeQuant") || q.Attrs.Int("bits", equalBits) >= equalBits || q.Attrs.Has("axis") {
					return nil
				}
				out = append(out, l)
				continue
			case !movesTokens(n, u.Index, channels):
				return nil
			case n.Is("Concat"):
				joins = append(joins, n)
			}
			if !reached[n.Out()] {
				reached[n.Out()] = true
				queue = append(queue, n.Out())
			}
		}
	}
	for _, n := range joins {
		if slices.ContainsFunc(n.Inputs, func(v *ir.Value) bool { return !reached[v] }) {
			return nil // tokens of another origin come in
		}
	}
	return out
}

// movesTokens tells whether n, reading a tensor [..., channels] as input i, gives
// one whose rows of channels are rows of it.
func movesTokens(n *ir.Node, i, channels int) bool {
	if n.IsOwn("FakeQuant") {
		return i == 0
	}
	rank := n.Inputs[i].Type.Rank()
	t := n.Out().Type
	if rank < 1 || t.Rank() < 1 || t.Shape[t.Rank()-1].Size != int64(channels) {
		return false
	}
	switch {
	case n.Is("Reshape"), n.Is("Identity"):
		return i == 0
	case n.Is("Transpose"):
		perm := n.Attrs.Ints("perm")
		return len(perm) == rank && perm[rank-1] == rank-1
	case n.Is("Concat"):
		axis := n.Attrs.Int("axis", 0)
		return axis != -1 && axis != rank-1
	case n.Is("Slice"):
		axes := n.Input(3)
		if i != 0 || axes == nil || !axes.IsConst() {
			return false
		}
		for _, a := range axes.Const.Ints() {
			if a == -1 || int(a) == rank-1 {
				return false
			}
		}
		return true
	}
	return false
}

// linearOf reads the weight [channels, width] and the bias [width] of a linear
// layer; both must be its own.
func linearOf(n *ir.Node, channels int) (l equalLinear, ok bool) {
	l.weight = n.Inputs[1]
	if q := l.weight.Def; q.IsOwn("FakeQuant") {
		if len(l.weight.Uses()) != 1 {
			return l, false
		}
		l.weight = q.Inputs[0]
	}
	if !own(l.weight, 2) || l.weight.Const.Shape[0] != channels {
		return l, false
	}
	if uses := n.Out().Uses(); len(uses) == 1 && uses[0].Node.Is("Add") {
		if b := uses[0].Node.Inputs[1-uses[0].Index]; own(b, 1) && b.Const.Len() == l.weight.Const.Shape[1] {
			l.bias = b
		}
	}
	return l, true
}
