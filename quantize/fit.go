package quantize

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
)

// Method is how a scale is chosen from a distribution.
type Method string

// Methods of calibration.
const (
	MinMax     Method = "minmax"     // no value is clipped
	Percentile Method = "percentile" // Fit.Percentile of the values is kept
	MSE        Method = "mse"        // least mean squared error (the default)
	Entropy    Method = "entropy"    // least Kullback-Leibler divergence; histograms only
	LSQ        Method = "lsq"        // LSQ's start value 2*mean(|x|)/sqrt(Qp)
)

// Methods lists the methods.
var Methods = []Method{MinMax, Percentile, MSE, Entropy, LSQ}

// ParseMethod reads a method's name.
func ParseMethod(s string) (Method, error) {
	if m := Method(s); slices.Contains(Methods, m) {
		return m, nil
	}
	names := make([]string, len(Methods))
	for i, m := range Methods {
		names[i] = string(m)
	}
	return "", fmt.Errorf("unknown calibration method %q; use one of %s", s, strings.Join(names, ", "))
}

// DefaultPercentile is the fraction of values that Percentile keeps.
const DefaultPercentile = 0.9999

// MinScale is the least scale that Fit gives; data smaller than it is all zeros
// to the quantiser.
const MinScale = 1e-8

// Fit finds the scale, and with Asymmetric the zero point, of one group.
type Fit struct {
	Quantiser
	Method     Method  // "" is MSE
	Asymmetric bool    // choose a zero point in [Qn, Qp]; otherwise it is 0
	Percentile float64 // 0 is DefaultPercentile
	Resolution float64 // bin width of the points; 0 for exact values
}

// Fitted is the outcome of a Fit: the scale (finite, at least MinScale), the
// integer zero point and the mean squared error over the points.
type Fitted struct {
	Scale, Zero float32
	MSE         float64
}

// Points fits the distribution. All-zero data gets scale 1. It fails on an
// empty distribution and for Entropy on exact values.
func (f Fit) Points(p *Points) (Fitted, error) {
	if p.Len() == 0 {
		return Fitted{}, fmt.Errorf("no values were seen")
	}
	lo, hi := p.Limits()
	lo, hi = min(lo, 0), max(hi, 0)
	if lo == 0 && hi == 0 {
		return f.finish(p, 1, f.natural(0, 1))
	}
	switch f.Method {
	case MinMax:
		return f.clipTo(p, lo, hi)
	case Percentile:
		return f.percentile(p, lo, hi)
	case MSE, "":
		alpha, zp := f.leastError(p, lo, hi)
		return f.finish(p, alpha, zp)
	case LSQ:
		alpha := f.LSQInit(p.MeanAbs())
		return f.finish(p, alpha, f.natural(lo, alpha))
	case Entropy:
		if f.Resolution <= 0 {
			return Fitted{}, fmt.Errorf("method %q needs a histogram of many values; use %q here", Entropy, MSE)
		}
		alpha := f.leastDivergence(p, lo, hi)
		return f.finish(p, alpha, f.natural(lo, alpha))
	}
	_, err := ParseMethod(string(f.Method))
	return Fitted{}, err
}

func (f Fit) finish(p *Points, alpha, zp float64) (Fitted, error) {
	qn, qp := f.Range()
	largest := math.MaxFloat32 / max(float64(qp)-zp, zp-float64(qn)) // the outermost code stays finite
	scale := float32(min(max(alpha, MinScale), largest))
	if float64(scale) > largest {
		scale = math.Nextafter32(scale, 0)
	}
	zp += 0 // no negative zero
	total := p.c0[p.Len()]
	return Fitted{Scale: scale, Zero: float32(zp), MSE: p.try(f.Quantiser, float64(scale), zp).sse / total}, nil
}

// natural is the zero point that puts lo on the lowest code (method.md 2.4).
func (f Fit) natural(lo, alpha float64) float64 {
	if !f.Asymmetric {
		return 0
	}
	qn, qp := f.Range()
	return min(max(math.RoundToEven(float64(qn)-lo/alpha), float64(qn)), float64(qp))
}

// clipTo covers [lo, hi] without clipping.
func (f Fit) clipTo(p *Points, lo, hi float64) (Fitted, error) {
	qn, qp := f.Range()
	alpha := (hi - lo) / float64(qp-qn)
	if !f.Asymmetric {
		alpha = f.cover(lo, hi, 0)
	}
	return f.finish(p, alpha, f.natural(lo, alpha))
}

// cover is the least alpha at which zero point zp clips nothing of [lo, hi]
// that its side of the grid can reach; 0 when neither side can.
func (f Fit) cover(lo, hi, zp float64) float64 {
	qn, qp := f.Range()
	alpha := 0.0
	if up := float64(qp) - zp; up > 0 {
		alpha = hi / up
	}
	if down := zp - float64(qn); down > 0 {
		alpha = max(alpha, -lo/down)
	}
	return alpha
}

