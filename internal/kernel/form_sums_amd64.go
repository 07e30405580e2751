//go:build amd64 && !noasm

package kernel

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
// and behind the panel are the negative terms of its outputs. A packed row is its codes
// and its negative term.
type formSums struct {
	formVNNI
	bits int
}

// sumsBits is the widest left-hand side whose sums with four bits fit in seven bits.
const sumsBits = 6

func weightsSums(bits, abits, k int) form {
	if bits <= 4 && abits <= sumsBits && k > 0 {
		return sumsForms[bits]
	}
	return lowBitVNNI(bits, abits)
}

// sumsForms are made once, since a form in an interface takes memory of its own.
var sumsForms = [...]form{2: newFormSums(2), 3: newFormSums(3), 4: newFormSums(4)}

func newFormSums(bits int) form { return formSums{formVNNI{interleaved{64}}, bits} }

// groups is the number of groups of 256 codes: an even one.
func (formSums) groups(k int) int { return (k + 7) / 8 * 2 }

func (f formSums) panelBytes(k int) int { return 256*f.groups(k) + 4*PanelWidth }

func (f formSums) storedBytes(bits, k int) int { return 32 * bits * f.groups(k) }

func (f formSums) store(dst []uint8, bits int, codes []int8, rows, k int) {
	p := make([]uint8, 256*f.groups(k))
	f.putRows(p, k, 0, rows, bytesOf(codes), k, 0)
	for g := range f.groups(k) {
		f.pack256(dst[32*bits*g:][:32*bits], (*[256]uint8)(p[256*g:]), bits)
	}
}

func (f formSums) storeBytes(dst []uint8, bits int, src []uint8, row, rows, k int) bool {
	return k%8 == 0 && f.formVNNI.storeBytes(dst, bits, src, row, rows, k)
}

func (f formSums) unpack(dst, src []uint8, bits, k int) []uint8 {
	unpack := unpackSums4AVX512
	switch bits {
	case 2:
		unpack = unpackSums2AVX512
	case 3:
		unpack = unpackSums3AVX512
	}
	unpack(&dst[0], &src[0], f.groups(k)/2)
	return dst
}

func (f formSums) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	row := f.leftBytes(k)
	w.left = grow(w.left, TileRows*row)
	for i := 0; i < m; i += TileRows {
		rows := min(TileRows, m-i)
		f.packLeft(w, k, w.left, rows, a[i*lda:], lda)
		f.tileLeft(w, panel, k, rows, w.left, tile[i*ldt:], ldt)
	}
}

func (f formSums) leftBytes(k int) int { return (4*f.groups(k) + 4 + 63) &^ 63 }

func (f formSums) packLeft(_ *Workspace, k int, dst []uint8, rows int, a []uint8, lda int) {
	packSumsAVX512(&dst[0], f.leftBytes(k), &a[0], lda, k, 4*f.groups(k), 1<<(f.bits-1), rows)
}

// sumsSteps is how many steps of a panel, 512 bytes each, stay in the first-level cache
// beside the rows and sums of a tile.
const sumsSteps = 48

// tileLeft fetches the next panel of the weights meanwhile.
func (f formSums) tileLeft(w *Workspace, panel []uint8, k, rows int, left []uint8, tile []int32, ldt int) {
	steps, multiply, block := f.groups(k)/2, tileSumsAVX512, 5
	if w.half {
		multiply, block = tileSumsHalfAVX512, 8
	}
	parts := (steps + sumsSteps - 1) / sumsSteps
	behind := 8 * steps
	for s := range parts {
		lo, hi := s*steps/parts, (s+1)*steps/parts
		ahead, lines := &left[0], len(w.ahead)/cacheLine
		if lines > 0 {
			ahead = &w.ahead[0]
			w.ahead = w.ahead[min(lines, (rows+block-1)/block*(hi-lo))*cacheLine:]
		}
		multiply(&left[8*lo], f.leftBytes(k), &panel[512*lo], hi-lo, &tile[0], 4*ldt, rows, behind, ahead, lines)
		behind = 0
	}
}
