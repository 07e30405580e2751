package kernel

// GeluTable is GELU followed by a quantiser, made once for a grid.
type GeluTable struct {
	set  *set
	grid Grid
}

// NewGeluTable makes the table of a grid (without Alphas) for the active set.
func NewGeluTable(g Grid) *GeluTable { return newGeluTable(active, g) }

func newGeluTable(s *set, g Grid) *GeluTable { return &GeluTable{set: s, grid: g} }

// dequantGelu is the arithmetic form, on the loops of the table's own set.
func dequantGelu(w *Workspace, t tileArgs, dst []uint8, ldd int, table *GeluTable) {
	s, g := table.set, &table.grid
	v := w.row(t.cols)
	for i := range t.m {
		t.values(v, i)
		s.gelu(v, v)
		s.quantize(dst[i*ldd:][:t.cols], v, g.Alpha, g.Zp, g.Qn, g.Qp, g.Offset)
	}
}
