package kernel

import "math/bits"

// fieldSums is the product of formSums on words of four codes: with one multiplication for
// eight products,
//
//	Σ a·b = Σ (a_p + b_q)·(a_q + b_p) - Σ a_p·a_q - Σ b_p·b_q
//
// where p and q are the first and second four of eight inputs. As the codes of one factor
// lie in reverse order (see fields), b_p and a_q are reversed, and a_p and b_q are not. The
// codes of the panel are raised by half. Behind the words of each output and of each row is
// its term.
type fieldSums struct {
	fields
	pairs int // groups of eight codes that cannot overflow a field
}

// weightsGo is formGo for weights.
func weightsGo(width, abits, _ int) form { return weightForms[width][abits] }

// weightForms are made once, since a form in an interface takes memory of its own.
var weightForms = func() (forms [9][9]form) {
	for width := 2; width <= 8; width++ {
		for abits := 1; abits <= 8; abits++ {
			forms[width][abits] = formGo(width, abits)
			f, ok := forms[width][abits].(fields)
			s := 1<<width + 1<<abits - 2
			if pairs := (1<<16 - 1) / (4 * s * s); ok && pairs > 1 {
				forms[width][abits] = fieldSums{f, pairs}
			}
		}
	}
	return forms
}()

// groups is the number of words of an output or a row: an even one.
func (fieldSums) groups(k int) int { return (k + 7) / 8 * 2 }

func (f fieldSums) panelBytes(k int) int { return PanelWidth * 8 * (f.groups(k) + 1) }

func (f fieldSums) unpack(dst, src []uint8, width, k int) []uint8 {
	ld, n := fieldsRow(width, k), f.groups(k)
	to := words(dst)
	for c := range PanelWidth {
		d := to[c*(n+1):][:n+1]
		f.unpackRow(d[:n], src[c*ld:][:ld], width)
		var term uint64
		for g := 0; g < n; g += 2 {
			d[g+1] = bits.ReverseBytes64(d[g+1]) >> 8
			term += d[g] * d[g+1] >> 48
		}
		d[n] = term
	}
	return dst
}

func (f fieldSums) tile(w *Workspace, panel []uint8, k, m int, a []uint8, lda int, tile []int32, ldt int) {
	tileRows(f, w, panel, k, m, a, lda, tile, ldt)
}

func (f fieldSums) leftBytes(k int) int { return (8*(f.groups(k)+1) + 63) &^ 63 }

func (f fieldSums) packLeft(_ *Workspace, k int, dst []uint8, rows int, a []uint8, lda int) {
	n, ld := f.groups(k), f.leftBytes(k)
	for i := range rows {
		row, d := a[i*lda:][:k], words(dst[i*ld:][:ld])[:n+1]
		var term, sum uint64
		for g := 0; g < n; g += 2 {
			x, y := spread8(word(row, 4*g, 0)), spread8(bits.ReverseBytes32(word(row, 4*g+4, 0)))
			d[g], d[g+1] = x, y
			term += x * y >> 48
			sum += (x + y) * 0x00010001_00010001 >> 48
		}
		d[n] = term + sum*uint64(f.half)
	}
}

func (f fieldSums) tileLeft(_ *Workspace, panel []uint8, k, rows int, left, _ []uint8, _ int, tile []int32, ldt int) {
	n, ld := f.groups(k), f.leftBytes(k)
	b := words(panel)
	for i := 0; i < rows; i += 2 {
		// An odd last row is its own partner.
		i1 := min(i+1, rows-1)
		x0, x1 := words(left[i*ld:][:ld])[:n+1], words(left[i1*ld:][:ld])[:n+1]
		t0, t1 := tile[i*ldt:][:PanelWidth], tile[i1*ldt:][:PanelWidth]
		for c := 0; c < PanelWidth; c += 2 {
			y0, y1 := b[c*(n+1):][:n+1], b[(c+1)*(n+1):][:n+1]
			s00, s01, s10, s11 := -x0[n]-y0[n], -x0[n]-y1[n], -x1[n]-y0[n], -x1[n]-y1[n]
			for g := 0; g < n; g += 2 * f.pairs {
				e := min(g+2*f.pairs, n)
				p00, p01, p10, p11 := sumDots(x0[g:e], x1[g:e], y0[g:e], y1[g:e])
				s00, s01, s10, s11 = s00+p00>>48, s01+p01>>48, s10+p10>>48, s11+p11>>48
			}
			t0[c], t0[c+1], t1[c], t1[c+1] = int32(s00), int32(s01), int32(s10), int32(s11)
		}
	}
}

// sumDots adds up the products of the sums of the words of two rows and two outputs.
func sumDots(x0, x1, y0, y1 []uint64) (p00, p01, p10, p11 uint64) {
	x1, y0, y1 = x1[:len(x0)], y0[:len(x0)], y1[:len(x0)]
	for g := 0; g < len(x0)-1; g += 2 {
		a, b, c, d := x0[g], x0[g+1], y0[g], y0[g+1]
		p00 += (a + d) * (b + c)
		e, h := y1[g], y1[g+1]
		p01 += (a + h) * (b + e)
		a, b = x1[g], x1[g+1]
		p10 += (a + d) * (b + c)
		p11 += (a + h) * (b + e)
	}
	return p00, p01, p10, p11
}
