package zoo

import (
	"math"

	"github.com/qvitc/qvitc/ir"
)

// window cuts a side x side map into windows of size x size, after rolling it by
// shift towards the origin.
type window struct {
	side, size, shift, heads int
}

// attention is the attention inside the windows of t [batch, side, side, dim].
func (w window) attention(p pen, t *ir.Value, dim int, gain float64) *ir.Value {
	n, k := w.side/w.size, w.size
	if w.shift > 0 {
		t = p.roll(p.roll(t, 1, w.shift), 2, w.shift)
	}
	t = p.transpose(p.reshape(t, -1, n, k, n, k, dim), 0, 1, 3, 2, 4, 5)
	t = p.reshape(t, -1, k*k, dim)
	t = p.in("attn").attention(t, dim, w.heads, k*k, gain, w.adjust)
	t = p.transpose(p.reshape(t, -1, n, n, k, k, dim), 0, 1, 3, 2, 4, 5)
	t = p.reshape(t, -1, w.side, w.side, dim)
	if w.shift > 0 {
		t = p.roll(p.roll(t, 1, w.side-w.shift), 2, w.side-w.shift)
	}
	return t
}

// roll moves the first s rows of an axis behind the others.
func (p pen) roll(t *ir.Value, axis, s int) *ir.Value {
	ax, at := p.ints("roll_axis", axis), p.ints("roll_at", s)
	rest := p.node("Slice", nil, t, at, p.g.AddConst(p.name("roll_end"), ir.Of([]int64{math.MaxInt64}, 1)), ax)
	head := p.node("Slice", nil, t, p.ints("roll_start", 0), at, ax)
	return p.node("Concat", ir.Attrs{"axis": int64(axis)}, rest, head)
}

// adjust adds the relative position bias and, in shifted windows, the mask that
// keeps apart what was not adjacent before the roll.
func (w window) adjust(p pen, s *ir.Value) *ir.Value {
	l := w.size * w.size
	s = p.node("Add", nil, s, w.bias(p))
	if w.shift == 0 {
		return s
	}
	n := w.side / w.size
	s = p.node("Add", nil, p.reshape(s, -1, n*n, w.heads, l, l), p.g.AddConst(p.name("mask"), w.mask()))
	return p.reshape(s, -1, w.heads, l, l)
}

// bias is the relative position bias [1, heads, tokens, tokens], gathered from a
// table of (2·size-1)² entries a head as exporters fold it.
func (w window) bias(p pen) *ir.Value {
	k, l, side := w.size, w.size*w.size, 2*w.size-1
	table := make([]float32, side*side*w.heads)
	name := p.name("relative_position_bias")
	normal(p.ctx, table, 0.1, p.seed, name)
	b := make([]float32, w.heads*l*l)
	for h := range w.heads {
		for i := range l {
			for j := range l {
				dy, dx := i/k-j/k+k-1, i%k-j%k+k-1
				b[(h*l+i)*l+j] = table[(dy*side+dx)*w.heads+h]
			}
		}
	}
	return p.g.AddConst(name, ir.Of(b, 1, w.heads, l, l))
}

// mask is [1, windows, 1, tokens, tokens]: 0 between patches of one region of
// the rolled map, -100 between others.
func (w window) mask() *ir.Tensor {
	k, n, l := w.size, w.side/w.size, w.size*w.size
	band := func(y int) int { // before the last window, in it, and what was rolled into it
		switch {
		case y < w.side-k:
			return 0
		case y < w.side-w.shift:
			return 1
		}
		return 2
	}
	region := func(win, t int) int {
		y, x := win/n*k+t/k, win%n*k+t%k
		return 3*band(y) + band(x)
	}
	m := make([]float32, n*n*l*l)
	for win := range n * n {
		for i := range l {
			for j := range l {
				if region(win, i) != region(win, j) {
					m[(win*l+i)*l+j] = -100
				}
			}
		}
	}
	return ir.Of(m, 1, n*n, 1, l, l)
}
