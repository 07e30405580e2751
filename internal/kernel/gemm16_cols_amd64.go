//go:build amd64 && !noasm

package kernel

import "unsafe"

func gemm16ColsAVX512(w *Workspace, g *gemm16ColsArgs) {
	gemm16ColsPanels(w, g, PanelWidth, codeBlock, false)
}

func gemm16ColsAVX2(w *Workspace, g *gemm16ColsArgs) { gemm16ColsPanels(w, g, 16, codeBlock, false) }

// gemm16ColsSums is gemm16ColsAVX512 by tileWordSums, where sums of two operands fit.
func gemm16ColsSums(w *Workspace, g *gemm16ColsArgs) {
	if g.limit > widest16 {
		gemm16ColsAVX512(w, g)
		return
	}
	gemm16ColsPanels(w, g, PanelWidth, sumBlock, true)
}

// codeBlock is the number of columns of codes that are laid side by side, and sumBlock
// that for tileWordSums: whole strips of 16, and whole blocks of five.
const (
	codeBlock = 16
	sumBlock  = 80
)

// gemm16ColsPanels lays the codes of two rows together once, block columns side by side,
// rounds 64 columns of floats at a time and multiplies all columns of codes by them,
// with sums as in tileWordSums or without.
func gemm16ColsPanels(w *Workspace, g *gemm16ColsArgs, lanes, block int, sums bool) {
	most := block16(g.limit)
	for i0 := 0; i0 < g.m; i0 += most {
		m := min(most, g.m-i0)
		steps := (m + 1) / 2
		columns := (g.k + block - 1) / block * block
		words := aligned(&w.i32, (block+1+steps)*PanelWidth+columns*(steps+1))
		tile, words := words[:block*PanelWidth], words[block*PanelWidth:]
		colTerms, words := words[:PanelWidth*(steps+1)], words[PanelWidth*(steps+1):]
		panel := colTerms[PanelWidth:]
		codes, codeTerms := words[:columns*steps], words[columns*steps:]
		g.lay(codes, i0, m, block, lanes == PanelWidth)
		if sums {
			for p := 0; p < g.k; p += block {
				pairTerms(codeTerms[p:], codes[p*steps:], block, steps, min(block, g.k-p))
			}
		}
		add := 0
		if g.add || i0 > 0 {
			add = 1
		}
		for j := 0; j < g.n; j += PanelWidth {
			cols := min(PanelWidth, g.n-j)
			for c := 0; c < cols; c += lanes {
				g.pack(panel[c*steps:], i0, m, j+c, min(lanes, cols-c), lanes)
			}
			if sums {
				pairTerms(colTerms, panel, PanelWidth, steps, cols)
			}
			for p := 0; p < g.k; p += block {
				rows := min(block, g.k-p)
				a := (*uint8)(unsafe.Pointer(&codes[p*steps]))
				to := &g.c[p*g.ldc+j]
				switch {
				case sums:
					tileSums(a, 4, 4*block, colTerms, steps, tile, codeTerms[p:], rows)
				case lanes == PanelWidth:
					tileWordsAVX512(a, 4, 4*block, (*uint8)(unsafe.Pointer(&panel[0])), steps, &tile[0], 4*PanelWidth, rows)
				default:
					for c := 0; c < cols; c += lanes {
						tileWordsAVX2(a, 4, 4*block, (*uint8)(unsafe.Pointer(&panel[c*steps])), steps, &tile[c], 4*PanelWidth, rows, 0)
					}
					scaleTileColsAVX2(to, 4*g.ldc, &tile[0], 4*PanelWidth, &g.scale[j], rows, cols, add)
					continue
				}
				scaleTileColsAVX512(to, 4*g.ldc, &tile[0], 4*PanelWidth, &g.scale[j], rows, cols, add)
			}
		}
	}
}

// lay writes the codes of rows i0 .. i0+m-1 less offset in blocks of columns: a word
// has two rows of a column, and a step the columns of the block.
func (g *gemm16ColsArgs) lay(dst []int32, i0, m, block int, wide bool) {
	const strip = 16
	steps := (m + 1) / 2
	src := g.a[i0*g.lda:]
	at := func(i, p int) int32 {
		if i >= m || p >= g.k {
			return 0
		}
		return int32(uint16(int32(src[i*g.lda+p]) - g.offset))
	}
	for p := 0; p < g.k; p += strip {
		d := dst[p/block*block*steps+p%block:]
		first := 0 // step from which on the codes are written one by one
		// A row of the last strip may reach into the next row, but not past the last.
		if safe := (len(src) - p - strip) / g.lda / 2; p+strip <= g.k || safe > 0 {
			first = m / 2
			if p+strip > g.k {
				first = min(first, safe)
			}
		}
		if first > 0 {
			x, to := &src[p], (*int16)(unsafe.Pointer(&d[0]))
			if wide {
				packPairsU8AVX512(to, 4*block, x, g.lda, first, int16(g.offset))
			} else {
				packPairsU8AVX2(to, 4*block, x, g.lda, first, int16(g.offset))
			}
		}
		for s := first; s < steps; s++ {
			for c := range strip {
				d[s*block+c] = at(2*s, p+c) | at(2*s+1, p+c)<<16
			}
		}
	}
}

// pack rounds cols columns of floats from j on; dst has lanes words for each two rows.
func (g *gemm16ColsArgs) pack(dst []int32, i0, m, j, cols, lanes int) {
	words := func(dst *int32, x *float32, ldx, steps int) {
		if lanes == PanelWidth {
			packWordsAVX512(dst, 4*lanes, x, 4*ldx, &g.inv[j], cols, steps)
		} else {
			packWordsAVX2(dst, 4*lanes, x, 4*ldx, &g.inv[j], cols, steps)
		}
	}
	if m > 1 {
		words(&dst[0], &g.x[i0*g.ldx+j], g.ldx, m/2)
	}
	if m%2 != 0 {
		var last [2 * PanelWidth]float32
		copy(last[:cols], g.x[(i0+m-1)*g.ldx+j:])
		words(&dst[m/2*lanes], &last[0], PanelWidth, 1)
	}
}
