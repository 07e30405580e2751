package kernel

// Head is where the columns of one head of attention go: the codes of row i to row
// To[i] of Dst, which has Rows of them, LD apart. That To lies in 0 .. Rows-1 is for the
// caller to see to: it is not checked. Where Norm is set the row is normalised first
// as LayerNorm does; Mean and Spread, where not nil, then get its mean and 1/rstd at
// To[i].
type Head struct {
	Dst          []uint8
	LD, Rows     int
	To           []int32
	Norm         bool
	Gamma, Beta  []float32
	Eps          float32
	Mean, Spread []float32
}

// HeadTile writes the codes of g of the values of f, as DequantTile, LayerNorm and
// QuantizeU8 give them on the same set, of m rows of a tile that is overwritten. The
// tile begins at the head's first column, which is column col of f.
func (w *Workspace) HeadTile(h *Head, tile []int32, ldt, m, cols int, f *Affine, col int, g *Grid) {
	t, ok := tileOf(tile, ldt, m, cols, f, col)
	if !ok {
		return
	}
	need("to", len(h.To), m)
	need("dst", len(h.Dst), extent(h.Rows, cols, h.LD))
	if h.Norm {
		if h.Gamma != nil {
			need("gamma", len(h.Gamma), cols)
		}
		if h.Beta != nil {
			need("beta", len(h.Beta), cols)
		}
		if h.Mean != nil {
			need("mean", len(h.Mean), h.Rows)
		}
		if h.Spread != nil {
			need("spread", len(h.Spread), h.Rows)
		}
	}
	active.headTile(active, w, h, t, *g)
}

// headTile does it by the other kernels of s, for rows that stay neighbours together.
func headTile(s *set, w *Workspace, h *Head, t tileArgs, g Grid) {
	for i := 0; i < t.m; {
		to, run := int(h.To[i]), 1
		for i+run < t.m && int(h.To[i+run]) == to+run {
			run++
		}
		part := t
		part.m, part.tile = run, t.tile[i*t.ldt:]
		if t.row != nil {
			part.row = t.row[i:]
		}
		i += run
		if !h.Norm {
			s.dequantQuantize(part, h.Dst[to*h.LD:], h.LD, g, 0)
			continue
		}
		w.heads = grow(w.heads, run*(t.cols+2))
		x, mean, rstd := w.heads[2*run:], w.heads[:run], w.heads[run:2*run]
		s.dequant(part, x, t.cols)
		s.layerNormQuantize(s, w, h.Dst[to*h.LD:], h.LD, mean, rstd, x, t.cols, h.Gamma, h.Beta, run, t.cols, h.Eps, g)
		h.moments(mean, rstd, to)
	}
}

// moments writes those of the rows from to on.
func (h *Head) moments(mean, rstd []float32, to int) {
	if h.Mean != nil {
		copy(h.Mean[to:], mean)
	}
	if h.Spread != nil {
		d := h.Spread[to:][:len(rstd)]
		for i, k := range rstd {
			d[i] = 1 / k
		}
	}
}
