//go:build arm64 && !noasm

package kernel

import (
	"encoding/binary"
	"unsafe"
)

// gemm16NEON packs the codes as 16-bit numbers in panels of 16 columns.
func gemm16NEON(w *Workspace, g *gemm16Args) {
	block := block16(g.limit)
	for k0 := 0; k0 < g.k; k0 += block {
		k := min(block, g.k-k0)
		size := panelNEON * k
		w.i16 = grow(w.i16, (g.n+panelNEON-1)/panelNEON*size)
		for j := 0; j < g.n; j += panelNEON {
			g.panel(w.i16[j*k:][:size], k0, k, j)
		}
		add := g.add || k0 > 0
		for i0 := 0; i0 < g.m; i0 += rowsNEON {
			for j := 0; j < g.n; j += panelNEON {
				cols := min(panelNEON, g.n-j)
				eachWords(w, g.a[i0*g.lda+k0:], g.lda, w.i16[j*k:], k, min(rowsNEON, g.m-i0), func(i int, sums *[panelNEON]int32) {
					f, c := g.scale[i0+i], g.c[(i0+i)*g.ldc+j:][:cols]
					for x := range c {
						y := float32(f * float32(sums[x]))
						if add {
							y = c[x] + y
						}
						c[x] = y
					}
				})
			}
		}
	}
}

// gemm16ColsNEON makes rows of the columns of codes, and panels of the rounded floats.
func gemm16ColsNEON(w *Workspace, g *gemm16ColsArgs) {
	block := block16(g.limit)
	for i0 := 0; i0 < g.m; i0 += block {
		m := min(block, g.m-i0)
		size := panelNEON * m
		w.i16 = grow(w.i16, g.k*m+(g.n+panelNEON-1)/panelNEON*size)
		a, b := w.i16[:g.k*m], w.i16[g.k*m:]
		g.rows(a, i0, m)
		for j := 0; j < g.n; j += panelNEON {
			g.panel(b[j*m:][:size], i0, m, j)
		}
		add := g.add || i0 > 0
		for p0 := 0; p0 < g.k; p0 += rowsNEON {
			for j := 0; j < g.n; j += panelNEON {
				scale := g.scale[j:min(j+panelNEON, g.n)]
				eachWords(w, a[p0*m:], m, b[j*m:], m, min(rowsNEON, g.k-p0), func(i int, sums *[panelNEON]int32) {
					c := g.c[(p0+i)*g.ldc+j:][:len(scale)]
					for x, f := range scale {
						y := float32(f * float32(sums[x]))
						if add {
							y = c[x] + y
						}
						c[x] = y
					}
				})
			}
		}
	}
}

// eachWords multiplies m rows of k numbers by a panel and gives each row's sums to end.
func eachWords(w *Workspace, a []int16, lda int, b []int16, k, m int, end func(i int, sums *[panelNEON]int32)) {
	w.i32 = grow(w.i32, TileRows*panelNEON)
	for i := 0; i < m; i += TileRows {
		rows := min(TileRows, m-i)
		wordPanelNEON(&a[i*lda], 2*lda, &b[0], k, &w.i32[0], 4*panelNEON, rows)
		for r := range rows {
			end(i+r, (*[panelNEON]int32)(w.i32[r*panelNEON:]))
		}
	}
}

// panel packs rows k0 .. k0+k-1 of b from column j on.
func (g *gemm16Args) panel(dst []int16, k0, k, j int) {
	cols := min(panelNEON, g.n-j)
	turn, less := uint32(0), uint16(g.offset)
	if g.signed {
		turn, less = 0x80808080, less+128 // raised, and lowered again
	}
	if g.tb {
		for c := range cols {
			for p, q := range g.b[(j+c)*g.ldb+k0:][:k] {
				dst[p*panelNEON+c] = int16(uint16(q^uint8(turn)) - less)
			}
		}
		return
	}
	for p := range k {
		d, s := dst[p*panelNEON:][:panelNEON], g.b[(k0+p)*g.ldb+j:][:cols]
		to := bytesOf16(d)
		for ; len(s) >= 4; s, d, to = s[4:], d[4:], to[8:] {
			binary.LittleEndian.PutUint64(to, lower16(spread8(binary.LittleEndian.Uint32(s)^turn), less))
		}
		for c, q := range s {
			d[c] = int16(uint16(q^uint8(turn)) - less)
		}
	}
}

// bytesOf16 is the memory of numbers of 16 bits.
func bytesOf16(s []int16) []uint8 {
	return unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(s))), 2*len(s))
}

// lower16 subtracts o from each of the four numbers of 16 bits of x.
func lower16(x uint64, o uint16) uint64 {
	const high = 0x8000800080008000
	y := uint64(o) * 0x0001000100010001
	return ((x | high) - (y &^ high)) ^ ((x ^ ^y) & high)
}

// rows writes the codes of rows i0 .. i0+m-1 less offset, column by column.
func (g *gemm16ColsArgs) rows(dst []int16, i0, m int) {
	i, less := 0, uint16(g.offset)
	to := bytesOf16(dst)
	for ; i+4 <= m; i += 4 {
		s := g.a[(i0+i)*g.lda:]
		s0, s1, s2, s3 := s[:g.k], s[g.lda:][:g.k], s[2*g.lda:][:g.k], s[3*g.lda:][:g.k]
		for p, q := range s0 {
			x := uint64(q) | uint64(s1[p])<<16 | uint64(s2[p])<<32 | uint64(s3[p])<<48
			binary.LittleEndian.PutUint64(to[2*(p*m+i):], lower16(x, less))
		}
	}
	for ; i < m; i++ {
		for p, q := range g.a[(i0+i)*g.lda:][:g.k] {
			dst[p*m+i] = int16(uint16(q) - less)
		}
	}
}

// panel rounds rows i0 .. i0+m-1 of x from column j on.
func (g *gemm16ColsArgs) panel(dst []int16, i0, m, j int) {
	inv := g.inv[j:min(j+panelNEON, g.n)]
	for i := range m {
		d, x := dst[i*panelNEON:][:len(inv)], g.x[(i0+i)*g.ldx+j:][:len(inv)]
		for c, f := range inv {
			d[c] = word16(float32(x[c] * f))
		}
	}
}
