package quantize

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// AttentionTap names the tensors of one attention block. Each is laid out as
// [..., H, N, d] or [B*H, N, d] (probs: N x N in the last two dimensions); nil
// ones are left out of the report. Q and K are meant before the IRM.
type AttentionTap struct {
	Block          int
	Q, K, V, Probs *ir.Value
	KTransposed    bool // K is [.., d, N]
	Heads          int  // H of three-dimensional tensors; not needed for more
}

// EntropyOptions tune MeasureEntropy.
type EntropyOptions struct {
	Bits     int       // of all the grids measured; 0: 4
	Samples  int       // most images read; 0: all
	Threads  int       // 0: GOMAXPROCS; no effect on the result
	Chunk    int       // images run at once by a thread; 0: DefaultChunk, fewer for large models
	Grid     PatchGrid // places of the tokens; zero: GuessGrid
	Progress func(images int)

	// Quantised leaves the quantisers of g at work: the tensors are those of the
	// quantised network.
	Quantised bool
	// Bins asks for the distribution of the values in so many bins, from four
	// standard deviations below the mean to four above; 0: none.
	Bins int
}

// Density is a histogram: Share[i] is the part of all values between Lo+i*Width
// and Lo+(i+1)*Width.
type Density struct {
	Lo    float64   `json:"lo"`
	Width float64   `json:"width"`
	Share []float64 `json:"share"`
}

// EntropyReport is what the codes of the attention tensors carry.
type EntropyReport struct {
	Bits   int           `json:"bits"`
	Images int           `json:"images"`
	Heads  []HeadEntropy `json:"heads"` // by block, tensor (q, k, v, probs), before then after IRM, head
}

// HeadEntropy describes one tensor of one head, quantised on its own grid with
// the alpha of least squared error (signed, probs unsigned; zero point 0).
// Entropies are in bits.
type HeadEntropy struct {
	Block  int    `json:"block"`
	Head   int    `json:"head"`
	Tensor string `json:"tensor"` // "q", "k", "v", "probs"
	IRM    bool   `json:"irm"`    // normalised per token first

	Alpha        float64  `json:"alpha"`
	Entropy      float64  `json:"entropy"`                // of the codes seen
	Share        float64  `json:"entropy_share"`          // of the bits
	Gaussian     float64  `json:"gaussian_entropy"`       // of the codes of N(mean, std^2)
	Differential *float64 `json:"differential,omitempty"` // of N(mean, std^2), 1/2 log2(2 pi e std^2); absent when std is 0
	Mean         float64  `json:"mean"`
	Std          float64  `json:"std"`
	QuantMean    float64  `json:"quantised_mean"`
	QuantStd     float64  `json:"quantised_std"`
	Used         int      `json:"codes_used"`
	Clipped      float64  `json:"clip_rate"`    // fraction more than half a step outside the grid
	Error        float64  `json:"relative_mse"` // MSE / variance

	Density *Density `json:"density,omitempty"` // where EntropyOptions.Bins asks for it

	// Of q, k and v: how unlike the tokens' spreads are, and what a Gaussian
	// token of each spread gets from the shared alpha, on average.
	TokenLogStd  float64 `json:"token_log_std,omitempty"`
	TokenEntropy float64 `json:"token_entropy,omitempty"`
	TokenError   float64 `json:"token_relative_mse,omitempty"`

	// Of probs.
	RowEntropy float64  `json:"row_entropy,omitempty"` // mean entropy of a row of the map
	Distance   *float64 `json:"distance,omitempty"`    // mean attention distance, patches
}

// channel is one line of the report before it is split by head.
type channel struct {
	block, heads int
	name         string
	irm          bool
	transposed   bool
	value        *ir.Value // in the float graph
	origin       *ir.Value // in the caller's
	probs        bool
}

