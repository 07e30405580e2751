//go:build (amd64 || arm64) && !noasm

package kernel

import (
	"encoding/binary"
	"math"
)

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
	// Eight codes at a time. The low bits of a code, the highest of them turned
	// over, are the raised code.
	field, turn := bits, uint64(1)<<(bits-1)
	if bits == 3 {
		field, turn = 2, 0
	}
	mask := everyByte * (1<<field - 1)
	turn *= everyByte
	v, per := f.vector(), 8/field
	for at := 0; at < 32*field; at += 8 {
		from := at/v*v*per + at%v
		var word uint64
		for t := range per {
			word |= (binary.LittleEndian.Uint64(src[from+t*v:])&mask ^ turn) << (t * field)
		}
		binary.LittleEndian.PutUint64(dst[at:], word)
	}
	if bits != 3 {
		return
	}
	dst = dst[64:]
	third := func(i int) uint64 { return ^binary.LittleEndian.Uint64(src[i:]) >> 2 & everyByte }
	if v == 64 {
		for i := range dst[:32] {
			dst[i] = uint8(third(8*i) * 0x0102040810204080 >> 56) // bit 0 of byte j to bit j
		}
		return
	}
	for at := 0; at < 32; at += 8 {
		var word uint64
		for t := range 8 {
			word |= third(at+32*t) << t
		}
		binary.LittleEndian.PutUint64(dst[at:], word)
	}
}

// everyByte has a 1 in every byte.
const everyByte = uint64(0x0101010101010101)

// vector is the size of the vectors that are unpacked.
func (f interleaved) vector() int { return min(max(f.lanes, 32), 64) }

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
