package kernel

import (
	"math"
	"slices"
)

// GeluTable is GELU followed by a quantiser, made once for a grid, as a table of
// thresholds: it gives the same bytes as Gelu followed by QuantizeU8 on the same set,
// for every finite input.
//
// The codes are a step function of x. Its steps are found by bisecting the set's own
// Gelu and QuantizeU8, whose last-bit errors let the code flicker over a few
// neighbouring floats round a step; so each step is a pair low <= high with one code
// below low, another from high on, and the arithmetic itself deciding in between. 32
// bins, at most one step in each, are found from x by the greater of two straight
// lines: GELU has wide steps in its negative dip, where it falls and rises again, and
// narrow ones above. A grid whose steps do not fit (8 bits, very small scales) keeps
// the arithmetic form.
type GeluTable struct {
	set  *set
	grid Grid
	fits bool
	bins geluBins
}

// geluBins is the table as the assembly reads it (asmgen/epilogue.go knows the
// offsets of its fields). Bin i is max(x·slope[0]+start[0], x·slope[1]+start[1])
// cut to 0..31; codes[i] is the code below the step, plus 256 times that above.
type geluBins struct {
	low, high    [32]float32
	codes        [32]int32
	slope, start [2]float32
	widest       float32 // greatest high - low

	fixed [2]float32 // start of lines whose bin i is from 768+i on
	pairs [64]uint8  // codes above and below the step of each bin
}

// NewGeluTable makes the table of a grid (without Alphas) for the active set.
func NewGeluTable(g Grid) *GeluTable { return newGeluTable(active, g) }

// Fits says whether the grid has a table; if not, the arithmetic form gives the codes.
func (t *GeluTable) Fits() bool { return t.fits }

func newGeluTable(s *set, g Grid) *GeluTable {
	t := &GeluTable{set: s, grid: g}
	if g.Alpha < 1e-3 || g.Alpha > 1e3 || g.Qp-g.Qn > 31 || math.Abs(float64(g.Zp)) > 1e3 {
		return t
	}
	steps, first, ok := t.steps()
	t.fits = ok && t.bins.fill(steps, first)
	for _, s := range steps {
		t.bins.widest = max(t.bins.widest, s.high-s.low)
	}
	for i, c := range t.bins.codes {
		t.bins.pairs[2*i], t.bins.pairs[2*i+1] = uint8(c>>8), uint8(c)
	}
	for i, s := range t.bins.start {
		t.bins.fixed[i] = 768 + s
	}
	return t
}

// step is a change of code: low and high are the neighbouring floats of which the
// one has the codes from below, the other those from above, with the flicker
// between them.
type step struct {
	low, high float32
	code      uint8 // from high on
}

// codes computes the codes of x, which is overwritten.
func (t *GeluTable) codes(dst []uint8, x []float32) {
	t.set.gelu(x, x)
	t.set.quantizeRow(dst[:len(x)], x, &t.grid, 0)
}

// steps finds all steps in order, and the code below the first.
func (t *GeluTable) steps() (steps []step, first uint8, ok bool) {
	g := t.grid
	// Below -10 GELU is 0, beyond top its code is the greatest: GELU(x) > x - 0.2.
	const bottom = -10
	top := max(0, (g.Qp-g.Zp+1)*g.Alpha) + 0.5
	// Between two samples GELU turns only at the bottom of its dip; the code must not
	// change and change back there.
	const dip = -0.16997120747990369
	if f := dip / float64(g.Alpha); math.Abs(f-math.Floor(f)-0.5)*float64(g.Alpha) < 1e-4 {
		return nil, 0, false
	}
	samples := make([]float32, 4096)
	x, c := make([]float32, len(samples)), make([]uint8, len(samples))
	for i := range samples {
		samples[i] = bottom + (top-bottom)*float32(i)/float32(len(samples)-1)
	}
	copy(x, samples)
	t.codes(c, x)
	first = c[0]
	var one [1]float32
	var code [1]uint8
	// between finds the steps in (a, b], whose codes are ca and cb.
	var between func(a, b float32, ca, cb uint8)
	between = func(a, b float32, ca, cb uint8) {
		m := a + (b-a)/2
		switch {
		case ca == cb:
		case m <= a || m >= b:
			steps = append(steps, step{low: b, high: b, code: cb})
		default:
			one[0] = m
			t.codes(code[:], one[:])
			cm := code[0]
			between(a, m, ca, cm)
			between(m, b, cm, cb)
		}
	}
	for i := 1; i < len(samples); i++ {
		between(samples[i-1], samples[i], c[i-1], c[i])
	}
	below := first
	for i := 0; i < len(steps); i++ {
		s := &steps[i]
		if !t.flicker(s, below) {
			return nil, 0, false
		}
		// Steps found inside this one's flicker belong to it.
		for i+1 < len(steps) && steps[i+1].low < s.high {
			steps = slices.Delete(steps, i+1, i+2)
		}
		below = s.code
	}
	return steps, first, true
}

