package kernel

import (
	"encoding/binary"
	"math/bits"
)

// fields is the form of codes whose products are small: a 64-bit word holds four of
// them in fields of 16 bits, those of the panel raised by half and in reverse order,
//
//	(a0 + a1·2^16 + a2·2^32 + a3·2^48) · (b3 + b2·2^16 + b1·2^32 + b0·2^48)
//
// so the top field of the product is a0·b0 + a1·b1 + a2·b2 + a3·b3. Whole products are
// added up for as many groups of four as cannot overflow a field.
type fields struct {
	half   uint8
	groups int
}

func (fields) panelBytes(k int) int { return PanelWidth * 8 * ((k + 3) / 4) }

// storedBytes: an output takes half a byte per group and bit (8 bits: four), with
// the groups padded to an even number.
func (fields) storedBytes(width, k int) int { return PanelWidth * fieldsRow(width, k) }

func fieldsRow(width, k int) int { return (k + 7) / 8 * width }

func (f fields) store(dst []uint8, width int, codes []int8, rows, k int) {
	ld := fieldsRow(width, k)
	for c := range PanelWidth {
		var row []uint8
		if c < rows {
			row = bytesOf(codes[c*k:][:k])
		}
		d := dst[c*ld:][:ld]
		plane := ld / 3 * 2 // where the third bits of 3-bit codes begin
		for g := range (k + 3) / 4 {
			x := lower4(word(row, 4*g, 0), -f.half)
			x = bits.ReverseBytes32(x)
			for i := range 4 {
				q := uint16(x >> (8 * i) & 0xff)
				switch width {
				case 8:
					d[4*g+i] = uint8(q)
				case 4:
					d[2*g+i/2] |= uint8(q << (4 * (i % 2)))
				case 3:
					d[g] |= uint8(q & 3 << (2 * i))
					d[plane+g/2] |= uint8(q >> 2 << (4*(g%2) + i))
				default:
					d[g] |= uint8(q << (2 * i))
				}
			}
		}
	}
}

func (f fields) unpack(dst, src []uint8, width, k int) []uint8 {
	ld, n := fieldsRow(width, k), (k+3)/4
	to := words(dst)
	for c := range PanelWidth {
		f.unpackRow(to[c*n:][:n], src[c*ld:][:ld], width)
	}
	return dst
}

// unpackRow unpacks the groups d of one output.
func (f fields) unpackRow(d []uint64, s []uint8, width int) {
	plane := s[len(s)/3*2:]
	switch width {
	case 8:
		for g := range d {
			d[g] = spread8(binary.LittleEndian.Uint32(s[4*g:]))
		}
	case 4:
		for g := range d {
			x := uint64(s[2*g]) | uint64(s[2*g+1])<<8
			x = (x | x<<24) & 0x000000ff_000000ff
			d[g] = (x | x<<12) & 0x000f000f_000f000f
		}
	case 3:
		for g := range d {
			x := uint64(plane[g/2] >> (4 * (g % 2)) & 15)
			x = (x | x<<30) & 0x00000003_00000003
			d[g] = spread2(s[g]) | (x|x<<15)&0x00010001_00010001<<2
		}
	default:
		for g := range d {
			d[g] = spread2(s[g])
		}
	}
}

// spread2 puts four codes of 2 bits, spread8 four bytes, in fields of 16 bits.
func spread2(b uint8) uint64 {
	x := uint64(b)
	x = (x | x<<28) & 0x0000000f_0000000f
	return (x | x<<14) & 0x00030003_00030003
}

func spread8(b uint32) uint64 {
	x := uint64(b)
	x = (x | x<<16) & 0x0000ffff_0000ffff
	return (x | x<<8) & 0x00ff00ff_00ff00ff
}

func (f fields) putRows(panel []uint8, k, j0, rows int, codes []uint8, ld int, offset uint8) {
	n := (k + 3) / 4
	for i := range rows {
		row, d := codes[i*ld:][:k], words(panel)[(j0+i)*n:][:n]
		for g := range d {
			d[g] = spread8(bits.ReverseBytes32(lower4(word(row, 4*g, offset), offset-f.half)))
		}
	}
}

func (f fields) putCols(panel []uint8, k, p0, rows, cols int, codes []uint8, ld int, offset uint8) {
	n := (k + 3) / 4
	d := words(panel)
	for i := 0; i < rows; i += 4 {
		for j := range cols {
			x := column(codes[i*ld:], ld, j, rows-i, offset)
			d[j*n+(p0+i)/4] = spread8(bits.ReverseBytes32(lower4(x, offset-f.half)))
		}
	}
}

func (f fields) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	n := (k + 3) / 4
	b := words(panel)
	w.u64 = grow(w.u64, 2*n)
	x0, x1 := w.u64[:n], w.u64[n:2*n]
	for i := 0; i < m; i += 2 {
		// An odd last row is its own partner.
		i1 := min(i+1, m-1)
		s0, s1 := f.row(x0, a[i*lda:][:k]), f.row(x1, a[i1*lda:][:k])
		t0, t1 := tile[i*ldt:][:PanelWidth], tile[i1*ldt:][:PanelWidth]
		for c := 0; c < PanelWidth; c += 2 {
			y := b[c*n:][:2*n]
			d00, d01, d10, d11 := -s0, -s0, -s1, -s1
			for g := 0; g < n; g += f.groups {
				e := min(g+f.groups, n)
				p00, p01, p10, p11 := fieldDots(x0[g:e], x1[g:e], y[g:e], y[n+g:n+e])
				d00, d01, d10, d11 = d00+int32(p00>>48), d01+int32(p01>>48), d10+int32(p10>>48), d11+int32(p11>>48)
			}
			t0[c], t0[c+1], t1[c], t1[c+1] = d00, d01, d10, d11
		}
	}
}

// row spreads a row of codes and returns half times their sum.
func (f fields) row(dst []uint64, a []uint8) int32 {
	var s uint64
	for g := range dst {
		x := spread8(word(a, 4*g, 0))
		dst[g] = x
		s += x * 0x00010001_00010001 >> 48
	}
	return int32(s) * int32(f.half)
}

// fieldDots adds up the products of the words of two rows by two outputs.
func fieldDots(x0, x1, y0, y1 []uint64) (p00, p01, p10, p11 uint64) {
	x1, y0, y1 = x1[:len(x0)], y0[:len(x0)], y1[:len(x0)]
	for g, a := range x0 {
		b, c, d := x1[g], y0[g], y1[g]
		p00 += a * c
		p01 += a * d
		p10 += b * c
		p11 += b * d
	}
	return p00, p01, p10, p11
}
