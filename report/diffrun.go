package report

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// differ runs both models and adds up what their layers differ by.
type differ struct {
	a, b    side
	pairs   []pair
	sums    []sums
	threads int
}

// sums of one layer over all images.
type sums struct {
	aa, bb, ab, ee float64 // of a², b², a·b and (a-b)²
	worst          float64
	unlike         bool // the outputs have different shapes
	codes, equal   int  // of the inputs
}

// tap marks what the comparison reads: outputs and unquantised inputs.
func (d *differ) tap() {
	for _, s := range []*side{&d.a, &d.b} {
		s.plans = map[int]*runtime.Program{}
	}
	mark := func(s *side, v *ir.Value) {
		if v != nil && !v.IsConst() && !s.g.IsOutput(v) && !slices.Contains(s.g.Inputs, v) && !slices.Contains(s.taps, v) {
			s.taps = append(s.taps, v)
		}
	}
	for _, p := range d.pairs {
		mark(&d.a, p.a.out)
		mark(&d.b, p.b.out)
		for i := range sameWidths(p) {
			mark(&d.a, p.a.operands[i].x)
			mark(&d.b, p.b.operands[i].x)
		}
	}
}

// sameWidths is the number of operands whose codes can be compared.
func sameWidths(p pair) int {
	n := min(len(p.a.operands), len(p.b.operands))
	for i := range n {
		if p.a.operands[i].bits != p.b.operands[i].bits {
			return i
		}
	}
	return n
}

// shardImages are run together; the sums of shards are added in their order.
const shardImages = 8

// run runs one batch on both models, in shards, and gives the logits of both,
// the mean where a model has several outputs.
func (d *differ) run(ctx context.Context, x []float32, n int) (logitsA, logitsB []float32, err error) {
	shard := shardImages
	for _, s := range []*side{&d.a, &d.b} {
		if t := s.g.Inputs[0].Type; t.Rank() > 0 && t.Shape[0].Known() {
			shard = int(t.Shape[0].Size)
			if shard < 1 || n%shard != 0 {
				return nil, nil, fmt.Errorf("a model has a fixed batch of %d: give a multiple of it, not %d images", shard, n)
			}
		}
	}
	parts := (n + shard - 1) / shard
	for i := range parts {
		for _, s := range []*side{&d.a, &d.b} {
			k := min(shard, n-i*shard)
			if s.plans[k] == nil {
				if s.plans[k], err = runtime.Compile(s.g, runtime.Config{Batch: k, Taps: s.taps}); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	per := len(x) / n
	partial := make([][]sums, parts)
	la, lb := make([][]float32, parts), make([][]float32, parts)
	err = runtime.Parallel(parts, d.threads, func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		lo, hi := i*shard, min(n, (i+1)*shard)
		sa, err := d.a.forward(x[lo*per:hi*per], hi-lo)
		if err != nil {
			return err
		}
		sb, err := d.b.forward(x[lo*per:hi*per], hi-lo)
		if err != nil {
			return err
		}
		la[i], lb[i] = d.a.logits(sa), d.b.logits(sb)
		partial[i] = make([]sums, len(d.pairs))
		for j, p := range d.pairs {
			partial[i][j].measure(p, sa, sb)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, part := range partial {
		for j := range part {
			d.sums[j].add(&part[j])
		}
	}
	return slices.Concat(la...), slices.Concat(lb...), nil
}

func (s *side) forward(x []float32, n int) (*runtime.State, error) {
	st := s.plans[n].NewState()
	in := st.Input(s.g.Inputs[0])
	if len(in) != len(x) {
		return nil, fmt.Errorf("input %s takes %d values for %d images, given are %d", ir.Quote(s.g.Inputs[0].Name), len(in), n, len(x))
	}
	copy(in, x)
	return st, st.Forward()
}

// logits gives the mean of the outputs that have the size of the first.
func (s *side) logits(st *runtime.State) []float32 {
	out := slices.Clone(st.Value(s.g.Outputs[0]))
	heads := 1
	for _, v := range s.g.Outputs[1:] {
		if w := st.Value(v); len(w) == len(out) {
			heads++
			for i := range out {
				out[i] += w[i]
			}
		}
	}
	for i := range out {
		out[i] /= float32(heads)
	}
	return out
}

func (s *sums) measure(p pair, sa, sb *runtime.State) {
	va, vb := sa.Value(p.a.out), sb.Value(p.b.out)
	if len(va) != len(vb) {
		s.unlike = true
		return
	}
	for i, x := range va {
		a, b := float64(x), float64(vb[i])
		e := a - b
		s.aa += a * a
		s.bb += b * b
		s.ab += a * b
		s.ee += e * e
		if e = math.Abs(e); !(e <= s.worst) {
			s.worst = e
		}
	}
	var ca, cb []int16
	for i := range sameWidths(p) {
		qa, qb := &p.a.operands[i], &p.b.operands[i]
		shapeA, shapeB := sa.Program().Shape(qa.x), sb.Program().Shape(qb.x)
		if !slices.Equal(shapeA, shapeB) {
			continue
		}
		ca, cb = qa.codes(sa.Value(qa.x), shapeA, ca), qb.codes(sb.Value(qb.x), shapeB, cb)
		s.codes += len(ca)
		for k := range ca {
			s.equal += count(ca[k] == cb[k])
		}
	}
}

func (s *sums) add(t *sums) {
	s.aa += t.aa
	s.bb += t.bb
	s.ab += t.ab
	s.ee += t.ee
	s.codes += t.codes
	s.equal += t.equal
	s.unlike = s.unlike || t.unlike
	if !(t.worst <= s.worst) {
		s.worst = t.worst
	}
}

// layer is the line of the table.
func (s *sums) layer(p pair) LayerDiff {
	l := LayerDiff{Name: p.b.name, Kind: p.a.kind, BitsA: p.a.bits, BitsB: p.b.bits, MaxErr: s.worst,
		SQNR: sqnr(s.aa, s.ee), BytesA: p.a.bytes, BytesB: p.b.bytes}
	if s.aa > 0 && s.bb > 0 {
		l.Cosine = s.ab / math.Sqrt(s.aa) / math.Sqrt(s.bb)
	} else if s.aa == s.bb {
		l.Cosine = 1
	}
	if s.codes > 0 {
		share := float64(s.equal) / float64(s.codes)
		l.InputCodes = &share
	}
	l.WeightSQNR, l.WeightCodes = diffWeights(p.a.weight, p.b.weight)
	return l
}

// sqnr is the ratio of signal to error in dB; nil without any error.
func sqnr(signal, noise float64) *float64 {
	if noise == 0 {
		return nil
	}
	db := 10 * math.Log10(max(signal, math.SmallestNonzeroFloat64)/noise)
	return &db
}

// diffWeights compares weights row by row. Packed rows may be longer by the
// padding of their last group.
func diffWeights(a, b *weight) (db, codes *float64) {
	if a == nil || b == nil || a.n != b.n || max(a.k, b.k)-min(a.k, b.k) >= 8 {
		return nil, nil
	}
	k := min(a.k, b.k)
	both := a.codes != nil && b.codes != nil && a.bits == b.bits
	var signal, noise float64
	equal := 0
	for j := range a.n {
		for i := range k {
			x, y := float64(a.values[j*a.k+i]), float64(b.values[j*b.k+i])
			signal += x * x
			noise += (x - y) * (x - y)
			if both && a.codes[j*a.k+i] == b.codes[j*b.k+i] {
				equal++
			}
		}
	}
	if both {
		share := float64(equal) / float64(a.n*k)
		codes = &share
	}
	return sqnr(signal, noise), codes
}