// flicker widens a step to all floats where the errors of Gelu and of the division
// could move the code, then narrows it to those where they do. below is the code
// from below.
func (t *GeluTable) flicker(s *step, below uint8) bool {
	at := gelu64(float64(s.low))
	limit := 1e-6 * math.Max(1, math.Abs(float64(s.low)))
	edge := func(to float32) float32 {
		for d := float32(1e-6); ; d *= 1.5 {
			x := s.low + (to-s.low)*d
			if math.Abs(gelu64(float64(x))-at) > limit {
				return x
			}
			if d > 0.1 {
				return float32(math.NaN())
			}
		}
	}
	from, to := edge(s.low-1), edge(s.low+1)
	if from != from || to != to {
		return false
	}
	var floats []float32
	for x := from; x <= to; x = math.Nextafter32(x, to+1) {
		if floats = append(floats, x); len(floats) > 1<<16 {
			return false
		}
	}
	codes := make([]uint8, len(floats))
	t.codes(codes, slices.Clone(floats))
	s.code = codes[len(codes)-1]
	if codes[0] != below || s.code == below {
		return false
	}
	i, j := 0, len(codes)-1
	for codes[i] == below {
		i++
	}
	for codes[j-1] == s.code {
		j--
	}
	s.low, s.high = floats[i], floats[j]
	return true
}

func gelu64(x float64) float64 { return x / 2 * math.Erfc(-x*sqrtHalf) }

// fill lays the steps out in bins; false where none of the lines tried gives every
// step a bin of its own.
func (b *geluBins) fill(steps []step, first uint8) bool {
	n := len(steps)
	for split := range max(1, n) {
		for below := 1; below <= 16; below++ {
			if b.try(steps, first, split, below) {
				return true
			}
		}
	}
	return n == 0 && b.try(nil, first, 0, 1)
}

// try puts the steps before split in the first bins up to below, and the others in
// those that follow.
func (b *geluBins) try(steps []step, first uint8, split, below int) bool {
	n := len(steps)
	b.slope, b.start = [2]float32{}, [2]float32{}
	if n > 0 {
		// The lines meet at middle, at the value below.
		middle := float64(steps[split].low)
		narrow := float64(steps[n-1].high) - middle
		if split > 0 {
			middle -= (middle - float64(steps[split-1].high)) / 2
			narrow = float64(steps[n-1].high) - middle
		} else {
			middle -= narrow/float64(2*(31-below)) + 0.01
			narrow = float64(steps[n-1].high) - middle
		}
		up := (float64(31-below) + 0.5) / narrow
		down := up
		if split > 0 {
			if down = (float64(below) - 0.5) / (middle - float64(steps[0].low)); down > up {
				return false
			}
		}
		b.slope = [2]float32{float32(down), float32(up)}
		b.start = [2]float32{float32(float64(below) - middle*down), float32(float64(below) - middle*up)}
	}
	at := func(x float32) float64 {
		return max(float64(x)*float64(b.slope[0])+float64(b.start[0]), float64(x)*float64(b.slope[1])+float64(b.start[1]))
	}
	next, code := 0, int32(first)
	for i := range 32 {
		b.low[i], b.high[i] = float32(math.Inf(1)), float32(math.Inf(1))
		b.codes[i] = code | code<<8
		if next == n {
			continue
		}
		// The step must lie well inside its bin.
		const margin = 0.01
		s := steps[next]
		if lo, hi := at(s.low), at(s.high); lo < float64(i)+margin && i > 0 || lo < 0 {
			return false
		} else if hi < float64(i+1)-margin || i == 31 {
			b.low[i], b.high[i] = s.low, s.high
			b.codes[i] = code | int32(s.code)<<8
			code = int32(s.code)
			next++
		} else if lo < float64(i+1)+margin {
			return false
		}
	}
	return next == n
}

// bin is the bin of x.
func (b *geluBins) bin(x float32) int {
	f := max(float32(x*b.slope[0])+b.start[0], float32(x*b.slope[1])+b.start[1])
	return int(min(max(f, 0), 31))
}

// dequantGelu looks the codes up; between low and high it computes them.
func dequantGelu(w *Workspace, t tileArgs, dst []uint8, ldd int, table *GeluTable) {
	if !table.fits {
		dequantGeluArithmetic(w, t, dst, ldd, table)
		return
	}
	v := w.row(t.cols)
	for i := range t.m {
		t.values(v, i)
		table.look(dst[i*ldd:][:t.cols], v)
	}
}

// look writes the codes of v.
func (t *GeluTable) look(dst []uint8, v []float32) {
	b := &t.bins
	for j, x := range v {
		k := b.bin(x)
		c := b.codes[k]
		switch {
		case x >= b.high[k]:
			dst[j] = uint8(c >> 8)
		case x < b.low[k]:
			dst[j] = uint8(c)
		default:
			t.codes(dst[j:j+1], v[j:j+1])
		}
	}
}

// dequantGeluArithmetic computes the codes.
func dequantGeluArithmetic(w *Workspace, t tileArgs, dst []uint8, ldd int, table *GeluTable) {
	v := w.row(t.m * t.cols)
	table.set.dequant(t, v, t.cols)
	table.set.gelu(v, v)
	for i := range t.m {
		table.set.quantizeRow(dst[i*ldd:][:t.cols], v[i*t.cols:][:t.cols], &table.grid, 0)
	}
}
