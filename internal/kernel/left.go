package kernel

// leftForm is a form that multiplies rows of codes in a layout of their own. Packed once
// they serve all panels of a weight, and all weights of the same widths and inputs.
type leftForm interface {
	leftBytes(k int) int
	packLeft(w *Workspace, k int, dst []uint8, rows int, a []uint8, lda int)
	tileLeft(w *Workspace, panel []uint8, k, rows int, left []uint8, tile []int32, ldt int)
}

// LeftBytes is the size of a row of k codes of abits bits as PackLeft packs it for
// TileLeft and weights of bits bits: a multiple of 64. It is 0 where rows are multiplied
// as they are, by Tile.
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

// TileLeft is Tile for rows that PackLeft has packed, and for panels of Weights.
func (w *Workspace) TileLeft(rows int, left []uint8, tile []int32, ldt int) {
	if rows <= 0 {
		return
	}
	f := w.form.(leftForm)
	need("tile", len(tile), extent(rows, PanelWidth, ldt))
	need("left", len(left), rows*f.leftBytes(w.k))
	f.tileLeft(w, w.panel, w.k, rows, left, tile, ldt)
}
