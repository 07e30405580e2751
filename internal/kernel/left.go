package kernel

// leftForm is a form that wants something made of rows of codes first, such as a layout of
// their own. Made once it serves all panels of a weight, and all weights of the same
// widths and inputs.
type leftForm interface {
	leftBytes(k int) int
	packLeft(w *Workspace, k int, dst []uint8, rows int, a []uint8, lda int)
	tileLeft(w *Workspace, panel []uint8, k, rows int, left, a []uint8, lda int, tile []int32, ldt int)
}

// LeftBytes is the size of what PackLeft makes of a row of k codes of abits bits for
// TileLeft and weights of bits bits: a multiple of 4. It is 0 where Tile needs nothing.
func LeftBytes(bits, abits, k int) int {
	if f, ok := active.weights(bits, abits, k).(leftForm); ok && k > 0 {
		return f.leftBytes(k)
	}
	return 0
}

// PackLeft packs rows of k unsigned codes (lda apart, readable as Tile wants them), which
// LeftBytes of the same widths has a size for.
func (w *Workspace) PackLeft(bits, abits, k int, dst []uint8, rows int, a []uint8, lda int) {
	if rows <= 0 {
		return
	}
	f := active.weights(bits, abits, k).(leftForm)
	need("dst", len(dst), rows*f.leftBytes(k))
	need("a", len(a), extent(rows, (k+3)&^3, lda))
	f.packLeft(w, k, dst, rows, a, lda)
}

// TileLeft is Tile for panels of Weights and rows of a of which PackLeft has made left,
// which begins at a multiple of 8 bytes.
func (w *Workspace) TileLeft(rows int, left, a []uint8, lda int, tile []int32, ldt int) {
	if rows <= 0 {
		return
	}
	f := w.form.(leftForm)
	need("tile", len(tile), extent(rows, PanelWidth, ldt))
	need("left", len(left), rows*f.leftBytes(w.k))
	need("a", len(a), extent(rows, (w.k+3)&^3, lda))
	f.tileLeft(w, w.panel, w.k, rows, left, a, lda, tile, ldt)
}

// tileRows is Tile by PackLeft and TileLeft, a few rows at a time.
func tileRows[F leftForm](f F, w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	row := f.leftBytes(k)
	w.left = grow(w.left, TileRows*row)
	for i := 0; i < m; i += TileRows {
		rows := min(TileRows, m-i)
		f.packLeft(w, k, w.left, rows, a[i*lda:], lda)
		f.tileLeft(w, panel, k, rows, w.left, a[i*lda:], lda, tile[i*ldt:], ldt)
	}
}
