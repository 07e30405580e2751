//go:build amd64 && !noasm

package kernel

import (
	"unsafe"
)

func gemm16AVX512(w *Workspace, g *gemm16Args) { gemm16Panels(w, g, PanelWidth, false) }
func gemm16AVX2(w *Workspace, g *gemm16Args)   { gemm16Panels(w, g, 16, false) }

// gemm16Sums is gemm16AVX512 by tileWordSums, where sums of two operands fit.
func gemm16Sums(w *Workspace, g *gemm16Args) { gemm16Panels(w, g, PanelWidth, g.limit <= widest16) }

// sumRows is TileRows for tileWordSums: five rows are a block.
const sumRows = 25

// gemm16Panels packs 64 columns of the codes at a time, lanes side by side and two
// inputs of a column together, and multiplies all rows by them, with sums as in
// tileWordSums or without.
func gemm16Panels(w *Workspace, g *gemm16Args, lanes int, sums bool) {
	block, height, terms := block16(g.limit), TileRows, 0
	if sums {
		height, terms = sumRows, (g.m+15)&^15
	}
	for k0 := 0; k0 < g.k; k0 += block {
		k := min(block, g.k-k0)
		steps := (k + 1) / 2
		a, lda := g.a[k0:], g.lda
		words := aligned(&w.i32, terms+(height+1+steps)*PanelWidth)
		rowTerms, words := words[:terms], words[terms:]
		tile, words := words[:height*PanelWidth], words[height*PanelWidth:]
		colTerms, panel := words, words[PanelWidth:]
		spare := 0
		if k%2 != 0 && len(a) <= (g.m-1)*lda+k {
			// The last input has no partner, and the codes have 0 for it: what follows a
			// row does not matter, but the last row must not be read past its end.
			spare = g.m * 2 * steps
		}
		w.i16 = grow(w.i16, spare+16*2*steps)
		if spare > 0 {
			lda = 2 * steps
			for i := range g.m {
				d := w.i16[i*lda:][:lda]
				copy(d, a[i*g.lda:][:k])
				d[k] = 0
			}
			a = w.i16
		}
		add := 0
		if g.add || k0 > 0 {
			add = 1
		}
		for j := 0; j < g.n; j += PanelWidth {
			cols := min(PanelWidth, g.n-j)
			for c := 0; c < cols; c += lanes {
				g.pack(panel[c*steps:], w.i16[spare:], k0, k, j+c, min(lanes, cols-c), lanes)
			}
			if sums {
				pairTerms(colTerms, panel, PanelWidth, steps, cols)
			}
			for i := 0; i < g.m; i += height {
				m := min(height, g.m-i)
				x := (*uint8)(unsafe.Pointer(&a[i*lda]))
				to := g.c[i*g.ldc+j:]
				if sums {
					if t := rowTerms[i:][:m]; j == 0 && steps > 1 {
						rowTermsAVX512(&t[0], &a[i*lda], 2*lda, steps/2, m)
					} else if j == 0 {
						clear(t)
					}
					tileSums(x, 2*lda, 4, colTerms, steps, tile, rowTerms[i:], m)
					scaleTileAVX512(&to[0], 4*g.ldc, &tile[0], 4*PanelWidth, &g.scale[i], m, cols, add)
					continue
				}
				if lanes == PanelWidth {
					tileWordsAVX512(x, 2*lda, 4, (*uint8)(unsafe.Pointer(&panel[0])), steps, &tile[0], 4*PanelWidth, m)
					scaleTileAVX512(&to[0], 4*g.ldc, &tile[0], 4*PanelWidth, &g.scale[i], m, cols, add)
					continue
				}
				for c := 0; c < cols; c += lanes {
					tileWordsAVX2(x, 2*lda, 4, (*uint8)(unsafe.Pointer(&panel[c*steps])), steps, &tile[c], 4*PanelWidth, m, 0)
				}
				scaleTileAVX2(&to[0], 4*g.ldc, &tile[0], 4*PanelWidth, &g.scale[i], m, cols, add)
			}
		}
	}
}

