package kernel

// Affine turns the int32 sums of a product into float32, column by column:
//
//	v = float32(float32(acc - Row[i] - Offset[j]) · Factor[j]) + Bias[j]
//
// in two float32 operations, each rounded. Integer differences wrap round. Nil
// slices leave their step out (a nil Bias keeps the sign of a zero).
type Affine struct {
	Offset []int32   // by column: the left zero point times the sum of the column's codes
	Factor []float32 // by column; never nil
	Bias   []float32 // by column
	Row    []int32   // by row of the tile: the right zero point times the sum of the row's codes
}

// Grid is the quantiser of QuantizeU8: code = clip(round(v/Alpha)+Zp, Qn, Qp) + Offset,
// by true float32 division and rounding half to even. Alphas, where not nil, gives
// one Alpha for each column instead. See WithInverse for grids that are used often.
type Grid struct {
	Alpha, Zp, Qn, Qp, Offset float32
	Alphas                    []float32

	inv float32 // where not 0: multiplying by it gives the same codes
}

// tileArgs is one epilogue: m rows × cols <= PanelWidth columns of sums.
type tileArgs struct {
	tile   []int32
	ldt    int
	m      int
	cols   int
	offset []int32
	factor []float32
	bias   []float32
	row    []int32
}

// tileOf checks the arguments of an epilogue whose columns begin at col of f.
func tileOf(tile []int32, ldt, m, cols int, f *Affine, col int) (tileArgs, bool) {
	if m <= 0 || cols <= 0 {
		return tileArgs{}, false
	}
	if cols > PanelWidth {
		panic("kernel: a tile has at most 64 columns")
	}
	need("tile", len(tile), extent(m, cols, ldt))
	t := tileArgs{tile: tile, ldt: ldt, m: m, cols: cols, factor: f.Factor[col:][:cols]}
	if f.Offset != nil {
		t.offset = f.Offset[col:][:cols]
	}
	if f.Bias != nil {
		t.bias = f.Bias[col:][:cols]
	}
	if f.Row != nil {
		t.row = f.Row[:m]
	}
	return t, true
}

// DequantTile writes the values of f of the first cols columns of a tile (rows ldt
// apart, as Tile wrote it) to rows of dst, ldd apart. Column c of the tile is column
// col+c of f.
func DequantTile(dst []float32, ldd int, tile []int32, ldt, m, cols int, f *Affine, col int) {
	if t, ok := tileOf(tile, ldt, m, cols, f, col); ok {
		need("dst", len(dst), extent(m, cols, ldd))
		active.dequant(t, dst, ldd)
	}
}

// DequantAddTile is DequantTile with a residual: dst = res + v, res with rows ldr
// apart. dst may be res.
func DequantAddTile(dst []float32, ldd int, res []float32, ldr int, tile []int32, ldt, m, cols int, f *Affine, col int) {
	if t, ok := tileOf(tile, ldt, m, cols, f, col); ok {
		need("dst", len(dst), extent(m, cols, ldd))
		need("res", len(res), extent(m, cols, ldr))
		active.dequantAdd(t, dst, ldd, res, ldr)
	}
}

// DequantAddRowsTile is DequantAddTile of rows that go apart: row i of the tile to row to[i]
// of dst, with that row of res. That to lies within the rows of both, as many as given, is for
// the caller to see to: it is not checked.
func DequantAddRowsTile(dst []float32, ldd int, res []float32, ldr, rows int, to []int32, tile []int32, ldt, m, cols int, f *Affine, col int) {
	if t, ok := tileOf(tile, ldt, m, cols, f, col); ok {
		need("dst", len(dst), extent(rows, cols, ldd))
		need("res", len(res), extent(rows, cols, ldr))
		need("to", len(to), m)
		active.dequantAddTo(active, t, to, dst, ldd, res, ldr)
	}
}

// dequantAddTo does it for rows that stay neighbours together.
func dequantAddTo(s *set, t tileArgs, to []int32, dst []float32, ldd int, res []float32, ldr int) {
	for i := 0; i < t.m; {
		at, part := int(to[i]), t
		for part.m = 1; i+part.m < t.m && int(to[i+part.m]) == at+part.m; {
			part.m++
		}
		part.tile = t.tile[i*t.ldt:]
		if t.row != nil {
			part.row = t.row[i:]
		}
		s.dequantAdd(part, dst[at*ldd:], ldd, res[at*ldr:], ldr)
		i += part.m
	}
}

// DequantQuantizeTile writes the codes of g of the values of f: the same bytes as
// QuantizeU8 (QuantizeS8 for int8) of what DequantTile writes. g.Alphas are indexed
// from col on, like f.
func DequantQuantizeTile[T uint8 | int8](dst []T, ldd int, tile []int32, ldt, m, cols int, f *Affine, col int, g *Grid) {
	if t, ok := tileOf(tile, ldt, m, cols, f, col); ok {
		need("dst", len(dst), extent(m, cols, ldd))
		active.dequantQuantize(t, bytesOf(dst), ldd, *g, col)
	}
}

// DequantGeluQuantizeTile writes the codes of GELU of the values of f, on the grid that
// table was made for: the same bytes as DequantTile, Gelu and QuantizeU8 give on
// the same set.
func DequantGeluQuantizeTile[T uint8 | int8](w *Workspace, dst []T, ldd int, tile []int32, ldt, m, cols int, f *Affine, col int, table *GeluTable) {
	if t, ok := tileOf(tile, ldt, m, cols, f, col); ok {
		need("dst", len(dst), extent(m, cols, ldd))
		table.set.dequantGelu(w, t, bytesOf(dst), ldd, table)
	}
}

func dequantGo(t tileArgs, dst []float32, ldd int) {
	for i := range t.m {
		t.values(dst[i*ldd:][:t.cols], i)
	}
}

// values computes row i.
func (t *tileArgs) values(dst []float32, i int) {
	acc := t.tile[i*t.ldt:][:len(dst)]
	var r int32
	if t.row != nil {
		r = t.row[i]
	}
	for j := range dst {
		a := acc[j] - r
		if t.offset != nil {
			a -= t.offset[j]
		}
		v := float32(a) * t.factor[j]
		if t.bias != nil {
			v = float32(v) + t.bias[j]
		}
		dst[j] = v
	}
}

func dequantAddGo(t tileArgs, dst []float32, ldd int, res []float32, ldr int) {
	var v [PanelWidth]float32
	for i := range t.m {
		t.values(v[:t.cols], i)
		addGo(dst[i*ldd:][:t.cols], res[i*ldr:], v[:])
	}
}

func dequantQuantizeGo(t tileArgs, dst []uint8, ldd int, g Grid, col int) {
	var v [PanelWidth]float32
	for i := range t.m {
		t.values(v[:t.cols], i)
		d := dst[i*ldd:][:t.cols]
		if g.Alphas == nil {
			quantizeGo(d, v[:], g.Alpha, g.Zp, g.Qn, g.Qp, g.Offset)
			continue
		}
		for j := range d {
			quantizeGo(d[j:j+1], v[j:], g.Alphas[col+j], g.Zp, g.Qn, g.Qp, g.Offset)
		}
	}
}
