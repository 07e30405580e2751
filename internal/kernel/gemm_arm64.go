//go:build arm64 && !noasm

package kernel

// The product packs op(B) in panels of panelNEON columns, and op(A) in rows where it does
// not lie so, or where its stride maps the rows of a block to the same few lines of the
// cache. The assembly multiplies six rows by a panel with all sums in registers. It
// runs down rowsNEON rows, which stay in the second-level cache, panel by panel.
const (
	panelNEON  = 16
	rowsNEON   = 240
	strideNEON = 2048
)

func gemmNEON(w *Workspace, g *gemmArgs) {
	packed := g.ta || g.lda%strideNEON == 0
	for k0 := 0; k0 < g.k; k0 += blockK {
		k := min(blockK, g.k-k0)
		a, lda := g.a[min(k0, len(g.a)):], g.lda
		if packed {
			w.a = grow(w.a, g.m*k)
			if g.ta {
				transposeTo(w.a, k, g.a[k0*g.lda:], g.lda, k, g.m)
			} else {
				packA(w.a, g, k0, k, k)
			}
			a, lda = w.a, k
		}
		size := panelNEON * k
		w.b = grow(w.b, (g.n+panelNEON-1)/panelNEON*size)
		for j := 0; j < g.n; j += panelNEON {
			if g.tb {
				transposeTo(w.b[j*k:][:size], panelNEON, g.b[j*g.ldb+k0:], g.ldb, min(panelNEON, g.n-j), k)
			} else {
				packPanel(w.b[j*k:][:size], panelNEON, g, j, k0, k)
			}
		}
		add := 0
		if g.beta != 0 || k0 > 0 {
			add = 1
		}
		for i := 0; i < g.m; i += rowsNEON {
			m := min(rowsNEON, g.m-i)
			for j := 0; j < g.n; j += panelNEON {
				c := g.c[i*g.ldc+j:]
				if cols := g.n - j; cols < panelNEON {
					gemmEdge(g, a[i*lda:], lda, w.b[j*k:], k, c, m, cols, add)
					continue
				}
				sgemmPanelNEON(&a[i*lda], 4*lda, &w.b[j*k], k, &c[0], 4*g.ldc, m, g.alpha, add)
			}
		}
	}
}

// gemmEdge multiplies by a panel of which C has only some columns.
func gemmEdge(g *gemmArgs, a []float32, lda int, b []float32, k int, c []float32, m, cols, add int) {
	var t [TileRows * panelNEON]float32
	for i := 0; i < m; i += TileRows {
		rows := min(TileRows, m-i)
		if add != 0 {
			for r := range rows {
				copy(t[r*panelNEON:], c[(i+r)*g.ldc:][:cols])
			}
		}
		sgemmPanelNEON(&a[i*lda], 4*lda, &b[0], k, &t[0], 4*panelNEON, rows, g.alpha, add)
		for r := range rows {
			copy(c[(i+r)*g.ldc:][:cols], t[r*panelNEON:])
		}
	}
}

// transposeTo is transpose, by vectors where it can.
func transposeTo(dst []float32, stride int, src []float32, ld, rows, cols int) {
	r, whole := 0, cols&^3
	for ; r+4 <= rows && whole > 0; r += 4 {
		transposeNEON(&dst[r], 4*stride, &src[r*ld], 4*ld, whole/4)
		if whole < cols {
			transpose(dst[whole*stride+r:], stride, src[r*ld+whole:], ld, 4, cols-whole)
		}
	}
	if r < rows {
		transpose(dst[r:], stride, src[r*ld:], ld, rows-r, cols)
	}
}

func transposeRows(dst, src []float32, rows, cols int) { transposeTo(dst, rows, src, cols, rows, cols) }