// tileSums multiplies rows by a panel whose terms lie before it, in parts that stay in
// the first-level cache.
func tileSums(a *uint8, lda, step int, panel []int32, steps int, tile, terms []int32, rows int) {
	const most = 128
	parts := (steps + most - 1) / most
	part := ((steps+parts-1)/parts + 1) &^ 1
	for s := 0; s < steps; s += part {
		x := (*uint8)(unsafe.Add(unsafe.Pointer(a), s*step))
		tileWordSumsAVX512(x, lda, step, &panel[PanelWidth*(s+1)], min(part, steps-s), &tile[0], &terms[0], rows, s)
	}
}

// pairTerms writes what columns of words take off, see tileWordSums; rows of words are
// stride apart.
func pairTerms(dst, words []int32, stride, steps, cols int) {
	if steps > 1 {
		colTermsAVX512(&dst[0], &words[0], 4*stride, steps/2, cols)
	} else {
		clear(dst[:cols])
	}
}

// pack packs inputs k0 .. k0+k-1 of cols columns from j on; dst has lanes words for
// each two inputs. scratch holds 16 rows of k 16-bit codes.
func (g *gemm16Args) pack(dst []int32, scratch []int16, k0, k, j, cols, lanes int) {
	steps, c := (k+1)/2, 0
	wide := lanes == PanelWidth
	if g.tb {
		ld := 2 * steps
		for ; c < cols; c += 16 {
			rows := min(16, cols-c)
			for i := range rows {
				g.widen(scratch[i*ld:][:ld], g.b[(j+c+i)*g.ldb+k0:][:k])
			}
			for i := 0; i < rows; {
				v := 8
				if wide {
					v = 16
				}
				n := min(v, rows-i)
				packColumns((*float32)(unsafe.Pointer(&dst[c+i])), 4*lanes, (*float32)(unsafe.Pointer(&scratch[i*ld])), 2*ld, n, steps, wide)
				i += n
			}
		}
		return
	}
	src := g.b[k0*g.ldb+j:]
	off := int16(g.offset)
	if k > 1 {
		for ; c+16 <= cols; c += 16 {
			d, s := (*int16)(unsafe.Pointer(&dst[c])), &src[c]
			switch {
			case wide && g.signed:
				packPairsS8AVX512(d, 4*lanes, s, g.ldb, k/2, off)
			case wide:
				packPairsU8AVX512(d, 4*lanes, s, g.ldb, k/2, off)
			case g.signed:
				packPairsS8AVX2(d, 4*lanes, s, g.ldb, k/2, off)
			default:
				packPairsU8AVX2(d, 4*lanes, s, g.ldb, k/2, off)
			}
		}
	}
	for p := 0; p < k; p += 2 {
		from := c
		if p+1 == k {
			from = 0 // the row without a partner
		}
		for i := from; i < cols; i++ {
			x := uint32(uint16(g.at(k0+p, j+i)))
			if p+1 < k {
				x |= uint32(uint16(g.at(k0+p+1, j+i))) << 16
			}
			dst[p/2*lanes+i] = int32(x)
		}
	}
}

// widen converts a row of codes, and clears what is left of dst.
func (g *gemm16Args) widen(dst []int16, src []uint8) {
	n := len(src) / 16
	if n > 0 && g.signed {
		widenLessS8AVX2(&dst[0], &src[0], n, int16(g.offset))
	} else if n > 0 {
		widenLessU8AVX2(&dst[0], &src[0], n, int16(g.offset))
	}
	for i := 16 * n; i < len(src); i++ {
		q := int32(src[i])
		if g.signed {
			q = int32(int8(src[i]))
		}
		dst[i] = int16(q - g.offset)
	}
	clear(dst[len(src):])
}

func quantize16VectorsAVX2(dst []int16, x, factor []float32, inv float32) {
	quantize16AVX2(dst, x, factor, inv)
	n := len(dst) &^ 7
	if factor != nil {
		factor = factor[n:]
	}
	quantize16Go(dst[n:], x[n:len(dst)], factor, inv)
}

func rows16AVX512(_ *set, dst []int16, ldd int, scale, x []float32, ldx int, factor []float32, rows, n int) {
	var f *float32
	if factor != nil {
		f = &factor[0]
	}
	quantizeRows16AVX512(&dst[0], 2*ldd, &scale[0], &x[0], 4*ldx, f, rows, n)
}
