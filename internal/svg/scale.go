package svg

import (
	"math"
	"strconv"
)

// scale maps [lo, hi] to [0, 1].
type scale struct{ lo, hi float64 }

// newScale covers lo to hi; a range of nothing is widened.
func newScale(lo, hi float64) scale {
	switch {
	case !(lo <= hi):
		return scale{0, 1}
	case lo == hi:
		d := max(math.Abs(lo)*0.1, 0.5)
		return scale{lo - d, hi + d}
	}
	return scale{lo, hi}
}

func (s scale) at(v float64) float64 { return min(1, max(0, (v-s.lo)/(s.hi-s.lo))) }

// ticks are round numbers inside the scale, four to eight of them.
func (s scale) ticks() []float64 {
	step := s.step()
	var t []float64
	for k := math.Ceil(s.lo/step - 1e-9); k*step <= s.hi+1e-9*step; k++ {
		t = append(t, k*step)
	}
	return t
}

// step is 1, 2 or 5 times a power of ten.
func (s scale) step() float64 {
	p := math.Pow(10, math.Floor(math.Log10((s.hi-s.lo)/4)))
	for _, m := range []float64{5, 2} {
		if (s.hi-s.lo)/(m*p) >= 4 {
			return m * p
		}
	}
	return p
}

func (s scale) label(v float64) string {
	digits := max(0, int(-math.Floor(math.Log10(s.step())+1e-9)))
	return strconv.FormatFloat(v+0, 'f', digits, 64)
}

// extent is the range of the numbers with their errors.
func extent(y, err []float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for i, v := range y {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		e := 0.0
		if i < len(err) {
			e = err[i]
		}
		lo, hi = min(lo, v-e), max(hi, v+e)
	}
	return lo, hi
}

// scales cover all series; names get half a place on either side.
func (ch *Chart) scales() (x, y scale) {
	x, y = scale{math.Inf(1), math.Inf(-1)}, scale{math.Inf(1), math.Inf(-1)}
	for _, s := range ch.Series {
		lo, hi := extent(s.X, nil)
		x.lo, x.hi = min(x.lo, lo), max(x.hi, hi)
		lo, hi = extent(s.Y, s.Err)
		y.lo, y.hi = min(y.lo, lo), max(y.hi, hi)
	}
	if ch.Line != nil {
		y.lo, y.hi = min(y.lo, *ch.Line), max(y.hi, *ch.Line)
	}
	if n := len(ch.Labels); n > 0 {
		x.lo, x.hi = -0.5, float64(n)-0.5
	}
	x, y = newScale(x.lo, x.hi), newScale(y.lo, y.hi)
	margin := 0.06 * (y.hi - y.lo)
	if y.lo < 0 || y.lo > margin {
		y.lo -= margin
	} else {
		y.lo = 0
	}
	y.hi += margin
	return x, y
}
