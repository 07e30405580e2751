package kernel

// Head is where the columns of one head of attention go: codes of a row of a tile to any of
// the Rows rows of Dst, LD apart. Where Norm is set the row is normalised first as
// LayerNorm does; Mean and Spread, where not nil, then get its mean and 1/rstd by row of
// Dst.
type Head struct {
	Dst          []uint8
	LD, Rows     int
	Norm         bool
	Gamma, Beta  []float32
	Eps          float32
	Mean, Spread []float32
}

// HeadEnd is a Head with the values and the grid that its codes are made with. The zero
// value is to be Set.
type HeadEnd struct {
	Head
	set  *set
	part tileArgs // without tile and rows
	grid Grid
	fast headArgs // of the set
}

// Set prepares HeadTile for the codes of g of the values of f, whose Row is nil, for the cols
// columns from column col of f on.
func (e *HeadEnd) Set(h *Head, cols int, f *Affine, col int, g *Grid) {
	e.setFor(active, h, cols, f, col, g)
}

func (e *HeadEnd) setFor(s *set, h *Head, cols int, f *Affine, col int, g *Grid) {
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
	if f.Row != nil || cols > PanelWidth {
		panic("kernel: a head has at most 64 columns and no zero points by row")
	}
	e.Head, e.set, e.grid = *h, s, *g
	e.part = tileArgs{cols: cols, factor: f.Factor[col:][:cols]}
	if f.Offset != nil {
		e.part.offset = f.Offset[col:][:cols]
	}
	if f.Bias != nil {
		e.part.bias = f.Bias[col:][:cols]
	}
	if s.headEnd != nil {
		s.headEnd(e)
	}
}

// HeadTile writes the codes of m rows of a tile, which is overwritten, as DequantTile,
// LayerNorm and QuantizeU8 give them on the same set: those of row i to row to[i]. That to
// lies within the rows of the head is for the caller to see to: it is not checked. The
// tile begins at the head's first column.
func (w *Workspace) HeadTile(e *HeadEnd, to []int32, tile []int32, ldt, m int) {
	if m <= 0 || e.part.cols == 0 {
		return
	}
	need("tile", len(tile), extent(m, e.part.cols, ldt))
	need("to", len(to), m)
	e.set.headTile(w, e, to, tile, ldt, m)
}

// headTile does it by the other kernels of the set, for rows that stay neighbours together.
func headTile(w *Workspace, e *HeadEnd, to []int32, tile []int32, ldt, m int) {
	s := e.set
	for i := 0; i < m; {
		at, run := int(to[i]), 1
		for i+run < m && int(to[i+run]) == at+run {
			run++
		}
		part := e.part
		part.m, part.tile, part.ldt = run, tile[i*ldt:], ldt
		i += run
		dst, n := e.Dst[at*e.LD:], part.cols
		if !e.Norm {
			s.dequantQuantize(part, dst, e.LD, e.grid, 0)
			continue
		}
		w.heads = grow(w.heads, run*(n+2))
		x, mean, rstd := w.heads[2*run:], w.heads[:run], w.heads[run:2*run]
		s.dequant(part, x, n)
		s.layerNormQuantize(s, w, dst, e.LD, mean, rstd, x, n, e.Gamma, e.Beta, run, n, e.Eps, e.grid)
		e.moments(mean, rstd, at)
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
