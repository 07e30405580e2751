//go:build amd64 && !noasm

package kernel

import (
	"encoding/binary"
	"sync"
	"unsafe"
)

// formLookup multiplies two bits by two bits by looking products up. The codes of
// three inputs of an output, raised by 2, are an index of 6 bits; those of a row of
// activations choose one of 64 tables of 64 bytes, which hold the sum of the three
// products for every index; VPERMB looks 64 outputs up at once. Group g is the inputs
// g, plane+g and 2·plane+g. Nine sums of at most 27 fit in a byte.
//
// Byte i of a vector of indices belongs to output i/2, or 32 + i/2 where i is odd. A
// weight stores four vectors in three, see unpackLookup. Operands are VNNI's: packing
// them does not pay.
type formLookup struct{ formVNNI }

// lookupBias raises the least sum, three times 3·-2, to 0.
const lookupBias = 18

// lookupInputs is a number of inputs whose sums fit in 16 bits.
const lookupInputs = 3 * (1<<16 - 1) / 27

func lookupFits(bits, abits, k int) bool { return bits == 2 && abits <= 2 && k <= lookupInputs }

func weightsLookup(bits, abits, k int) form {
	if lookupFits(bits, abits, k) {
		return formLookup{}
	}
	return lowBitVNNI(bits, abits)
}

// lookupTables is the tables of all triples of activations.
var lookupTables = sync.OnceValue(func() []uint8 {
	t := alignedBytes(nil, 64*64)
	for a := range 64 {
		for b := range 64 {
			t[64*a+b] = uint8(a&3*(b&3-2) + a>>2&3*(b>>2&3-2) + a>>4*(b>>4-2) + lookupBias)
		}
	}
	return t
})

// plane is the number of groups: a multiple of 4.
func (formLookup) plane(k int) int { return (k + 11) / 12 * 4 }

func (f formLookup) panelBytes(k int) int { return 64 * f.plane(k) }

func (f formLookup) storedBytes(_, k int) int { return 48 * f.plane(k) }

func (f formLookup) store(dst []uint8, _ int, codes []int8, rows, k int) {
	plane := f.plane(k)
	for c := range PanelWidth {
		lane := 2 * c
		if c >= 32 {
			lane -= 63
		}
		for g := range plane {
			x := uint8(2 | 2<<2 | 2<<4)
			for i := range 3 {
				if p := i*plane + g; p < k && c < rows {
					x = x&^(3<<(2*i)) | uint8(codes[c*k+p]+2)<<(2*i)
				}
			}
			d := dst[g/4*192:]
			if g%4 < 3 {
				d[g%4*64+lane] |= x
				continue
			}
			for i := range 3 {
				d[i*64+lane] |= x >> (2 * i) << 6
			}
		}
	}
}

// storeBytes takes eight bytes of each plane at a time, which are 32 groups. The codes
// of a file are raised already.
func (f formLookup) storeBytes(dst []uint8, _ int, src []uint8, row, rows, k int) bool {
	if k%4 != 0 {
		return false
	}
	const none = 0xaa * everyByte // codes of 0
	quads := f.plane(k) / 4
	for c := range PanelWidth {
		lane := 2 * c
		if c >= 32 {
			lane -= 63
		}
		var codes []uint8
		if c < rows {
			codes = src[c*row:][:k/4]
		}
		for q := 0; q < quads; q += 8 {
			var x [3]uint64
			for i := range x {
				b := codes[min(i*quads+q, len(codes)):]
				if len(b) >= 8 {
					x[i] = binary.LittleEndian.Uint64(b)
					continue
				}
				x[i] = none
				for p, v := range b {
					x[i] = x[i]&^(255<<(8*p)) | uint64(v)<<(8*p)
				}
			}
			d := dst[q*192+lane:]
			n := min(8, quads-q)
			for i := range 3 {
				// The groups of code i, and above them code i of the fourth group.
				word := x[0]>>(2*i)&(3*everyByte) | x[1]>>(2*i)&(3*everyByte)<<2 | x[2]>>(2*i)&(3*everyByte)<<4 | x[i]&(0xc0*everyByte)
				for at := 64 * i; at < 192*n; at += 192 {
					d[at] = uint8(word)
					word >>= 8
				}
			}
		}
	}
	return true
}

func (f formLookup) unpack(dst, src []uint8, _, k int) []uint8 {
	if len(dst) > 0 {
		unpackLookupAVX512(&dst[0], &src[0], f.plane(k)/4)
	}
	return dst
}

func (f formLookup) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	tileRows(f, w, panel, k, m, a, lda, tile, ldt)
}

// leftBytes is the size of a row of table offsets, 16 bits for a group, in whole blocks.
func (f formLookup) leftBytes(k int) int { return 128 * ((f.plane(k) + 63) / 64) }

func (f formLookup) packLeft(w *Workspace, k int, dst []uint8, rows int, a []uint8, lda int) {
	plane := f.plane(k)
	blocks := (plane + 63) / 64
	w.u64 = grow(w.u64, 3*blocks)
	for b := range blocks {
		for i := range 3 {
			n := max(0, min(64, plane-64*b, k-i*plane-64*b))
			w.u64[3*b+i] = 1<<n - 1
		}
	}
	packLookupAVX512((*uint16)(unsafe.Pointer(&dst[0])), 128*blocks, &a[0], lda, plane, &w.u64[0], blocks, rows)
}

func (f formLookup) tileLeft(_ *Workspace, panel []uint8, k, rows int, left, _ []uint8, _ int, tile []int32, ldt int) {
	plane := f.plane(k)
	lookupTileAVX512((*uint16)(unsafe.Pointer(&left[0])), f.leftBytes(k), &panel[0], plane, &lookupTables()[0], int32(lookupBias*plane), &tile[0], 4*ldt, rows)
}
