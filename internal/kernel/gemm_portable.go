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

// tile adds up tileM rows times tileN columns over k. The loop over four steps of k
// has no bounds to check and holds one b at a time, so that all of it stays in registers.
func tile(t *[tileM * tileN]float32, a, b []float32) {
	var c00, c01, c02, c03, c10, c11, c12, c13 float32
	for len(a) >= 4*tileM && len(b) >= 4*tileN {
		p, q := (*[4 * tileM]float32)(a), (*[4 * tileN]float32)(b)
		a0, a1 := p[0], p[1]
		b0 := q[0]
		c00 += a0 * b0
		c10 += a1 * b0
		b0 = q[1]
		c01 += a0 * b0
		c11 += a1 * b0
		b0 = q[2]
		c02 += a0 * b0
		c12 += a1 * b0
		b0 = q[3]
		c03 += a0 * b0
		c13 += a1 * b0
		a0, a1 = p[2], p[3]
		b0 = q[4]
		c00 += a0 * b0
		c10 += a1 * b0
		b0 = q[5]
		c01 += a0 * b0
		c11 += a1 * b0
		b0 = q[6]
		c02 += a0 * b0
		c12 += a1 * b0
		b0 = q[7]
		c03 += a0 * b0
		c13 += a1 * b0
		a0, a1 = p[4], p[5]
		b0 = q[8]
		c00 += a0 * b0
		c10 += a1 * b0
		b0 = q[9]
		c01 += a0 * b0
		c11 += a1 * b0
		b0 = q[10]
		c02 += a0 * b0
		c12 += a1 * b0
		b0 = q[11]
		c03 += a0 * b0
		c13 += a1 * b0
		a0, a1 = p[6], p[7]
		b0 = q[12]
		c00 += a0 * b0
		c10 += a1 * b0
		b0 = q[13]
		c01 += a0 * b0
		c11 += a1 * b0
		b0 = q[14]
		c02 += a0 * b0
		c12 += a1 * b0
		b0 = q[15]
		c03 += a0 * b0
		c13 += a1 * b0
		a, b = a[4*tileM:], b[4*tileN:]
	}
	for ; len(a) >= tileM && len(b) >= tileN; a, b = a[tileM:], b[tileN:] {
		a0, a1 := a[0], a[1]
		c00 += a0 * b[0]
		c10 += a1 * b[0]
		c01 += a0 * b[1]
		c11 += a1 * b[1]
		c02 += a0 * b[2]
		c12 += a1 * b[2]
		c03 += a0 * b[3]
		c13 += a1 * b[3]
	}
	*t = [tileM * tileN]float32{c00, c01, c02, c03, c10, c11, c12, c13}
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
