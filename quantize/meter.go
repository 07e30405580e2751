package quantize

import (
	"fmt"
	"math"

	"github.com/qvitc/qvitc/ir"
)

// irmEps is the epsilon of the IRM's normalisation (method.md 5.2).
const irmEps = 1e-5

// tensorMeter gathers one tensor of one head.
type tensorMeter struct {
	values, tokens      Histogram // tokens: standard deviation of each
	rowEntropy, distant fixedSum
}

func (m *tensorMeter) merge(o *tensorMeter) {
	m.values.Merge(&o.values)
	m.tokens.Merge(&o.tokens)
	m.rowEntropy.merge(o.rowEntropy)
	m.distant.merge(o.distant)
}

// fixedSum adds numbers in fixed point, so that their order does not matter.
type fixedSum struct{ sum, n int64 }

const fixedOne = 1 << 24

func (s *fixedSum) add(v float64)    { s.sum += int64(math.Round(v * fixedOne)); s.n++ }
func (s *fixedSum) merge(o fixedSum) { s.sum += o.sum; s.n += o.n }
func (s fixedSum) mean() float64     { return float64(s.sum) / fixedOne / float64(max(s.n, 1)) }

// meterWorker gathers what one goroutine sees.
type meterWorker struct {
	channels []channel
	meters   [][]tensorMeter // by channel and head
	grid     PatchGrid
	maps     map[int][]float64 // distances by number of tokens
	matrix   []float32
	spread   []float32
}

func (w *meterWorker) visit(tap view) error {
	for c, ch := range w.channels {
		data, shape := tap(ch.value)
		r := len(shape)
		if data == nil || r < 3 || r == 3 && (ch.heads < 1 || shape[0]%max(ch.heads, 1) != 0) {
			return &ir.Error{Tensor: ch.origin.Name, Msg: fmt.Sprintf("attention tensor %s of block %d has shape %v; [..,H,N,d], or [B*H,N,d] with the number of heads, is needed", ch.name, ch.block, shape)}
		}
		heads := ch.heads
		if r > 3 {
			heads = shape[r-3]
		}
		if w.meters[c] == nil {
			w.meters[c] = make([]tensorMeter, heads)
		}
		rows, cols := shape[r-2], shape[r-1]
		size := rows * cols
		for i := 0; (i+1)*size <= len(data); i++ {
			m := &w.meters[c][i%heads]
			x := data[i*size : (i+1)*size]
			var err error
			switch {
			case ch.probs:
				err = w.probs(m, x, rows, cols)
			case ch.transposed:
				err = w.tokens(m, w.transpose(x, rows, cols), rows, ch.irm)
			default:
				err = w.tokens(m, x, cols, ch.irm)
			}
			if err != nil {
				return &ir.Error{Tensor: ch.origin.Name, Msg: fmt.Sprintf("attention tensor %s of block %d", ch.name, ch.block), Err: err}
			}
		}
	}
	return nil
}

func (w *meterWorker) transpose(x []float32, rows, cols int) []float32 {
	w.matrix = grow(w.matrix, len(x))
	for i := range rows {
		for j := range cols {
			w.matrix[j*rows+i] = x[i*cols+j]
		}
	}
	return w.matrix
}

func grow(b []float32, n int) []float32 {
	if cap(b) < n {
		return make([]float32, n)
	}
	return b[:n]
}

// tokens observes an N x d matrix, normalised per row first where asked.
func (w *meterWorker) tokens(m *tensorMeter, x []float32, d int, irm bool) error {
	n := len(x) / d
	w.spread = grow(w.spread, n)
	out := x
	if irm {
		w.matrix = grow(w.matrix, len(x)) // may be x itself: rows are read before they are written
		out = w.matrix
	}
	for i := range n {
		row := x[i*d : (i+1)*d]
		var sum, sq float64
		for _, v := range row {
			sum += float64(v)
		}
		mean := sum / float64(d)
		for _, v := range row {
			sq += (float64(v) - mean) * (float64(v) - mean)
		}
		variance := sq / float64(d)
		w.spread[i] = float32(math.Sqrt(variance))
		if irm {
			s := 1 / math.Sqrt(variance+irmEps)
			for j, v := range row {
				out[i*d+j] = float32((float64(v) - mean) * s)
			}
			w.spread[i] = float32(math.Sqrt(variance) * s)
		}
	}
	if err := m.values.Observe(out); err != nil {
		return err
	}
	return m.tokens.Observe(w.spread)
}

// probs observes an attention map.
func (w *meterWorker) probs(m *tensorMeter, x []float32, rows, cols int) error {
	if err := m.values.Observe(x); err != nil {
		return err
	}
	for i := range rows {
		h := 0.0
		for _, p := range x[i*cols : (i+1)*cols] {
			if p > 0 {
				h -= float64(p) * math.Log(float64(p))
			}
		}
		m.rowEntropy.add(h / math.Ln2)
	}
	if rows != cols {
		return nil
	}
	g := w.grid
	if g == (PatchGrid{}) {
		g, _ = GuessGrid(rows)
	}
	if g.Tokens() != rows {
		return nil
	}
	if w.maps == nil {
		w.maps = map[int][]float64{}
	}
	if w.maps[rows] == nil {
		w.maps[rows] = g.distances()
	}
	m.distant.add(meanDistance(x, g, w.maps[rows]))
	return nil
}
