package distill

import (
	"math"

	"github.com/qvitc/qvitc/runtime"
)

// optimiser updates the parameters in place. All its loops run over fixed chunks
// and its sums are taken in chunk order, so the result does not depend on the
// number of threads.
type optimiser struct {
	o       Options
	params  []Param
	m, v    [][]float32 // moments
	ema     [][]float32 // nil unless Options.EMA
	updates int         // steps that were applied

	chunks []chunk
	lo, hi []float32 // bounds of the values; 0, 0: none
	gscale []float32 // factor on the gradient
	damp   []*damper
}

// chunk is a range of one parameter.
type chunk struct{ p, lo, hi int }

const chunkLen = 16384

const minScale = 1e-6 // a quantiser step never falls below this

func newOptimiser(params []Param, o Options) *optimiser {
	p := &optimiser{o: o, params: params}
	p.m, p.v = zeros(params), zeros(params)
	if o.EMA > 0 {
		p.ema = zeros(params)
		for i := range params {
			copy(p.ema[i], params[i].Data)
		}
	}
	p.lo, p.hi, p.gscale = make([]float32, len(params)), make([]float32, len(params)), make([]float32, len(params))
	p.damp = make([]*damper, len(params))
	for i, q := range params {
		for at := 0; at < len(q.Data); at += chunkLen {
			p.chunks = append(p.chunks, chunk{i, at, min(at+chunkLen, len(q.Data))})
		}
		p.gscale[i] = 1
		switch q.Kind {
		case ZeroPoint:
			qn, qp := codeRange(q.Quant)
			p.lo[i], p.hi[i] = qn, qp
			fallthrough
		case Scale:
			if o.GradScale {
				p.gscale[i] = gradScale(q)
			}
		case Weight:
			if o.Damping > 0 && q.Quant != nil {
				p.damp[i] = newDamper(q)
			}
		}
	}
	return p
}

func zeros(params []Param) [][]float32 {
	out := make([][]float32, len(params))
	for i := range params {
		out[i] = make([]float32, len(params[i].Data))
	}
	return out
}

// prepare turns the summed gradients into those of the trained quantities (log
// alpha for scales), adds the damping and gives the global norm. bad is the first
// element that is not a finite number, -1 when there is none.
func (p *optimiser) prepare(grads [][]float32, damping float64, threads int) (norm float64, bad chunk) {
	sums := make([]float64, len(p.chunks))
	parallel(threads, len(p.chunks), func(k int) {
		c := p.chunks[k]
		g, w := grads[c.p][c.lo:c.hi], p.params[c.p].Data[c.lo:c.hi]
		if d := p.damp[c.p]; d != nil && damping > 0 {
			d.add(g, w, c.lo, float32(damping))
		}
		f := p.gscale[c.p]
		if p.params[c.p].Kind == Scale {
			for i := range g {
				g[i] *= f * w[i]
			}
		} else if f != 1 {
			runtime.ScaleBy(g, f)
		}
		sums[k] = runtime.SumSquares(g)
	})
	var total float64
	for _, s := range sums {
		total += s
	}
	bad.p = -1
	if !finite(total) {
		for _, c := range p.chunks {
			for i, x := range grads[c.p][c.lo:c.hi] {
				if !finite(float64(x)) {
					return total, chunk{c.p, c.lo + i, c.lo + i + 1}
				}
			}
		}
	}
	return math.Sqrt(total), bad
}

