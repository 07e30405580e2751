package quantize

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// Blocks averages the report over heads: one line per block, tensor and IRM,
// with Head -1. Codes used is the least of the heads.
func (r *EntropyReport) Blocks() []HeadEntropy {
	var out []HeadEntropy
	for i := 0; i < len(r.Heads); {
		j := i
		m := HeadEntropy{Block: r.Heads[i].Block, Head: -1, Tensor: r.Heads[i].Tensor, IRM: r.Heads[i].IRM, Used: r.Heads[i].Used}
		var diff, dist float64
		diffs, dists := 0, 0
		for ; j < len(r.Heads) && r.Heads[j].Block == m.Block && r.Heads[j].Tensor == m.Tensor && r.Heads[j].IRM == m.IRM; j++ {
			h := &r.Heads[j]
			m.Alpha += h.Alpha
			m.Entropy += h.Entropy
			m.Share += h.Share
			m.Gaussian += h.Gaussian
			m.Mean += h.Mean
			m.Std += h.Std
			m.QuantMean += h.QuantMean
			m.QuantStd += h.QuantStd
			m.Used = min(m.Used, h.Used)
			m.Clipped += h.Clipped
			m.Error += h.Error
			m.TokenLogStd += h.TokenLogStd
			m.TokenEntropy += h.TokenEntropy
			m.TokenError += h.TokenError
			m.RowEntropy += h.RowEntropy
			if h.Differential != nil {
				diff, diffs = diff+*h.Differential, diffs+1
			}
			if h.Distance != nil {
				dist, dists = dist+*h.Distance, dists+1
			}
		}
		n := float64(j - i)
		for _, v := range []*float64{
			&m.Alpha, &m.Entropy, &m.Share, &m.Gaussian, &m.Mean, &m.Std, &m.QuantMean, &m.QuantStd, &m.Clipped, &m.Error,
			&m.TokenLogStd, &m.TokenEntropy, &m.TokenError, &m.RowEntropy,
		} {
			*v /= n
		}
		if diffs > 0 {
			diff /= float64(diffs)
			m.Differential = &diff
		}
		if dists > 0 {
			dist /= float64(dists)
			m.Distance = &dist
		}
		out = append(out, m)
		i = j
	}
	return out
}

// WriteTable writes the report as text, one line per block and tensor, or per
// head. q~ and k~ are q and k after the IRM; H is the entropy of the codes in
// bits, H gauss and H token what a Gaussian of the same moments and Gaussian
// tokens of the spreads seen would have.
func (r *EntropyReport) WriteTable(w io.Writer, perHead bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "block\thead\ttensor\talpha\tmean\tstd\tH\tH/%d\tH gauss\tH token\tcodes\tclipped\tMSE/var\trow H\tdistance\t\n", r.Bits)
	lines := r.Heads
	if !perHead {
		lines = r.Blocks()
	}
	for _, l := range lines {
		head, name, token, row, dist := "all", l.Tensor, "", "", ""
		if l.Head >= 0 {
			head = fmt.Sprint(l.Head)
		}
		if l.IRM {
			name += "~"
		}
		if l.Tensor == "probs" {
			row = fmt.Sprintf("%.3f", l.RowEntropy)
		} else {
			token = fmt.Sprintf("%.3f", l.TokenEntropy)
		}
		if l.Distance != nil {
			dist = fmt.Sprintf("%.2f", *l.Distance)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%.4g\t%.4f\t%.4f\t%.3f\t%.1f%%\t%.3f\t%s\t%d\t%.2f%%\t%.4f\t%s\t%s\t\n",
			l.Block, head, name, l.Alpha, math.Round(l.Mean*1e4)/1e4+0, l.Std, l.Entropy, 100*l.Share, l.Gaussian, token, l.Used, 100*l.Clipped, l.Error, row, dist)
	}
	return t.Flush()
}
