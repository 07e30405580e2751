package main

import (
	"context"
	"errors"

	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
)

// measureOptions is the key measure of an experiment.
type measureOptions struct {
	Bits    int `yaml:"bits"`    // of the grids that entropies are told for; 0: 4
	Samples int `yaml:"samples"` // images of the evaluation set; 0: 64
}

// inside is what is measured of one cell: of its float model, and of its student.
type inside struct {
	Bits    int           `json:"bits"`
	Images  int           `json:"images"`
	Blocks  []insideBlock `json:"blocks"`
	Student []reach       `json:"student"` // attention of the quantised network
}

// insideBlock is the float model's attention block.
type insideBlock struct {
	Block    int         `json:"block"`
	Entropy  [4]float64  `json:"entropy"` // of the codes of q, q after IRM, k, k after IRM: mean over heads, bits
	Gaussian [4]float64  `json:"gaussian"`
	Distance []float64   `json:"distance"` // mean attention distance of each head, in patches
	Values   []valuePlot `json:"values"`   // of head 0: q, k
}

// reach is the attention of one block of the student.
type reach struct {
	Block    int       `json:"block"`
	Distance []float64 `json:"distance"`
}

// valuePlot is a distribution with its Gaussian.
type valuePlot struct {
	Tensor  string            `json:"tensor"`
	Mean    float64           `json:"mean"`
	Std     float64           `json:"std"`
	Alpha   float64           `json:"alpha"`
	Density *quantize.Density `json:"density"`
}

// curvePoint is one step of a training.
type curvePoint struct {
	Step  int     `json:"step"`
	Total float64 `json:"loss"`
	DGD   float64 `json:"dgd"`
}

// curveOf gives what is kept of a training's curve.
func curveOf(r *distill.Result) (out []curvePoint) {
	if r == nil {
		return nil
	}
	for _, p := range r.Curve {
		out = append(out, curvePoint{p.Step, p.Recent.Total, p.Recent.DGD})
	}
	return out
}

const valueBins = 64

// measure looks at the job's teacher and at its student.
func (m *measureOptions) measure(ctx context.Context, j *job) (*inside, error) {
	samples := m.Samples
	if samples == 0 {
		samples = 64
	}
	run := func(g *ir.Graph, taps []passes.AttentionTap, o quantize.EntropyOptions) (*quantize.EntropyReport, error) {
		var list []quantize.AttentionTap
		for _, t := range taps {
			tap := quantize.AttentionTap{Block: t.Block, Q: t.Q, K: t.K, Probs: t.Probs, Heads: t.Heads}
			if o.Quantised {
				tap.Q, tap.K = nil, nil
			}
			list = append(list, tap)
		}
		if len(list) == 0 {
			return nil, failf(exitUnsupported, "leave out the key measure", "%s: no attention block recognised", j.path)
		}
		l, err := j.images.loader(ctx, j.evalSet.Take(samples, 0), 32)
		if err != nil {
			return nil, err
		}
		w := &watched{Loader: l}
		r, err := quantize.MeasureEntropy(ctx, g, list, w.batches(), o)
		return r, w.fail(exitUnsupported, errors.Join(w.err, err))
	}
	r, err := run(j.teacher, passes.Taps(j.teacher), quantize.EntropyOptions{Bits: m.Bits, Threads: j.app.threads, Bins: valueBins})
	if err != nil {
		return nil, err
	}
	in := &inside{Bits: r.Bits, Images: r.Images}
	for _, h := range r.Heads {
		in.add(h)
	}
	if r, err = run(j.student, passes.Taps(j.student), quantize.EntropyOptions{Bits: m.Bits, Threads: j.app.threads, Quantised: true}); err != nil {
		return nil, err
	}
	for _, h := range r.Heads {
		if n := len(in.Student); n == 0 || in.Student[n-1].Block != h.Block {
			in.Student = append(in.Student, reach{Block: h.Block})
		}
		if s := &in.Student[len(in.Student)-1]; h.Distance != nil {
			s.Distance = append(s.Distance, *h.Distance)
		}
	}
	return in, nil
}

// add sorts one line of the report of the float model into its block.
func (in *inside) add(h quantize.HeadEntropy) {
	if n := len(in.Blocks); n == 0 || in.Blocks[n-1].Block != h.Block {
		in.Blocks = append(in.Blocks, insideBlock{Block: h.Block})
	}
	b := &in.Blocks[len(in.Blocks)-1]
	k := map[string]int{"q": 0, "k": 2}[h.Tensor]
	if h.IRM {
		k++
	}
	switch h.Tensor {
	case "q", "k":
		n := float64(h.Head) // running mean over the heads, which come in order
		b.Entropy[k] += (h.Entropy - b.Entropy[k]) / (n + 1)
		b.Gaussian[k] += (h.Gaussian - b.Gaussian[k]) / (n + 1)
		if h.Head == 0 && !h.IRM && h.Density != nil {
			b.Values = append(b.Values, valuePlot{h.Tensor, h.Mean, h.Std, h.Alpha, h.Density})
		}
	case "probs":
		if h.Distance != nil {
			b.Distance = append(b.Distance, *h.Distance)
		}
	}
}
