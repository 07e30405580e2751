package kernel

import (
	"encoding/binary"
	"math"
)

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
	w.panel = b.form.unpack(w.unpacked[:size], b.data[j*b.stride:][:b.stride], b.bits, b.k)
}

// Select makes panel j of an operand the right-hand side of Tile. Nothing is copied.
func (w *Workspace) Select(o *Operand, j int) {
	w.form, w.k = o.form, o.k
	w.panel = o.data[j*o.size:][:o.size]
}

// Tile multiplies m rows of unsigned codes by the current panel, exactly:
//
//	tile[i·ldt+c] = Σ_p a[i·lda+p] · b[PanelWidth·j+c][p]
//
// for c in 0 .. PanelWidth-1; outputs beyond the last one of a weight give 0. Rows of a
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
const TileRows = 24

// PanelSums writes Σ_p b[PanelWidth·j+c][p] of the current panel to the PanelWidth
// elements of dst, for the zero point of the left-hand side.
func (w *Workspace) PanelSums(dst []int32) {
	n := (w.k + 3) &^ 3
	for len(w.ones) < n {
		w.ones = append(w.ones, 1)
	}
	w.Tile(1, w.ones, max(n, 1), dst, PanelWidth)
}

// interleaved is the form of the byte dot products: panels of signed bytes, in which
// four inputs of an output lie together,
//
//	byte (c/lanes)·lanes·kp + (p/4)·4·lanes + (c%lanes)·4 + p%4
//
// holds input p of output c; kp is k padded so that a panel is a whole number of
// groups of 256 bytes. Weights store each group in 32 bytes per bit, see pack256.
type interleaved struct{ lanes int }

// kp is k padded: a group holds 256/lanes inputs of all lanes.
func (f interleaved) kp(k int) int { g := 256 / f.lanes; return (k + g - 1) / g * g }

func (f interleaved) at(k, c, p int) int {
	return c/f.lanes*f.lanes*f.kp(k) + p/4*4*f.lanes + c%f.lanes*4 + p%4
}

func (f interleaved) panelBytes(k int) int { return PanelWidth * f.kp(k) }

func (f interleaved) storedBytes(bits, k int) int { return f.panelBytes(k) / 8 * bits }

func (f interleaved) store(dst []uint8, bits int, codes []int8, rows, k int) {
	p := make([]uint8, f.panelBytes(k))
	f.putRows(p, k, 0, rows, bytesOf(codes), k, 0)
	for g := range len(p) / 256 {
		f.pack256(dst[32*bits*g:][:32*bits], (*[256]uint8)(p[256*g:]), bits)
	}
}

// pack256 stores 256 signed codes of a panel, raised by 2^(bits-1), as they are
// unpacked by whole vectors of v = lanes or, below 64 lanes, 32 bytes: bits 0..b-1 of
// byte i of a vector of stored codes belong to vector 0, the next b bits to vector
// 1, and so on. The third bit of a 3-bit code is stored after the two lower ones, as
// a mask of 64 bits per vector or, below 64 lanes, as a vector of 1-bit codes.
func (f interleaved) pack256(dst []uint8, src *[256]uint8, bits int) {
	if bits == 8 {
		copy(dst, src[:])
		return
	}
	half := uint8(1) << (bits - 1)
	field := bits
	if bits == 3 {
		field = 2
	}
	for i, q := range src {
		at, shift := f.place(i, field)
		u := q + half
		dst[at] |= u & (1<<field - 1) << shift
		if bits == 3 {
			at, shift = f.plane(i)
			dst[64+at] |= u >> 2 << shift
		}
	}
}

// vector is the size of the vectors that are unpacked.
func (f interleaved) vector() int { return min(max(f.lanes, 32), 64) }

// place is where byte i of a group of 256 is stored as a code of 2 or 4 bits.
func (f interleaved) place(i, bits int) (at, shift int) {
	v, per := f.vector(), 8/bits
	return i/(v*per)*v + i%v, i / v % per * bits
}

// plane is where byte i of a group of 256 is stored as a single bit.
func (f interleaved) plane(i int) (at, shift int) {
	if f.vector() == 64 {
		return i / 8, i % 8
	}
	return i % 32, i / 32
}

func (f interleaved) unpack(dst, src []uint8, bits, k int) []uint8 {
	if bits == 8 {
		return src
	}
	half := uint8(1) << (bits - 1)
	field := bits
	if bits == 3 {
		field = 2
	}
	for g := range len(dst) / 256 {
		s, d := src[32*bits*g:][:32*bits], dst[256*g:][:256]
		for i := range d {
			at, shift := f.place(i, field)
			u := s[at] >> shift & (1<<field - 1)
			if bits == 3 {
				at, shift = f.plane(i)
				u |= s[64+at] >> shift & 1 << 2
			}
			d[i] = u - half
		}
	}
	return dst
}

func (f interleaved) putRows(panel []uint8, k, j0, rows int, codes []uint8, ld int, offset uint8) {
	f.putRowsFrom(panel, k, j0, 0, rows, codes, ld, offset)
}

// putRowsFrom is putRows from input p0 on, a multiple of 4.
func (f interleaved) putRowsFrom(panel []uint8, k, j0, p0, rows int, codes []uint8, ld int, offset uint8) {
	step := 4 * f.lanes
	for i := range rows {
		row, d := codes[i*ld:][p0:k], panel[f.at(k, j0+i, p0):]
		at := 0
		for ; len(row) >= 4; row = row[4:] {
			binary.LittleEndian.PutUint32(d[at:], lower4(binary.LittleEndian.Uint32(row), offset))
			at += step
		}
		if len(row) > 0 {
			clear(d[at:][:4])
			for p, q := range row {
				d[at+p] = q - offset
			}
		}
	}
}

// lower4 subtracts o from each of the four bytes of x.
func lower4(x uint32, o uint8) uint32 {
	const high = 0x80808080
	y := uint32(o) * 0x01010101
	return ((x | high) - (y &^ high)) ^ ((x ^ ^y) & high)
}

func (f interleaved) putCols(panel []uint8, k, p0, rows, cols int, codes []uint8, ld int, offset uint8) {
	f.putColsFrom(panel, k, p0, rows, 0, cols, codes, ld, offset)
}

// putColsFrom is putCols from output c0 on.
func (f interleaved) putColsFrom(panel []uint8, k, p0, rows, c0, cols int, codes []uint8, ld int, offset uint8) {
	for i := 0; i < rows && c0 < cols; i += 4 {
		var in [4][]uint8
		for r := range in {
			in[r] = codes[min(i+r, rows-1)*ld:][c0:cols] // rows beyond the last meet zeros of the mask
		}
		mask := uint32(math.MaxUint32) >> (8 * max(0, i+4-rows))
		a, b, c, d := in[0], in[1], in[2], in[3]
		b, c, d = b[:len(a)], c[:len(a)], d[:len(a)]
		for j, q := range a {
			x := uint32(q) | uint32(b[j])<<8 | uint32(c[j])<<16 | uint32(d[j])<<24
			binary.LittleEndian.PutUint32(panel[f.at(k, c0+j, p0+i):], lower4(x, offset)&mask)
		}
	}
}

func (f interleaved) tile(_ *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	for i := range m {
		for c := range PanelWidth {
			var s int32
			for p, x := range a[i*lda:][:k] {
				s += int32(x) * int32(int8(panel[f.at(k, c, p)]))
			}
			tile[i*ldt+c] = s
		}
	}
}

// formGo is the plain form of every pair of widths.
func formGo(bits, abits int) form { return interleaved{64} }
