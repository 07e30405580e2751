//go:build amd64 && !noasm

package kernel

import (
	"encoding/binary"
	"unsafe"
)

// formVNNI multiplies any 8-bit codes by VPDPBUSD, 64 outputs side by side.
type formVNNI struct{ interleaved }

func lowBitVNNI(bits, abits int) form { return formVNNI{interleaved{64}} }

func (f formVNNI) unpack(dst, src []uint8, bits, k int) []uint8 {
	groups := len(dst) / 256
	switch {
	case bits == 8:
		return src
	case groups == 0:
	case bits == 2:
		unpack2AVX512(&dst[0], &src[0], groups)
	case bits == 3:
		unpack3AVX512(&dst[0], &src[0], groups)
	default:
		unpack4AVX512(&dst[0], &src[0], groups)
	}
	return dst
}

// tile fetches the next panel of the weights meanwhile.
func (f formVNNI) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	steps, ahead, lines := (k+3)/4, &a[0], len(w.ahead)/cacheLine
	if lines > 0 {
		ahead = &w.ahead[0]
		w.ahead = w.ahead[min(lines, (m+5)/6*steps)*cacheLine:]
	}
	if w.half {
		tileHalfAVX512(&a[0], lda, &panel[0], steps, &tile[0], 4*ldt, m)
		return
	}
	tileAVX512(&a[0], lda, &panel[0], steps, &tile[0], 4*ldt, m, ahead, lines)
}

// formAVX2 multiplies by VPMADDUBSW, 16 outputs side by side, and adds its 16-bit
// results for as many steps as cannot overflow.
type formAVX2 struct {
	interleaved
	steps int
}

func lowBitAVX2(bits, abits int) form {
	steps := 1 << 15 / (2 * (1<<abits - 1) << (bits - 1))
	if steps < 6 {
		return formWords{}
	}
	return formAVX2{interleaved{16}, steps}
}

func (f formAVX2) unpack(dst, src []uint8, bits, k int) []uint8 {
	groups := len(dst) / 256
	switch {
	case bits == 8:
		return src
	case groups == 0:
	case bits == 2:
		unpack2AVX2(&dst[0], &src[0], groups)
	case bits == 3:
		unpack3AVX2(&dst[0], &src[0], groups)
	default:
		unpack4AVX2(&dst[0], &src[0], groups)
	}
	return dst
}

func (f formAVX2) tile(_ *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	steps, block := (k+3)/4, f.kp(k)*f.lanes
	for c := 0; c < PanelWidth; c += f.lanes {
		b := panel[c/f.lanes*block:][:block]
		for s := 0; s < steps; s += f.steps {
			tileAVX2(&a[4*s], lda, &b[4*f.lanes*s], min(f.steps, steps-s), &tile[c], 4*ldt, m, s)
		}
	}
}

// formWords widens both sides to 16 bits for VPMADDWD, since the sum of two products
// of 8-bit codes does not fit in 16 bits. Two inputs of an output lie together, 16
// outputs side by side; weights are stored as bytes in the same order.
type formWords struct{}

func (formWords) at(k, c, p int) int {
	return c/16*16*((k+3)&^3) + p/2*32 + c%16*2 + p%2
}

func (f formWords) panelBytes(k int) int { return 2 * f.storedBytes(8, k) }

func (formWords) storedBytes(_, k int) int { return PanelWidth * ((k + 3) &^ 3) }

func (f formWords) store(dst []uint8, _ int, codes []int8, rows, k int) {
	for c := range rows {
		for p, q := range codes[c*k:][:k] {
			dst[f.at(k, c, p)] = uint8(q)
		}
	}
}

func (formWords) unpack(dst, src []uint8, _, _ int) []uint8 {
	if len(src) > 0 {
		widenS8AVX2((*int16)(unsafe.Pointer(&dst[0])), (*int8)(unsafe.Pointer(&src[0])), len(src)/16)
	}
	return dst
}

func (f formWords) put(panel []uint8, k, c, p int, code uint8) {
	binary.LittleEndian.PutUint16(panel[2*f.at(k, c, p):], uint16(int8(code)))
}

func (f formWords) putRows(panel []uint8, k, j0, rows int, codes []uint8, ld int, offset uint8) {
	for i := range rows {
		for p, q := range codes[i*ld:][:k] {
			f.put(panel, k, j0+i, p, q-offset)
		}
		if k%2 != 0 {
			f.put(panel, k, j0+i, k, 0)
		}
	}
}

func (f formWords) putCols(panel []uint8, k, p0, rows, cols int, codes []uint8, ld int, offset uint8) {
	for i := range rows {
		for c, q := range codes[i*ld:][:cols] {
			f.put(panel, k, c, p0+i, q-offset)
		}
	}
	if rows%2 != 0 {
		for c := range cols {
			f.put(panel, k, c, p0+rows, 0)
		}
	}
}

func (f formWords) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	ld := (k + 1) &^ 1
	w.i16 = grow(w.i16, m*ld)
	for i := range m {
		widenRow(w.i16[i*ld:][:ld], a[i*lda:][:k], widenU8AVX2)
	}
	for c := 0; c < PanelWidth; c += 16 {
		tileWordsAVX2((*uint8)(unsafe.Pointer(&w.i16[0])), 2*ld, 4, &panel[2*f.at(k, c, 0)], ld/2, &tile[c], 4*ldt, m, 0)
	}
}
