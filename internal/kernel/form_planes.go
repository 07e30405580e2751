package kernel

import (
	"encoding/binary"
	"math/bits"
)

// planes is the form of two bits by two bits: each 64 codes are two words, one of
// their low and one of their high bits, those of the panel raised by 2. With bits a0,
// a1 and b0, b1 the sum of products is
//
//	|a0&b0| + 2·(|a0&b1| + |a1&b0|) + 4·|a1&b1|
//
// where |x| counts bits. Weights are stored as they are multiplied.
type planes struct{}

// planeWords is the number of words of a row.
func planeWords(k int) int { return (k + 63) / 64 * 2 }

func (planes) panelBytes(k int) int { return PanelWidth * 8 * planeWords(k) }

func (f planes) storedBytes(_, k int) int { return f.panelBytes(k) }

func (planes) unpack(_, src []uint8, _, _ int) []uint8 { return src }

func (f planes) store(dst []uint8, _ int, codes []int8, rows, k int) {
	f.putRows(dst, k, 0, rows, bytesOf(codes), k, 0)
	// Outputs beyond the last are codes of 0, raised.
	n := planeWords(k)
	for i, d := 0, words(dst)[rows*n:]; i < len(d); i += 2 {
		d[i+1] = ^uint64(0)
	}
}

// bits8 gathers the lowest bit of each of eight codes.
func bits8(x uint64) uint64 { return x & 0x01010101_01010101 * 0x01020408_10204080 >> 56 }

// planeRow splits a row of codes, less offset, into the planes dst.
func planeRow(dst []uint64, a []uint8, offset uint8) {
	var last [64]uint8
	for g := 0; g+1 < len(dst); g += 2 {
		s := a[32*g:]
		if len(s) < 64 {
			last = [64]uint8{}
			for i := range last {
				last[i] = offset
			}
			copy(last[:], s)
			s = last[:]
		}
		var low, high uint64
		for i := range 8 {
			x := binary.LittleEndian.Uint64(s[8*i:])
			if offset != 0 {
				x = uint64(lower4(uint32(x), offset)) | uint64(lower4(uint32(x>>32), offset))<<32
			}
			low |= bits8(x) << (8 * i)
			high |= bits8(x>>1) << (8 * i)
		}
		dst[g], dst[g+1] = low, high
	}
}

func (planes) putRows(panel []uint8, k, j0, rows int, codes []uint8, ld int, offset uint8) {
	n := planeWords(k)
	for i := range rows {
		planeRow(words(panel)[(j0+i)*n:][:n], codes[i*ld:][:k], offset-2)
	}
}

func (planes) putCols(panel []uint8, k, p0, rows, cols int, codes []uint8, ld int, offset uint8) {
	n := planeWords(k)
	d := words(panel)
	for i := 0; i < rows; i += 4 {
		g, shift := (p0+i)/64*2, (p0+i)%64
		for j := range cols {
			x := uint64(lower4(column(codes[i*ld:], ld, j, rows-i, offset-2), offset-2))
			w := d[j*n+g:][:2]
			w[0] = w[0]&^(15<<shift) | bits8(x)<<shift
			w[1] = w[1]&^(15<<shift) | bits8(x>>1)<<shift
		}
	}
}

func (planes) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	n := planeWords(k)
	b := words(panel)
	w.u64 = grow(w.u64, 2*n)
	x0, x1 := w.u64[:n], w.u64[n:2*n]
	for i := 0; i < m; i += 2 {
		// An odd last row is its own partner.
		i1 := min(i+1, m-1)
		planeRow(x0, a[i*lda:][:k], 0)
		planeRow(x1, a[i1*lda:][:k], 0)
		s0, s1 := 2*planeSum(x0), 2*planeSum(x1)
		t0, t1 := tile[i*ldt:][:PanelWidth], tile[i1*ldt:][:PanelWidth]
		for c := range t0 {
			d0, d1 := planeDots(x0, x1, b[c*n:][:n])
			t0[c], t1[c] = int32(d0-s0), int32(d1-s1)
		}
	}
}

// planeSum is the sum of a row of codes.
func planeSum(x []uint64) (s int) {
	for g := 0; g+1 < len(x); g += 2 {
		s += bits.OnesCount64(x[g]) + 2*bits.OnesCount64(x[g+1])
	}
	return s
}

// planeDots multiplies two rows by one output.
func planeDots(x0, x1, y []uint64) (d0, d1 int) {
	for len(x0) >= 2 && len(x1) >= 2 && len(y) >= 2 {
		b0, b1 := y[0], y[1]
		a0, a1 := x0[0], x0[1]
		d0 += bits.OnesCount64(a0&b0) + 2*(bits.OnesCount64(a0&b1)+bits.OnesCount64(a1&b0)) + 4*bits.OnesCount64(a1&b1)
		a0, a1 = x1[0], x1[1]
		d1 += bits.OnesCount64(a0&b0) + 2*(bits.OnesCount64(a0&b1)+bits.OnesCount64(a1&b0)) + 4*bits.OnesCount64(a1&b1)
		x0, x1, y = x0[2:], x1[2:], y[2:]
	}
	return d0, d1
}
