package quantize

import (
	"math"

	"gonum.org/v1/gonum/optimize"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Gaussian is what quantising a normal variable on a grid gives, exactly
// (method.md section 6).
type Gaussian struct {
	Probs   []float64 // probability of each code, Qn first
	Entropy float64   // of the codes, bits
	MSE     float64   // mean squared quantisation error, units of x squared
}

// Gaussian quantises N(mu, sigma^2) with step alpha and zero point zp. The
// thresholds are alpha*(i-1/2-zp), the outer ones infinite. A sigma of 0 gives
// the single code of mu.
func (q Quantiser) Gaussian(mu, sigma, alpha, zp float64) Gaussian {
	qn, qp := q.Range()
	zp = math.RoundToEven(zp)
	out := Gaussian{Probs: make([]float64, q.Levels())}
	if sigma <= 0 {
		code := q.clip(math.RoundToEven(mu/alpha) + zp)
		e := mu - alpha*(float64(code)-zp)
		out.Probs[code-qn], out.MSE = 1, e*e
		return out
	}
	unit := distuv.UnitNormal
	a := math.Inf(-1)
	cdfA, pdfA, apdfA := 0.0, 0.0, 0.0 // at the lower threshold; a*pdf(a) is 0 at infinity
	for i := qn; i <= qp; i++ {
		b := math.Inf(1)
		cdfB, pdfB, bpdfB := 1.0, 0.0, 0.0
		if i < qp {
			b = (alpha*(float64(i)+0.5-zp) - mu) / sigma
			cdfB, pdfB = unit.CDF(b), unit.Prob(b)
			bpdfB = b * pdfB
		}
		p := cdfB - cdfA
		if a > 0 { // the upper tail keeps its digits in the survival function
			p = unit.Survival(a)
			if i < qp {
				p -= unit.Survival(b)
			}
		}
		m1 := pdfA - pdfB
		m2 := p + apdfA - bpdfB
		d := mu - alpha*(float64(i)-zp)
		out.Probs[i-qn] = p
		out.MSE += sigma*sigma*m2 + 2*sigma*d*m1 + d*d*p
		a, cdfA, pdfA, apdfA = b, cdfB, pdfB, bpdfB
	}
	out.Entropy = stat.Entropy(out.Probs) / math.Ln2
	return out
}

// Goal is what OptimalStep optimises.
type Goal int

// Goals of OptimalStep.
const (
	MinError   Goal = iota // least mean squared error
	MaxEntropy             // most entropy of the codes
)

// OptimalStep is the best alpha for N(0, 1) and zero point 0: for a signed
// 4-bit grid 0.335 sigma by error and 0.2 sigma by entropy. The two differ,
// which is why calibration minimises error (method.md section 6).
func (q Quantiser) OptimalStep(goal Goal) float64 {
	loss := func(logAlpha float64) float64 {
		g := q.Gaussian(0, 1, math.Exp(logAlpha), 0)
		if goal == MaxEntropy {
			return -g.Entropy
		}
		return g.MSE
	}
	start := math.Log(3 / float64(q.Levels()))
	return math.Exp(minimise(loss, start, 0.3))
}

// minimise finds a local minimum of a function of one variable near x by
// Nelder-Mead with the given first step. It never returns a point worse than x.
func minimise(f func(float64) float64, x, step float64) float64 {
	res, err := optimize.Minimize(
		optimize.Problem{Func: func(v []float64) float64 { return f(v[0]) }},
		[]float64{x},
		&optimize.Settings{FuncEvaluations: 200, Converger: &optimize.FunctionConverge{Absolute: 1e-12, Relative: 1e-10, Iterations: 20}},
		&optimize.NelderMead{SimplexSize: step},
	)
	if err != nil || res == nil || !(f(res.X[0]) <= f(x)) {
		return x
	}
	return res.X[0]
}
