package quantize

import (
	"errors"
	"fmt"
	"math"
)

// Bins is the number of bins of a Histogram. At least half of them lie between
// the smallest and the largest value seen (0 counted as seen).
const Bins = 4096

// ErrNotFinite is the cause of every refusal of NaN and infinite values.
var ErrNotFinite = errors.New("holds NaN or an infinite value")

// Histogram observes a stream of values in fixed memory. Bin k covers
// [k, k+1)*2^e; e is the least exponent at which the values seen fit Bins bins,
// and when it grows, bins merge in pairs. The content is therefore a function of
// the multiset of values alone: neither their order nor how they were split
// over histograms that are merged later changes one count.
type Histogram struct {
	bins     []uint64
	exp      int // bin width 2^exp
	lo       int // bins[0] is bin number lo
	n        uint64
	min, max float32
}

// Count is the number of values seen.
func (h *Histogram) Count() uint64 { return h.n }

// Limits are the smallest and the largest value seen; 0, 0 when there is none.
func (h *Histogram) Limits() (lo, hi float32) { return h.min, h.max }

// Width is the bin width; 0 before the first value.
func (h *Histogram) Width() float64 {
	if h.n == 0 {
		return 0
	}
	return math.Ldexp(1, h.exp)
}

// Observe adds values. NaN and infinite values are refused: the histogram is
// then unchanged and the error wraps ErrNotFinite.
func (h *Histogram) Observe(x []float32) error {
	if len(x) == 0 {
		return nil
	}
	lo, hi, err := limits(x)
	if err != nil {
		return err
	}
	h.cover(lo, hi)
	scale := math.Ldexp(1, -h.exp)
	bins, base := h.bins, int32(h.lo)
	for _, v := range x {
		s := float64(v) * scale
		k := int32(s)
		below := int32(0)
		if s < float64(k) { // truncation rounded up: floor is one less
			below = 1
		}
		bins[k-below-base]++
	}
	h.n += uint64(len(x))
	return nil
}

// limits finds the smallest and largest value; NaN and infinities are an error.
func limits(x []float32) (lo, hi float32, err error) {
	lo, hi = x[0], x[0]
	var bad float32 // NaN as soon as one value is not finite
	for _, v := range x {
		bad += v * 0
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	if bad != 0 {
		for i, v := range x {
			if v-v != 0 {
				return 0, 0, fmt.Errorf("%w (%v at index %d)", ErrNotFinite, v, i)
			}
		}
	}
	return lo, hi, nil
}

// Merge adds everything that o has seen.
func (h *Histogram) Merge(o *Histogram) {
	if o.n == 0 {
		return
	}
	h.cover(o.min, o.max)
	shift := h.exp - o.exp
	for i, c := range o.bins {
		if c > 0 {
			h.bins[(o.lo+i)>>shift-h.lo] += c
		}
	}
	h.n += o.n
}

// cover widens the window so that lo and hi fall into it.
func (h *Histogram) cover(lo, hi float32) {
	if h.bins == nil {
		h.bins = make([]uint64, Bins)
		h.min, h.max = lo, hi
		h.exp, h.lo = window(lo, hi)
		return
	}
	if lo >= h.min && hi <= h.max {
		return
	}
	h.min, h.max = min(h.min, lo), max(h.max, hi)
	exp, base := window(h.min, h.max)
	if exp == h.exp {
		first, last := binOf(min(h.min, 0), exp), binOf(max(h.max, 0), exp)
		if first >= h.lo && last < h.lo+Bins {
			return
		}
	}
	next := make([]uint64, Bins)
	for i, c := range h.bins {
		if c > 0 {
			next[(h.lo+i)>>(exp-h.exp)-base] += c
		}
	}
	h.bins, h.exp, h.lo = next, exp, base
}

// minExp keeps the bins of subnormal float32 data exact in float64.
const minExp = -170

// window finds the least exponent at which [min(lo,0), max(hi,0)] spans at most
// Bins bins, and the number of the first bin of a window centred on them.
func window(lo, hi float32) (exp, base int) {
	lo, hi = min(lo, 0), max(hi, 0)
	exp = minExp
	if span := float64(hi) - float64(lo); span > 0 {
		exp = max(minExp, math.Ilogb(span/(Bins+1)))
	}
	for ; ; exp++ {
		first, last := binOf(lo, exp), binOf(hi, exp)
		if used := last - first + 1; used <= Bins {
			return exp, first - (Bins-used)/2
		}
	}
}

func binOf(v float32, exp int) int { return int(math.Floor(math.Ldexp(float64(v), -exp))) }

// Points gives the distribution seen: bin centres, held within the limits, with
// their counts.
func (h *Histogram) Points() *Points {
	p := &Points{}
	w := h.Width()
	for i, c := range h.bins {
		if c > 0 {
			x := (float64(h.lo+i) + 0.5) * w
			p.add(min(max(x, float64(h.min)), float64(h.max)), float64(c))
		}
	}
	return p
}

// Observer holds one Histogram per group of a tensor: one for the whole tensor,
// or one for each index along an axis, such as one per attention head.
type Observer struct {
	groups []Histogram
	buf    []float32
}

// NewObserver makes an observer of the given number of groups.
func NewObserver(groups int) *Observer { return &Observer{groups: make([]Histogram, groups)} }

// Group gives the histogram of group i.
func (o *Observer) Group(i int) *Histogram { return &o.groups[i] }

// Observe adds a tensor seen as [outer, groups, inner], row-major; outer
// follows from the length.
func (o *Observer) Observe(x []float32, inner int) error {
	g := len(o.groups)
	if g == 1 {
		return o.groups[0].Observe(x)
	}
	if inner <= 0 || len(x)%(g*inner) != 0 {
		return fmt.Errorf("%d values do not split into %d groups of %d", len(x), g, inner)
	}
	if inner >= 64 {
		for i := 0; i*inner < len(x); i++ {
			if err := o.groups[i%g].Observe(x[i*inner : (i+1)*inner]); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range g { // short runs: gather each group first
		o.buf = o.buf[:0]
		for at := i * inner; at < len(x); at += g * inner {
			o.buf = append(o.buf, x[at:at+inner]...)
		}
		if err := o.groups[i].Observe(o.buf); err != nil {
			return err
		}
	}
	return nil
}

// Merge adds everything that b, of as many groups, has seen.
func (o *Observer) Merge(b *Observer) {
	for i := range o.groups {
		o.groups[i].Merge(&b.groups[i])
	}
}
