package kernel

// The portable product packs op(A) in panels of tileM rows and op(B) in panels
// of tileN columns, both with k running slowest and zero-padded, so that the
// innermost loop reads two short contiguous runs and keeps its sums in registers.
const (
	tileM  = 2
	tileN  = 4
	blockK = 256
)

func gemmGo(w *Workspace, g *gemmArgs) {
	mp, np := (g.m+tileM-1)/tileM, (g.n+tileN-1)/tileN
	kb := min(g.k, blockK)
	w.a = grow(w.a, mp*tileM*kb)
	w.b = grow(w.b, np*tileN*kb)
	for k0 := 0; k0 < g.k; k0 += blockK {
		k := min(blockK, g.k-k0)
		if g.ta {
			packRows(w.a, g.a[k0*g.lda:], g.lda, k, g.m, tileM)
		} else {
			packCols(w.a, g.a[k0:], g.lda, k, g.m, tileM)
		}
		if g.tb {
			packCols(w.b, g.b[k0:], g.ldb, k, g.n, tileN)
		} else {
			packRows(w.b, g.b[k0*g.ldb:], g.ldb, k, g.n, tileN)
		}
		beta := g.beta
		if k0 > 0 {
			beta = 1
		}
		for i := 0; i < g.m; i += tileM {
			pa := w.a[i*k:][:tileM*k]
			for j := 0; j < g.n; j += tileN {
				var t [tileM * tileN]float32
				tile(&t, pa, w.b[j*k:][:tileN*k])
				storeTile(&t, g, i, j, beta)
			}
		}
	}
}

// packRows packs a k × m matrix whose rows are contiguous into panels of width t.
func packRows(dst, src []float32, ld, k, m, t int) {
	for i := 0; i < m; i += t {
		c := min(t, m-i)
		for p := range k {
			d := dst[i*k+p*t:][:t]
			copy(d, src[p*ld+i:][:c])
			clear(d[c:])
		}
	}
}

// packCols packs an m × k matrix whose rows are contiguous into panels of t rows.
func packCols(dst, src []float32, ld, k, m, t int) {
	for i := 0; i < m; i += t {
		d := dst[i*k:][:t*k]
		for r := range t {
			if i+r >= m {
				for p := range k {
					d[p*t+r] = 0
				}
				continue
			}
			for p, v := range src[(i+r)*ld:][:k] {
				d[p*t+r] = v
			}
		}
	}
}

func tile(t *[tileM * tileN]float32, a, b []float32) {
	var c00, c01, c02, c03, c10, c11, c12, c13 float32
	for len(a) >= 2 && len(b) >= 4 {
		a0, a1 := a[0], a[1]
		b0, b1, b2, b3 := b[0], b[1], b[2], b[3]
		c00 += a0 * b0
		c01 += a0 * b1
		c02 += a0 * b2
		c03 += a0 * b3
		c10 += a1 * b0
		c11 += a1 * b1
		c12 += a1 * b2
		c13 += a1 * b3
		a, b = a[2:], b[4:]
	}
	t[0], t[1], t[2], t[3] = c00, c01, c02, c03
	t[4], t[5], t[6], t[7] = c10, c11, c12, c13
}

func storeTile(t *[tileM * tileN]float32, g *gemmArgs, i, j int, beta float32) {
	n := min(tileN, g.n-j)
	for r := range min(tileM, g.m-i) {
		c := g.c[(i+r)*g.ldc+j:][:n]
		for x := range c {
			v := g.alpha * t[r*tileN+x]
			if beta != 0 {
				v += c[x]
			}
			c[x] = v
		}
	}
}
