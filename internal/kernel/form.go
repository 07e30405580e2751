package kernel

// form is how one set lays out and multiplies the panels of a low-bit product, for
// some widths of the two sides.
type form interface {
	// panelBytes is the size of one panel as tile reads it: a multiple of 64.
	panelBytes(k int) int
	// storedBytes is the size of one panel of Weights: a multiple of 64.
	storedBytes(bits, k int) int
	// store packs rows × k codes (at most PanelWidth rows) into a zeroed panel of
	// Weights.
	store(dst []uint8, bits int, codes []int8, rows, k int)
	// unpack returns the panel that tile reads: src itself, or dst filled from it.
	unpack(dst, src []uint8, bits, k int) []uint8
	// putRows and putCols write codes less offset into a panel, see PackRows and
	// PackCols.
	putRows(panel []uint8, k, j0, rows int, codes []uint8, ld int, offset uint8)
	putCols(panel []uint8, k, p0, rows, cols int, codes []uint8, ld int, offset uint8)
	// tile multiplies m rows of a by the panel, see Workspace.Tile.
	tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int)
}

// Panel makes panel j of a weight the right-hand side of Tile; it is unpacked into
// the workspace.
func (w *Workspace) Panel(b *Weights, j int) {
	size := b.form.panelBytes(b.k)
	if len(w.unpacked) < size {
		w.unpacked = alignedBytes(nil, size)
	}
	w.form, w.k = b.form, b.k
	w.ahead, w.half = nil, b.n-j*PanelWidth <= PanelWidth/2
	if j+1 < b.Panels() {
		w.ahead = b.data[(j+1)*b.stride:][:b.stride]
	}
	w.panel = b.form.unpack(w.unpacked[:size], b.data[j*b.stride:][:b.stride], b.bits, b.k)
}

// Select makes panel j of an operand the right-hand side of Tile. Nothing is copied.
func (w *Workspace) Select(o *Operand, j int) {
	w.form, w.k, w.ahead = o.form, o.k, nil
	w.half = o.n-j*PanelWidth <= PanelWidth/2
	w.panel = o.data[j*o.size:][:o.size]
}

// Tile multiplies m rows of unsigned codes by the current panel, exactly:
//
//	tile[i·ldt+c] = Σ_p a[i·lda+p] · b[PanelWidth·j+c][p]
//
// for c in 0 .. PanelWidth-1; outputs beyond the last one are undefined. Rows of a
// must be readable for ⌈k/4⌉·4 bytes, so lda is at least that; what lies beyond k
// does not matter. Any m is right; multiples of TileRows are fastest. Sums wrap
// round int32 only for k beyond 65793.
func (w *Workspace) Tile(m int, a []uint8, lda int, tile []int32, ldt int) {
	if m <= 0 {
		return
	}
	need("tile", len(tile), extent(m, PanelWidth, ldt))
	if w.k == 0 {
		for i := range m {
			clear(tile[i*ldt:][:PanelWidth])
		}
		return
	}
	need("a", len(a), extent(m, (w.k+3)&^3, lda))
	w.form.tile(w, w.panel, w.k, m, a, lda, tile, ldt)
}

// TileRows is a number of rows that suits Tile on every set, with a tile of
// TileRows × PanelWidth sums that stays in the first-level cache.
const TileRows = 30

// PanelSums writes Σ_p b[PanelWidth·j+c][p] of the current panel to the PanelWidth
// elements of dst, for the zero point of the left-hand side.
func (w *Workspace) PanelSums(dst []int32) {
	ones := w.onesFor(w.k)
	w.Tile(1, ones, max(len(ones), 1), dst, PanelWidth)
}

// onesFor is a row of k ones that Tile can read.
func (w *Workspace) onesFor(k int) []uint8 {
	n := (k + 3) &^ 3
	for len(w.ones) < n {
		w.ones = append(w.ones, 1)
	}
	return w.ones[:n]
}
