//go:build amd64 && !noasm

package kernel

import "encoding/binary"

// storeBytes is store for raised codes of 4 or 2 bits as files have them (see
// NewWeightsOf): rows of row bytes, lowest bits first. It moves whole groups of four
// inputs, for panels of 64 lanes; false where it has no such form.
func (f interleaved) storeBytes(dst []uint8, bits int, src []uint8, row, rows, k int) bool {
	if f.lanes != 64 || k%4 != 0 || bits != 4 && bits != 2 {
		return false
	}
	g := 0
	if steps := k / 32; bits == 4 && rows == PanelWidth && steps > 0 {
		store4AVX512(&dst[0], &src[0], row, steps)
		g = 8 * steps
	}
	none := uint32(0x08080808) // the raised code 0, for outputs that are not there
	if bits == 2 {
		none = 0x02020202
	}
	per := 8 / bits
	for ; g < k/4; g++ {
		d := dst[32*bits*g:][:32*bits]
		for v := 0; v < 4; v += per {
			for c := range 16 {
				var word uint32
				for t := range per {
					u := none
					if j := 16*(v+t) + c; j < rows && bits == 4 {
						u = fourNibbles(src[j*row+2*g:])
					} else if j < rows {
						u = fourPairs(src[j*row+g])
					}
					word |= u << (bits * t)
				}
				binary.LittleEndian.PutUint32(d[16*v/per*4+4*c:], word)
			}
		}
	}
	return true
}

// fourNibbles and fourPairs give four codes a byte each.
func fourNibbles(b []uint8) uint32 {
	x := uint32(b[0]) | uint32(b[1])<<16
	return (x | x<<4) & 0x0f0f0f0f
}

func fourPairs(b uint8) uint32 {
	x := uint32(b)
	x = (x | x<<12) & 0x000f000f
	return (x | x<<6) & 0x03030303
}
