//go:build amd64 && !noasm

package kernel

import "unsafe"

// formSums multiplies low-bit codes with half the multiplications, by the identity of
// S. Winograd, A New Algorithm for Inner Product (1968): for the inputs p and q of a row a
// and of an output b,
//
//	a_p·b_p + a_q·b_q = (a_p + b_q)·(a_q + b_p) - a_p·a_q - b_p·b_q
//
// What is taken away belongs to the row alone or to the output alone, and is added up when
// rows are packed and panels unpacked. Sums of codes still fit in bytes, so VPDPBUSD takes
// them, and everything is exact. A step is two VPADDB and one VPDPBUSD for two VPDPBUSD:
// faster on processors that add more vectors in a cycle than they multiply.
//
// Panels are those of VNNI: eight inputs are p in the first and q in the second of two
// groups of 256 bytes. The codes of the second are raised by half = 2^(bits-1), since the
// left side of VPDPBUSD is unsigned:
//
//	(a_p + b_q + half)·(a_q + b_p) = a_p·b_p + a_q·b_q + (a_p + half)·a_q + (b_q + half)·b_p
//
// Behind the panel are the negative terms of its outputs; packed rows are their negative
// terms alone, four bytes each. Inputs are whole groups of eight, or VNNI does the product.
type formSums struct {
	formVNNI
	bits int
}

// sumsBits is the widest left-hand side whose sums with four bits fit in seven bits.
const sumsBits = 6

func weightsSums(bits, abits, k int) form {
	if bits <= 4 && abits <= sumsBits && k > 0 && k%8 == 0 {
		return sumsForms[bits]
	}
	return lowBitVNNI(bits, abits)
}

// sumsForms are made once, since a form in an interface takes memory of its own.
var sumsForms = [...]form{2: newFormSums(2), 3: newFormSums(3), 4: newFormSums(4)}

func newFormSums(bits int) form { return formSums{formVNNI{interleaved{64}}, bits} }

func (f formSums) panelBytes(k int) int { return PanelWidth * (k + 4) }

func (f formSums) storedBytes(bits, k int) int { return PanelWidth * k / 8 * bits }

func (f formSums) unpack(dst, src []uint8, bits, k int) []uint8 {
	unpack := unpackSums4AVX512
	switch bits {
	case 2:
		unpack = unpackSums2AVX512
	case 3:
		unpack = unpackSums3AVX512
	}
	unpack(&dst[0], &src[0], k/8)
	return dst
}

func (f formSums) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	tileRows(f, w, panel, k, m, a, lda, tile, ldt)
}

func (formSums) leftBytes(int) int { return 4 }

func (f formSums) packLeft(_ *Workspace, k int, dst []uint8, rows int, a []uint8, lda int) {
	termSumsAVX512((*int32)(unsafe.Pointer(&dst[0])), &a[0], lda, k, 1<<(f.bits-1), rows)
}

// sumsSteps is how many steps of a panel, 512 bytes each, stay in the first-level cache
// beside the rows and sums of a tile.
const sumsSteps = 48

// tileLeft fetches the next panel of the weights meanwhile.
func (f formSums) tileLeft(w *Workspace, panel []uint8, k, rows int, left, a []uint8, lda int, tile []int32, ldt int) {
	multiply, block := tileSumsAVX512, 5
	if w.half {
		multiply, block = tileSumsHalfAVX512, 8
	}
	terms, columns := (*int32)(unsafe.Pointer(&left[0])), (*int32)(unsafe.Pointer(&panel[PanelWidth*k]))
	steps := k / 8
	parts := (steps + sumsSteps - 1) / sumsSteps
	for s := range parts {
		lo, hi := s*steps/parts, (s+1)*steps/parts
		ahead, lines := &a[0], len(w.ahead)/cacheLine
		if lines > 0 {
			ahead = &w.ahead[0]
			w.ahead = w.ahead[min(lines, (rows+block-1)/block*(hi-lo))*cacheLine:]
		}
		multiply(&a[8*lo], lda, terms, &panel[512*lo], columns, hi-lo, &tile[0], 4*ldt, rows, ahead, lines)
		columns = nil
	}
}
