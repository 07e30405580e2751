package quantize

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/stat"
)

// Points is a finite distribution: ascending values with weights, and prefix
// sums of 1, x and x^2, so that the exact error of a candidate quantiser costs
// one search per code and not one step per value. Weights come as the raw
// values (each of weight 1), activations as histogram bins.
type Points struct {
	x, w       []float64
	c0, c1, c2 []float64 // prefix sums, one longer than x
	sorted     []float32
}

func (p *Points) add(x, w float64) {
	if len(p.c0) == 0 {
		p.c0, p.c1, p.c2 = append(p.c0, 0), append(p.c1, 0), append(p.c2, 0)
	}
	n := len(p.x)
	p.x, p.w = append(p.x, x), append(p.w, w)
	p.c0 = append(p.c0, p.c0[n]+w)
	p.c1 = append(p.c1, p.c1[n]+w*x)
	p.c2 = append(p.c2, p.c2[n]+w*x*x)
}

// SetValues makes p the distribution of the values, each of weight 1, reusing
// its memory. NaN and infinite values give an error wrapping ErrNotFinite.
func (p *Points) SetValues(x []float32) error {
	p.x, p.w = p.x[:0], p.w[:0]
	p.c0, p.c1, p.c2 = p.c0[:0], p.c1[:0], p.c2[:0]
	if len(x) == 0 {
		return nil
	}
	if _, _, err := limits(x); err != nil {
		return err
	}
	p.sorted = append(p.sorted[:0], x...)
	slices.Sort(p.sorted)
	for _, v := range p.sorted {
		p.add(float64(v), 1)
	}
	return nil
}

// Len is the number of points.
func (p *Points) Len() int { return len(p.x) }

// Limits are the smallest and largest point; 0, 0 when there is none.
func (p *Points) Limits() (lo, hi float64) {
	if len(p.x) == 0 {
		return 0, 0
	}
	return p.x[0], p.x[len(p.x)-1]
}

// Moments are the mean and the (population) standard deviation.
func (p *Points) Moments() (mean, std float64) {
	if len(p.x) == 0 {
		return 0, 0
	}
	mean, v := stat.PopMeanVariance(p.x, p.w)
	return mean, math.Sqrt(max(v, 0))
}

// MeanAbs is the mean of |x|.
func (p *Points) MeanAbs() float64 {
	n := len(p.x)
	if n == 0 {
		return 0
	}
	z := sort.SearchFloat64s(p.x, 0)
	return (p.c1[n] - 2*p.c1[z]) / p.c0[n]
}

// Quantile is the least value at or below which the fraction f of the weight
// lies.
func (p *Points) Quantile(f float64) float64 {
	if len(p.x) == 0 {
		return 0
	}
	return stat.Quantile(f, stat.Empirical, p.x, p.w)
}

// fitted is the outcome of one candidate: the squared error (not divided by the
// weight) and the alpha that is best for the same codes, by least squares.
type fitted struct{ sse, next float64 }

// try evaluates one candidate exactly.
func (p *Points) try(q Quantiser, alpha, zp float64) fitted {
	qn, qp := q.Range()
	j, n := 0, len(p.x)
	var sse, num, den float64
	for i := qn; i <= qp && j < n; i++ {
		step := float64(i) - zp
		end := n
		if i < qp {
			end = p.above(alpha*(step+0.5), j)
		}
		if end == j {
			continue
		}
		s0, s1, s2 := p.c0[end]-p.c0[j], p.c1[end]-p.c1[j], p.c2[end]-p.c2[j]
		v := alpha * step
		sse += s2 - 2*v*s1 + v*v*s0
		num += step * s1
		den += step * step * s0
		j = end
	}
	f := fitted{sse: max(sse, 0)}
	if den > 0 && num > 0 {
		f.next = num / den
	}
	return f
}

// above finds the first point from j on that is greater than t.
func (p *Points) above(t float64, j int) int {
	lo, hi := j, len(p.x)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if p.x[m] <= t {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// codes gives the weight of each code, Qn first, and the weight that lies more
// than half a step outside the grid.
func (p *Points) codes(q Quantiser, alpha, zp float64) (weights []float64, clipped float64) {
	qn, qp := q.Range()
	weights = make([]float64, q.Levels())
	j, n := 0, len(p.x)
	for i := qn; i <= qp; i++ {
		end := n
		if i < qp {
			end = p.above(alpha*(float64(i)-zp+0.5), j)
		}
		if n > 0 {
			weights[i-qn] = p.c0[end] - p.c0[j]
		}
		j = end
	}
	if n > 0 {
		lo := p.above(alpha*(float64(qn)-zp-0.5), 0)
		hi := p.above(alpha*(float64(qp)-zp+0.5), 0)
		clipped = p.c0[lo] + p.c0[n] - p.c0[hi]
	}
	return weights, clipped
}

// density spreads the points over bins around the mean; nil for no bins or no
// spread.
func (p *Points) density(mean, std float64, bins int) *Density {
	if bins <= 0 || !(std > 0) {
		return nil
	}
	d := &Density{Lo: mean - 4*std, Width: 8 * std / float64(bins), Share: make([]float64, bins)}
	total := p.c0[len(p.c0)-1]
	for i, x := range p.x {
		if k := math.Floor((x - d.Lo) / d.Width); k >= 0 && k < float64(bins) {
			d.Share[int(k)] += p.w[i] / total
		}
	}
	return d
}
