//go:build amd64 && !noasm

package kernel

import "unsafe"

func gemm16ColsAVX512(w *Workspace, g *gemm16ColsArgs) { gemm16ColsPanels(w, g, PanelWidth) }
func gemm16ColsAVX2(w *Workspace, g *gemm16ColsArgs)   { gemm16ColsPanels(w, g, 16) }

// gemm16ColsPanels turns the codes once, two rows of them together, rounds 64 columns
// of floats at a time and multiplies all columns of codes by them.
func gemm16ColsPanels(w *Workspace, g *gemm16ColsArgs, lanes int) {
	for i0 := 0; i0 < g.m; i0 += g.maxBlock {
		m := min(g.maxBlock, g.m-i0)
		steps := (m + 1) / 2
		words := aligned(&w.i32, PanelWidth*steps+TileRows*PanelWidth+g.k*steps)
		tile, words := words[:TileRows*PanelWidth], words[TileRows*PanelWidth:]
		panel, codes := words[:PanelWidth*steps], words[PanelWidth*steps:]
		g.turn(w, codes, i0, m, lanes == PanelWidth)
		add := 0
		if g.add || i0 > 0 {
			add = 1
		}
		for j := 0; j < g.n; j += PanelWidth {
			cols := min(PanelWidth, g.n-j)
			for c := 0; c < cols; c += lanes {
				g.pack(panel[c*steps:], i0, m, j+c, min(lanes, cols-c), lanes)
			}
			for p := 0; p < g.k; p += TileRows {
				rows := min(TileRows, g.k-p)
				a := (*uint8)(unsafe.Pointer(&codes[p*steps]))
				to := &g.c[p*g.ldc+j]
				if lanes == PanelWidth {
					tileWordsAVX512(a, 4*steps, (*uint8)(unsafe.Pointer(&panel[0])), steps, &tile[0], 4*PanelWidth, rows)
					scaleTileColsAVX512(to, 4*g.ldc, &tile[0], 4*PanelWidth, &g.scale[j], rows, cols, add)
					continue
				}
				for c := 0; c < cols; c += lanes {
					tileWordsAVX2(a, 4*steps, (*uint8)(unsafe.Pointer(&panel[c*steps])), steps, &tile[c], 4*PanelWidth, rows, 0)
				}
				scaleTileColsAVX2(to, 4*g.ldc, &tile[0], 4*PanelWidth, &g.scale[j], rows, cols, add)
			}
		}
	}
}

// turn writes the codes of rows i0 .. i0+m-1 less offset, a column after the other, two
// rows in a word.
func (g *gemm16ColsArgs) turn(w *Workspace, dst []int32, i0, m int, wide bool) {
	const block = 16
	steps := (m + 1) / 2
	src := g.a[i0*g.lda:]
	at := func(i, p int) uint32 { return uint32(uint16(int32(src[i*g.lda+p]) - g.offset)) }
	if g.k < block || m < 2 {
		for p := range g.k {
			for s := range steps {
				x := at(2*s, p)
				if 2*s+1 < m {
					x |= at(2*s+1, p) << 16
				}
				dst[p*steps+s] = int32(x)
			}
		}
		return
	}
	pairs := asWords(w.row(block * steps))
	for p := 0; p < g.k; p += block {
		p := min(p, g.k-block) // the last block may do columns of the one before again
		d := (*int16)(unsafe.Pointer(&pairs[0]))
		if wide {
			packPairsU8AVX512(d, 4*block, &src[p], g.lda, m/2, int16(g.offset))
		} else {
			packPairsU8AVX2(d, 4*block, &src[p], g.lda, m/2, int16(g.offset))
		}
		if m%2 != 0 { // the last row has no partner
			for c := range block {
				pairs[(steps-1)*block+c] = int32(at(m-1, p+c))
			}
		}
		v := 8
		if wide {
			v = 16
		}
		transposePanels(asFloats(dst[p*steps:][:block*steps]), asFloats(pairs[:block*steps]), steps, block, v)
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

func asWords(x []float32) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func asFloats(x []int32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
