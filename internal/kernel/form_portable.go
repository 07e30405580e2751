package kernel

import (
	"encoding/binary"
	"unsafe"
)

// formGo chooses how plain Go multiplies: bit planes for two bits by two, four
// products in one 64-bit multiplication where they fit, else byte by byte.
func formGo(bits, abits int) form {
	if bits == 2 && abits <= 2 {
		return planes{}
	}
	f := fields{half: 1 << (bits - 1)}
	if f.groups = (1<<16 - 1) / (4 * (1<<bits - 1) * (1<<abits - 1)); f.groups > 0 {
		return f
	}
	return plain{}
}

// words is the memory of a panel as 64-bit words.
func words(b []uint8) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/8)
}

// lower4 subtracts o from each of the four bytes of x.
func lower4(x uint32, o uint8) uint32 {
	const high = 0x80808080
	y := uint32(o) * 0x01010101
	return ((x | high) - (y &^ high)) ^ ((x ^ ^y) & high)
}

// word reads four codes, or what is left of a row followed by fill.
func word(row []uint8, p int, fill uint8) uint32 {
	if p+4 <= len(row) {
		return binary.LittleEndian.Uint32(row[p:])
	}
	x := uint32(fill) * 0x01010101
	for i := p; i < len(row); i++ {
		shift := 8 * (i - p)
		x = x&^(0xff<<shift) | uint32(row[i])<<shift
	}
	return x
}

// column gathers four codes down a column; rows beyond the last give fill.
func column(codes []uint8, ld, at, rows int, fill uint8) uint32 {
	x := uint32(fill) * 0x01010101
	for i := range min(4, rows) {
		x = x&^(0xff<<(8*i)) | uint32(codes[i*ld+at])<<(8*i)
	}
	return x
}

// plain is the form of 8-bit codes: row-major signed bytes.
type plain struct{}

func (plain) panelBytes(k int) int { return (PanelWidth*k + 63) &^ 63 }

func (f plain) storedBytes(_, k int) int { return f.panelBytes(k) }

func (plain) store(dst []uint8, _ int, codes []int8, _, _ int) { copy(dst, bytesOf(codes)) }

func (plain) unpack(_, src []uint8, _, _ int) []uint8 { return src }

func (plain) putRows(panel []uint8, k, j0, rows int, codes []uint8, ld int, offset uint8) {
	for i := range rows {
		d := panel[(j0+i)*k:][:k]
		for p, q := range codes[i*ld:][:k] {
			d[p] = q - offset
		}
	}
}

func (plain) putCols(panel []uint8, k, p0, rows, cols int, codes []uint8, ld int, offset uint8) {
	for i := range rows {
		for j, q := range codes[i*ld:][:cols] {
			panel[j*k+p0+i] = q - offset
		}
	}
}

func (plain) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	b := unsafe.Slice((*int8)(unsafe.Pointer(&panel[0])), PanelWidth*k)
	w.igemm = igemmArgs{m, PanelWidth, k, a, b, tile, lda, k, ldt}
	igemmGo(w, &w.igemm)
	w.igemm = igemmArgs{}
}