// step applies prepared gradients of the given norm.
func (p *optimiser) step(grads [][]float32, norm, lr float64, threads int) {
	p.updates++
	clip := 1.0
	if p.o.Clip > 0 && norm > p.o.Clip {
		clip = p.o.Clip / norm
	}
	b1, b2 := float32(p.o.Beta1), float32(p.o.Beta2)
	c1 := float32(1 - math.Pow(p.o.Beta1, float64(p.updates)))
	c2 := float32(1 - math.Pow(p.o.Beta2, float64(p.updates)))
	eps, f := float32(p.o.Epsilon), float32(clip)
	// The direction replaces the gradient; then it is applied, by LAMB after
	// the norms of whole tensors are known.
	direction := func(c chunk) {
		g, m, v := grads[c.p][c.lo:c.hi], p.m[c.p][c.lo:c.hi], p.v[c.p][c.lo:c.hi]
		m, v = m[:len(g)], v[:len(g)]
		for i, x := range g {
			x *= f
			mi := b1*m[i] + (1-b1)*x
			vi := b2*v[i] + (1-b2)*x*x
			m[i], v[i] = mi, vi
			g[i] = mi / c1 / (float32(math.Sqrt(float64(vi/c2))) + eps)
		}
	}
	ratio := make([]float64, len(p.params))
	for i := range ratio {
		ratio[i] = 1
	}
	if p.o.Optimiser == LAMB {
		p.trust(grads, ratio, direction, threads)
	}
	avg := float32(0)
	if p.ema != nil {
		avg = float32(math.Min(p.o.EMA, (1+float64(p.updates))/(10+float64(p.updates))))
	}
	parallel(threads, len(p.chunks), func(k int) {
		c := p.chunks[k]
		g := grads[c.p][c.lo:c.hi]
		switch kind := p.params[c.p].Kind; {
		case p.o.Optimiser == LAMB:
			p.apply(c, g, lr*ratio[c.p])
		case kind == Scale || kind == ZeroPoint:
			direction(c)
			p.apply(c, g, lr)
		default: // one pass
			decay := float32(0)
			if kind == Weight && p.o.Optimiser == AdamW {
				decay = float32(p.o.WeightDecay)
			}
			if f != 1 {
				runtime.ScaleBy(g, f)
			}
			runtime.AdamW(p.params[c.p].Data[c.lo:c.hi], p.m[c.p][c.lo:c.hi], p.v[c.p][c.lo:c.hi], g, float32(lr), b1, b2, eps, decay, c1, c2)
		}
		if p.ema != nil {
			w, e := p.params[c.p].Data[c.lo:c.hi], p.ema[c.p][c.lo:c.hi]
			for i, x := range w {
				e[i] = avg*e[i] + (1-avg)*x
			}
		}
	})
}

// apply moves one chunk along direction u.
func (p *optimiser) apply(c chunk, u []float32, lr float64) {
	w := p.params[c.p].Data[c.lo:c.hi]
	u = u[:len(w)]
	switch p.params[c.p].Kind {
	case Scale:
		r := -lr * p.o.ScaleLR
		for i := range w {
			w[i] = max(minScale, float32(float64(w[i])*math.Exp(r*float64(u[i]))))
		}
	case ZeroPoint:
		r := float32(lr * p.o.ZeroPointLR)
		lo, hi := p.lo[c.p], p.hi[c.p]
		for i := range w {
			w[i] = min(hi, max(lo, w[i]-r*u[i]))
		}
	default:
		r := float32(lr)
		for i := range w {
			w[i] -= r * u[i]
		}
	}
}

// trust computes the directions and LAMB's ratio ‖w‖/‖u‖ of weights and
// embeddings, with u including the weight decay of weights.
func (p *optimiser) trust(grads [][]float32, ratio []float64, direction func(chunk), threads int) {
	type norms struct{ w, u float64 }
	sums := make([]norms, len(p.chunks))
	parallel(threads, len(p.chunks), func(k int) {
		c := p.chunks[k]
		direction(c)
		g, w := grads[c.p][c.lo:c.hi], p.params[c.p].Data[c.lo:c.hi]
		decay := float32(0)
		if p.params[c.p].Kind == Weight {
			decay = float32(p.o.WeightDecay)
		}
		var s norms
		for i, x := range w {
			g[i] += decay * x
			s.w += float64(x) * float64(x)
			s.u += float64(g[i]) * float64(g[i])
		}
		sums[k] = s
	})
	total := make([]norms, len(p.params))
	for k, c := range p.chunks {
		total[c.p].w += sums[k].w
		total[c.p].u += sums[k].u
	}
	for i, q := range p.params {
		if (q.Kind == Weight || q.Kind == Embed) && total[i].w > 0 && total[i].u > 0 {
			ratio[i] = math.Sqrt(total[i].w / total[i].u)
		}
	}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
