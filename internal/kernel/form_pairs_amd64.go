//go:build amd64 && !noasm

package kernel

import (
	"encoding/binary"
	"sync"
)

// formPairs multiplies two bits by two bits by looking products up. The codes of two
// inputs of an output, raised by 2, are an index of 4 bits; those of a row of activations
// choose one of 16 tables of 16 bytes, which hold the sum of the two products for every
// index; VPSHUFB looks 32 outputs up at once. Group g is the inputs g and plane+g.
// Fourteen sums of at most 18 fit in a byte.
//
// Byte i of the first vector of indices belongs to output i/2, or 16 + i/2 where i is odd,
// of the second to those 32 further on. A weight stores two groups in the halves of bytes.
// Operands are those of VPMADDUBSW: packing them does not pay.
type formPairs struct{ formAVX2 }

// pairsBias raises the least sum, two times 3·-2, to 0.
const pairsBias = 12

// pairsInputs is a number of inputs whose sums fit in 16 bits.
const pairsInputs = 2 * ((1<<16-1)/18 - 4)

func weightsPairs(bits, abits, k int) form {
	f := lowBitAVX2(bits, abits)
	if d, ok := f.(formAVX2); ok && bits == 2 && abits <= 2 && k <= pairsInputs {
		return formPairs{d}
	}
	return f
}

// pairsTables is the tables of all pairs of activations.
var pairsTables = sync.OnceValue(func() []uint8 {
	t := alignedBytes(nil, 16*16)
	for a := range 16 {
		for b := range 16 {
			t[16*a+b] = uint8(a&3*(b&3-2) + a>>2*(b>>2-2) + pairsBias)
		}
	}
	return t
})

// plane is the number of groups: a multiple of 4.
func (formPairs) plane(k int) int { return (k + 7) / 8 * 4 }

func (f formPairs) panelBytes(k int) int { return 64 * f.plane(k) }

func (f formPairs) storedBytes(_, k int) int { return 32 * f.plane(k) }

// lane is the byte of an output in a group.
func (formPairs) lane(c int) int { return c/32*32 + c%16*2 + c/16%2 }

func (f formPairs) store(dst []uint8, _ int, codes []int8, rows, k int) {
	plane := f.plane(k)
	for c := range PanelWidth {
		lane := f.lane(c)
		for g := range plane {
			x := uint8(2 | 2<<2)
			for i := range 2 {
				if p := i*plane + g; p < k && c < rows {
					x = x&^(3<<(2*i)) | uint8(codes[c*k+p]+2)<<(2*i)
				}
			}
			dst[g/2*64+lane] |= x << (g % 2 * 4)
		}
	}
}

// storeBytes takes eight bytes of both planes at a time, which are 32 groups. The codes
// of a file are raised already.
func (f formPairs) storeBytes(dst []uint8, _ int, src []uint8, row, rows, k int) bool {
	if k%4 != 0 {
		return false
	}
	quads := f.plane(k) / 4
	for c := range PanelWidth {
		lane := f.lane(c)
		var codes []uint8
		if c < rows {
			codes = src[c*row:][:k/4]
		}
		for q := 0; q < quads; q += 8 {
			x, y := codesAt(codes, q), codesAt(codes, quads+q)
			d := dst[q*128+lane:]
			n := min(8, quads-q)
			for h := range 2 {
				// Codes 2h and 2h+1 of both bytes.
				u, v := x>>(4*h), y>>(4*h)
				word := u&(3*everyByte) | u&(12*everyByte)<<2 | v&(3*everyByte)<<2 | v&(12*everyByte)<<4
				for at := 64 * h; at < 128*n; at += 128 {
					d[at] = uint8(word)
					word >>= 8
				}
			}
		}
	}
	return true
}

// codesAt is eight bytes of raised 2-bit codes from byte i on; those beyond the end are
// codes of 0.
func codesAt(codes []uint8, i int) uint64 {
	b := codes[min(i, len(codes)):]
	if len(b) >= 8 {
		return binary.LittleEndian.Uint64(b)
	}
	x := 0xaa * everyByte
	for p, v := range b {
		x = x&^(255<<(8*p)) | uint64(v)<<(8*p)
	}
	return x
}

func (f formPairs) unpack(dst, src []uint8, _, k int) []uint8 {
	if len(dst) > 0 {
		unpackPairsAVX2(&dst[0], &src[0], f.plane(k)/2)
	}
	return dst
}

func (f formPairs) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	tileRows(f, w, panel, k, m, a, lda, tile, ldt)
}

// leftBytes is the size of a row of table offsets, a byte for a group.
func (f formPairs) leftBytes(k int) int { return (f.plane(k) + 63) &^ 63 }

func (f formPairs) packLeft(_ *Workspace, k int, dst []uint8, rows int, a []uint8, lda int) {
	plane, ld := f.plane(k), f.leftBytes(k)
	both := max(0, k-plane) // groups of two inputs
	for i := range rows {
		x, y, d := a[i*lda:][:min(plane, k)], a[i*lda:][min(plane, k):k], dst[i*ld:][:plane]
		g := 0
		for ; g+8 <= both; g += 8 {
			v := binary.LittleEndian.Uint64(x[g:]) | binary.LittleEndian.Uint64(y[g:])<<2
			binary.LittleEndian.PutUint64(d[g:], v<<4)
		}
		for ; g < plane; g++ {
			var v uint8
			if g < len(x) {
				v = x[g]
			}
			if g < len(y) {
				v |= y[g] << 2
			}
			d[g] = v << 4
		}
	}
}

func (f formPairs) tileLeft(_ *Workspace, panel []uint8, k, rows int, left, _ []uint8, _ int, tile []int32, ldt int) {
	plane := f.plane(k)
	pairsTileAVX2(&left[0], f.leftBytes(k), &panel[0], plane, &pairsTables()[0], int32(pairsBias*plane), &tile[0], 4*ldt, rows)
}