// MeasureEntropy runs the float model (g with every FakeQuant bypassed, unless
// o.Quantised) on the
// images and measures every tap on a grid of its own, q and k also after
// per-token normalisation over the head's channels, which is what the IRM does
// (method.md 5.2 and 6). Memory does not grow with the number of images; the
// result does not depend on Threads.
func MeasureEntropy(ctx context.Context, g *ir.Graph, taps []AttentionTap, batches Batches, o EntropyOptions) (*EntropyReport, error) {
	if o.Bits == 0 {
		o.Bits = 4
	}
	if o.Bits < 2 || o.Bits > MaxBits {
		return nil, fmt.Errorf("entropy at %d bits: it must be 2 to %d", o.Bits, MaxBits)
	}
	f, err := newTapped(g, o.Quantised)
	if err != nil {
		return nil, err
	}
	channels, values, err := f.channels(taps)
	if err != nil {
		return nil, err
	}
	workers := make([]*meterWorker, threadsOf(o.Threads))
	visitors := make([]func(view) error, len(workers))
	for i := range workers {
		workers[i] = &meterWorker{channels: channels, meters: make([][]tensorMeter, len(channels)), grid: o.Grid}
		visitors[i] = workers[i].visit
	}
	images, err := f.run(ctx, values, batches, runOptions{samples: o.Samples, chunk: o.Chunk, progress: o.Progress}, visitors)
	if err != nil {
		return nil, err
	}
	r := &EntropyReport{Bits: o.Bits, Images: images, Heads: []HeadEntropy{}}
	for c, ch := range channels {
		var meters []tensorMeter
		for _, w := range workers {
			if meters == nil {
				meters = w.meters[c]
				continue
			}
			for h := range w.meters[c] {
				meters[h].merge(&w.meters[c][h])
			}
		}
		for h := range meters {
			line, err := meters[h].describe(Quantiser{Bits: o.Bits, Signed: !ch.probs})
			if err != nil {
				return nil, &ir.Error{Tensor: ch.origin.Name, Err: err}
			}
			line.Block, line.Head, line.Tensor, line.IRM = ch.block, h, ch.name, ch.irm
			line.Density = meters[h].values.Points().density(line.Mean, line.Std, o.Bins)
			r.Heads = append(r.Heads, line)
		}
	}
	return r, nil
}

// channels lists what to measure and the values to tap for it.
func (f *floatGraph) channels(taps []AttentionTap) ([]channel, []*ir.Value, error) {
	var list []channel
	var values []*ir.Value
	for _, t := range taps {
		for i, v := range []*ir.Value{t.Q, t.K, t.V, t.Probs} {
			if v == nil {
				continue
			}
			src := f.of[v]
			if src == nil {
				return nil, nil, &ir.Error{Tensor: v.Name, Msg: "is not a value of the graph"}
			}
			if !slices.Contains(values, src) {
				values = append(values, src)
			}
			ch := channel{block: t.Block, heads: t.Heads, name: [...]string{"q", "k", "v", "probs"}[i], value: src, origin: v, probs: i == 3, transposed: i == 1 && t.KTransposed}
			list = append(list, ch)
			if i < 2 {
				ch.irm = true
				list = append(list, ch)
			}
		}
	}
	if len(list) == 0 {
		return nil, nil, fmt.Errorf("there are no attention tensors to measure")
	}
	return list, values, nil
}

// tokenSteps is the number of quantiles of the tokens' spread that stand for all
// tokens.
const tokenSteps = 64

// describe turns what was gathered into a line of the report.
func (m *tensorMeter) describe(q Quantiser) (HeadEntropy, error) {
	var l HeadEntropy
	p := m.values.Points()
	fit, err := Fit{Quantiser: q, Resolution: m.values.Width()}.Points(p)
	if err != nil {
		return l, err
	}
	l.Alpha = float64(fit.Scale)
	l.Mean, l.Std = p.Moments()
	weights, clipped := p.codes(q, l.Alpha, 0)
	total := float64(m.values.Count())
	qn, _ := q.Range()
	values := make([]float64, len(weights))
	for i := range weights {
		values[i] = l.Alpha * float64(qn+i)
		if weights[i] > 0 {
			l.Used++
		}
	}
	mean, variance := stat.PopMeanVariance(values, weights)
	l.QuantMean, l.QuantStd = mean, math.Sqrt(max(variance, 0))
	for i := range weights {
		weights[i] /= total
	}
	l.Entropy = max(stat.Entropy(weights)/math.Ln2, 0)
	l.Share = l.Entropy / float64(q.Bits)
	l.Clipped = clipped / total
	l.Gaussian = q.Gaussian(l.Mean, l.Std, l.Alpha, 0).Entropy
	if l.Std > 0 {
		d := distuv.Normal{Mu: l.Mean, Sigma: l.Std}.Entropy() / math.Ln2
		l.Differential = &d
		l.Error = fit.MSE / (l.Std * l.Std)
	}
	if m.tokens.Count() > 0 {
		m.describeTokens(q, &l)
	}
	if m.rowEntropy.n > 0 {
		l.RowEntropy = m.rowEntropy.mean()
	}
	if m.distant.n > 0 {
		d := m.distant.mean()
		l.Distance = &d
	}
	return l, nil
}

func (m *tensorMeter) describeTokens(q Quantiser, l *HeadEntropy) {
	p := m.tokens.Points()
	var logs, w []float64
	for i, s := range p.x {
		if s > 0 {
			logs, w = append(logs, math.Log(s)), append(w, p.w[i])
		}
	}
	if len(logs) > 0 {
		_, v := stat.PopMeanVariance(logs, w)
		l.TokenLogStd = math.Sqrt(max(v, 0))
	}
	for i := range tokenSteps {
		s := p.Quantile((float64(i) + 0.5) / tokenSteps)
		g := q.Gaussian(0, s, l.Alpha, 0)
		l.TokenEntropy += g.Entropy / tokenSteps
		if s > 0 {
			l.TokenError += g.MSE / (s * s) / tokenSteps
		}
	}
}