func (f Fit) percentile(p *Points, lo, hi float64) (Fitted, error) {
	keep := f.Percentile
	if keep == 0 {
		keep = DefaultPercentile
	}
	if !(keep > 0 && keep <= 1) {
		return Fitted{}, fmt.Errorf("percentile %v is not in (0, 1]", keep)
	}
	tail := 1 - keep
	if lo < 0 && hi > 0 {
		tail /= 2
	}
	l, h := lo, hi
	if lo < 0 {
		l = min(p.Quantile(tail), 0)
	}
	if hi > 0 {
		h = max(p.Quantile(1-tail), 0)
	}
	if l == 0 && h == 0 { // all that is kept is zero
		l, h = lo, hi
	}
	return f.clipTo(p, l, h)
}

// The search over alpha: coarse steps from twice the alpha that clips nothing
// (data of few distinct values may sit on the inner codes), then finer ones
// beside the best.
const (
	coarseStep = 1.15
	coarseMany = 44 // down to 1/407
	coarseUp   = 2
	fineMany   = 6 // on each side
)

// leastError searches all zero points and a geometric grid of scales, then
// alternates between the codes and the alpha that is best for them.
func (f Fit) leastError(p *Points, lo, hi float64) (alpha, zp float64) {
	qn, qp := f.Range()
	first, last := 0, 0
	if f.Asymmetric {
		first, last = qn, qp
		if lo == 0 {
			last = qn
		}
		if hi == 0 {
			first = qp
		}
	}
	best := math.Inf(1)
	for z := first; z <= last; z++ {
		a := coarseUp * f.cover(lo, hi, float64(z))
		for range coarseMany {
			if a == 0 {
				break
			}
			if e := p.try(f.Quantiser, a, float64(z)).sse; e < best {
				best, alpha, zp = e, a, float64(z)
			}
			a /= coarseStep
		}
	}
	if alpha == 0 { // no code can reach the data's side of zero
		return max(hi, -lo), 0
	}
	coarse, centre := alpha, zp
	fine := math.Pow(coarseStep, 1.0/(fineMany+1))
	for z := max(centre-1, float64(first)); z <= min(centre+1, float64(last)); z++ {
		for k := -fineMany; k <= fineMany; k++ {
			a := coarse * math.Pow(fine, float64(k))
			if e := p.try(f.Quantiser, a, z).sse; e < best {
				best, alpha, zp = e, a, z
			}
		}
	}
	for range 30 {
		a := p.try(f.Quantiser, alpha, zp).next
		if a <= 0 || a == alpha {
			break
		}
		e := p.try(f.Quantiser, a, zp).sse
		if e >= best {
			break
		}
		best, alpha = e, a
	}
	return alpha, zp
}

// leastDivergence searches alpha for the least Kullback-Leibler divergence of
// the quantised distribution from the one seen: a coarse grid, then
// Nelder-Mead on log(alpha).
func (f Fit) leastDivergence(p *Points, lo, hi float64) float64 {
	qn, qp := f.Range()
	top := f.cover(lo, hi, 0)
	if f.Asymmetric {
		top = (hi - lo) / float64(qp-qn)
	}
	if top == 0 {
		return max(hi, -lo)
	}
	var kl klScratch
	loss := func(logAlpha float64) float64 {
		a := math.Exp(logAlpha)
		if a < 2*f.Resolution || a > top*1.0001 {
			return math.Inf(1)
		}
		return kl.divergence(p, f.Quantiser, a, f.natural(lo, a))
	}
	best, at := math.Inf(1), math.Log(top)
	for i := range coarseMany {
		l := math.Log(top) - float64(i)*math.Log(coarseStep)
		if d := loss(l); d < best {
			best, at = d, l
		}
	}
	if math.IsInf(best, 1) {
		return top
	}
	return math.Exp(minimise(loss, at, math.Log(coarseStep)/2))
}

type klScratch struct{ p, q []float64 }

// divergence compares P, the points inside the grid with the clipped weight
// moved to its outermost points, with Q, where each code's own weight is spread
// evenly over its points.
func (s *klScratch) divergence(p *Points, q Quantiser, alpha, zp float64) float64 {
	qn, qp := q.Range()
	n := len(p.x)
	lo := p.above(alpha*(float64(qn)-zp-0.5), 0)
	hi := p.above(alpha*(float64(qp)-zp+0.5), lo)
	inside := p.c0[hi] - p.c0[lo]
	if inside <= 0 {
		return math.Inf(1)
	}
	total := p.c0[n]
	s.p, s.q = s.p[:0], s.q[:0]
	j := lo
	for i := qn; i <= qp; i++ {
		end := min(p.above(alpha*(float64(i)-zp+0.5), j), hi)
		if end == j {
			continue
		}
		even := (p.c0[end] - p.c0[j]) / float64(end-j) / inside
		for ; j < end; j++ {
			s.p = append(s.p, p.w[j]/total)
			s.q = append(s.q, even)
		}
	}
	s.p[0] += p.c0[lo] / total
	s.p[len(s.p)-1] += (p.c0[n] - p.c0[hi]) / total
	return stat.KullbackLeibler(s.p, s.q)
}

// Histogram fits the values that a histogram has seen.
func (f Fit) Histogram(h *Histogram) (Fitted, error) {
	f.Resolution = h.Width()
	return f.Points(h.Points())
}
