//go:build arm64 && !noasm

package kernel

import "encoding/binary"

// formDot multiplies by SDOT, 16 outputs side by side. Codes of up to seven bits are
// signed bytes as they are.
type formDot struct{ interleaved }

func lowBitNEON(_, abits int) form {
	if abits > 7 {
		return formDot8{formDot{interleaved{16}}}
	}
	return formDot{interleaved{16}}
}

func (f formDot) unpack(dst, src []uint8, bits, k int) []uint8 {
	groups := len(dst) / 256
	switch {
	case bits == 8:
		return src
	case groups == 0:
	case bits == 2:
		unpack2NEON(&dst[0], &src[0], groups)
	case bits == 3:
		unpack3NEON(&dst[0], &src[0], groups)
	default:
		unpack4NEON(&dst[0], &src[0], groups)
	}
	return dst
}

// noSums is what sums begin at, and what is taken off those without zero points.
var noSums [PanelWidth]int32

func (f formDot) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	f.dot(panel, k, m, a, lda, tile, ldt, w.columns(), &noSums)
}

// columns is the number of columns of the current panel that are defined, or more.
func (w *Workspace) columns() int {
	if w.half {
		return PanelWidth / 2
	}
	return PanelWidth
}

// dot multiplies rows of signed bytes by the first columns of a panel and adds from.
func (f formDot) dot(panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt, columns int, from *[PanelWidth]int32) {
	for c := 0; c < columns; c += f.lanes {
		dotPanelNEON(&a[0], lda, &panel[f.at(k, c, 0)], (k+3)/4, &tile[c], 4*ldt, m, &from[c])
	}
}

// formDot8 is formDot for activations of 8 bits: with 128 less each is a signed byte, and
// the sums begin at 128 times those of the weights.
type formDot8 struct{ formDot }

func (f formDot8) leftBytes(k int) int { return (k + 3) &^ 3 }

func (f formDot8) packLeft(_ *Workspace, k int, dst []uint8, rows int, a []uint8, lda int) {
	ld := f.leftBytes(k)
	for i := range rows {
		s, d := a[i*lda:][:k], dst[i*ld:][:ld]
		for ; len(s) >= 8; s, d = s[8:], d[8:] {
			binary.LittleEndian.PutUint64(d, binary.LittleEndian.Uint64(s)^128*everyByte)
		}
		for p, q := range s {
			d[p] = q ^ 128
		}
		clear(d[len(s):])
	}
}

func (f formDot8) tileLeft(w *Workspace, panel []uint8, k, rows int, left, _ []uint8, _ int, tile []int32, ldt int) {
	f.dot8(w, panel, k, rows, left, tile, ldt, w.columns())
}

// dot8 multiplies rows that packLeft has made.
func (f formDot8) dot8(w *Workspace, panel []uint8, k, rows int, left []uint8, tile []int32, ldt, columns int) {
	var from [PanelWidth]int32
	f.dot(panel, k, 1, w.onesFor(k), 0, from[:], PanelWidth, columns, &noSums)
	for c := range from {
		from[c] *= 128
	}
	f.dot(panel, k, rows, left, f.leftBytes(k), tile, ldt, columns, &from)
}

func (f formDot8) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	w.left = grow(w.left, m*f.leftBytes(k))
	f.packLeft(w, k, w.left, m, a, lda)
	f.dot8(w, panel, k, m, w.left, tile, ldt, w.columns())
}

// igemmNEON packs 64 outputs at a time; their sums go to C by way of a tile where it has fewer.
func igemmNEON(w *Workspace, g *igemmArgs) {
	f := formDot8{formDot{interleaved{16}}}
	ld := f.leftBytes(g.k)
	w.left = grow(w.left, g.m*ld)
	f.packLeft(w, g.k, w.left, g.m, g.a, g.lda)
	w.i8 = grow(w.i8, f.panelBytes(g.k))
	for j := 0; j < g.n; j += PanelWidth {
		cols := min(PanelWidth, g.n-j)
		f.putRows(w.i8, g.k, 0, cols, bytesOf(g.b[j*g.ldb:]), g.ldb, 0)
		c := g.c[j:]
		if cols == PanelWidth {
			f.dot8(w, w.i8, g.k, g.m, w.left, c, g.ldc, cols)
			continue
		}
		w.i32 = grow(w.i32, TileRows*PanelWidth)
		for i := 0; i < g.m; i += TileRows {
			rows := min(TileRows, g.m-i)
			f.dot8(w, w.i8, g.k, rows, w.left[i*ld:], w.i32, PanelWidth, cols)
			for r := range rows {
				copy(c[(i+r)*g.ldc:][:cols], w.i32[r*PanelWidth:])
			}
		}
	}
}
