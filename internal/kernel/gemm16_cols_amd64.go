//go:build amd64 && !noasm

package kernel

import "unsafe"

func gemm16ColsAVX512(w *Workspace, g *gemm16ColsArgs) { gemm16ColsPanels(w, g, PanelWidth) }
func gemm16ColsAVX2(w *Workspace, g *gemm16ColsArgs)   { gemm16ColsPanels(w, g, 16) }

// codeBlock is the number of columns of codes that are laid side by side.
const codeBlock = 16

// gemm16ColsPanels lays the codes of two rows together once, rounds 64 columns of floats
// at a time and multiplies all columns of codes by them.
func gemm16ColsPanels(w *Workspace, g *gemm16ColsArgs, lanes int) {
	for i0 := 0; i0 < g.m; i0 += g.maxBlock {
		m := min(g.maxBlock, g.m-i0)
		steps := (m + 1) / 2
		columns := (g.k + codeBlock - 1) &^ (codeBlock - 1)
		words := aligned(&w.i32, PanelWidth*steps+codeBlock*PanelWidth+columns*steps)
		tile, words := words[:codeBlock*PanelWidth], words[codeBlock*PanelWidth:]
		panel, codes := words[:PanelWidth*steps], words[PanelWidth*steps:]
		g.lay(codes, i0, m, lanes == PanelWidth)
		add := 0
		if g.add || i0 > 0 {
			add = 1
		}
		for j := 0; j < g.n; j += PanelWidth {
			cols := min(PanelWidth, g.n-j)
			for c := 0; c < cols; c += lanes {
				g.pack(panel[c*steps:], i0, m, j+c, min(lanes, cols-c), lanes)
			}
			for p := 0; p < g.k; p += codeBlock {
				rows := min(codeBlock, g.k-p)
				a := (*uint8)(unsafe.Pointer(&codes[p*steps]))
				to := &g.c[p*g.ldc+j]
				if lanes == PanelWidth {
					tileWordsAVX512(a, 4, 4*codeBlock, (*uint8)(unsafe.Pointer(&panel[0])), steps, &tile[0], 4*PanelWidth, rows)
					scaleTileColsAVX512(to, 4*g.ldc, &tile[0], 4*PanelWidth, &g.scale[j], rows, cols, add)
					continue
				}
				for c := 0; c < cols; c += lanes {
					tileWordsAVX2(a, 4, 4*codeBlock, (*uint8)(unsafe.Pointer(&panel[c*steps])), steps, &tile[c], 4*PanelWidth, rows, 0)
				}
				scaleTileColsAVX2(to, 4*g.ldc, &tile[0], 4*PanelWidth, &g.scale[j], rows, cols, add)
			}
		}
	}
}

// lay writes the codes of rows i0 .. i0+m-1 less offset in blocks of columns: a word
// has two rows of a column, and a step the columns of the block.
func (g *gemm16ColsArgs) lay(dst []int32, i0, m int, wide bool) {
	steps := (m + 1) / 2
	src := g.a[i0*g.lda:]
	at := func(i, p int) int32 {
		if i >= m || p >= g.k {
			return 0
		}
		return int32(uint16(int32(src[i*g.lda+p]) - g.offset))
	}
	for p := 0; p < g.k; p += codeBlock {
		d := dst[p*steps:][:codeBlock*steps]
		first := 0 // step from which on the codes are written one by one
		// A row of the last block may reach into the next row, but not past the last.
		if safe := (len(src) - p - codeBlock) / g.lda / 2; p+codeBlock <= g.k || safe > 0 {
			first = m / 2
			if p+codeBlock > g.k {
				first = min(first, safe)
			}
		}
		if first > 0 {
			x, to := &src[p], (*int16)(unsafe.Pointer(&d[0]))
			if wide {
				packPairsU8AVX512(to, 4*codeBlock, x, g.lda, first, int16(g.offset))
			} else {
				packPairsU8AVX2(to, 4*codeBlock, x, g.lda, first, int16(g.offset))
			}
		}
		for s := first; s < steps; s++ {
			for c := range codeBlock {
				d[s*codeBlock+c] = at(2*s, p+c) | at(2*s+1, p+c)<<16
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
