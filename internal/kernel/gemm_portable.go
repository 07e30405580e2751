package kernel

// The portable product multiplies rows of op(A), which it packs where they do not lie
// in one piece, by panels of tileN columns of op(B), packed with k running slowest. One
// call of tile has all its sums in registers. One row and many columns, because every
// product then starts as a load of its b: a scalar product in Go's two-operand
// instructions needs a load or a copy for each, and loads alone disturb the two
// multipliers and two adders of a core least. The last columns go in panels of tailN.
const (
	tileN  = 12
	tailN  = 4
	tileK  = 8
	blockK = 512
)

func gemmGo(w *Workspace, g *gemmArgs) {
	w.b = grow(w.b, tileN*min(blockK, g.k))
	for k0 := 0; k0 < g.k; k0 += blockK {
		k := min(blockK, g.k-k0)
		beta := g.beta
		if k0 > 0 {
			beta = 1
		}
		a, lda := g.a, g.lda
		if g.ta {
			w.a = grow(w.a, g.m*k)
			packA(w.a, g, k0, k, k)
			a, lda = w.a, k
		} else {
			a = a[k0:]
		}
		for j := 0; j < g.n; {
			width := tileN
			if g.n-j <= 2*tailN {
				width = tailN
			}
			b := w.b[:width*k]
			packPanel(b, width, g, j, k0, k)
			for i := range g.m {
				var t [tileN]float32
				if width == tileN {
					tile(&t, a[i*lda:][:k], b)
				} else {
					tileTail(&t, a[i*lda:][:k], b)
				}
				storeTile(t[:min(width, g.n-j)], g, i, j, beta)
			}
			j += width
		}
	}
}

// packA packs k columns of op(A) from k0 on, with zeros up to padded.
func packA(dst []float32, g *gemmArgs, k0, k, padded int) {
	if g.ta {
		transpose(dst, padded, g.a[k0*g.lda:], g.lda, k, g.m)
	}
	for i := range g.m {
		d := dst[i*padded:][:padded]
		if !g.ta {
			copy(d, g.a[i*g.lda+k0:][:k])
		}
		clear(d[k:])
	}
}

// packPanel packs k rows of op(B) from k0 on, columns j to j+width; columns that op(B) has
// not are 0.
func packPanel(dst []float32, width int, g *gemmArgs, j, k0, k int) {
	n := min(width, g.n-j)
	if n < width {
		clear(dst)
	}
	if g.tb {
		transpose(dst, width, g.b[j*g.ldb+k0:], g.ldb, n, k)
		return
	}
	for p := range k {
		d, s := dst[p*width:], g.b[(k0+p)*g.ldb+j:]
		switch n {
		case tileN:
			*(*[tileN]float32)(d) = [tileN]float32(s)
		case tailN:
			*(*[tailN]float32)(d) = [tailN]float32(s)
		default:
			for x, v := range s[:n] {
				d[x] = v
			}
		}
	}
}

// transpose sets dst[c*stride+r] to src[r*ld+c]; four rows at a time, so that one cache
// line of dst is written once for them.
func transpose(dst []float32, stride int, src []float32, ld, rows, cols int) {
	r := 0
	for ; r+4 <= rows; r += 4 {
		s0, s1 := src[r*ld:][:cols], src[(r+1)*ld:][:cols]
		s2, s3 := src[(r+2)*ld:][:cols], src[(r+3)*ld:][:cols]
		for c, v := range s0 {
			d := (*[4]float32)(dst[c*stride+r:])
			d[0], d[1], d[2], d[3] = v, s1[c], s2[c], s3[c]
		}
	}
	for ; r < rows; r++ {
		for c, v := range src[r*ld:][:cols] {
			dst[c*stride+r] = v
		}
	}
}

// tile multiplies a row by a panel of tileN columns. Its loop tests at its end and takes
// the next steps there: the compiler keeps the order of the additions, and with it the
// sums in registers, only where one block holds them and nothing in it can fail.
func tile(t *[tileN]float32, a, b []float32) {
	var c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11 float32
	if len(a) >= tileK {
		p, q := (*[tileK]float32)(a), (*[tileK * tileN]float32)(b)
		for {
			x := p[0]
			c0 += x * q[0]
			c1 += x * q[1]
			c2 += x * q[2]
			c3 += x * q[3]
			c4 += x * q[4]
			c5 += x * q[5]
			c6 += x * q[6]
			c7 += x * q[7]
			c8 += x * q[8]
			c9 += x * q[9]
			c10 += x * q[10]
			c11 += x * q[11]
			x = p[1]
			c0 += x * q[12]
			c1 += x * q[13]
			c2 += x * q[14]
			c3 += x * q[15]
			c4 += x * q[16]
			c5 += x * q[17]
			c6 += x * q[18]
			c7 += x * q[19]
			c8 += x * q[20]
			c9 += x * q[21]
			c10 += x * q[22]
			c11 += x * q[23]
			x = p[2]
			c0 += x * q[24]
			c1 += x * q[25]
			c2 += x * q[26]
			c3 += x * q[27]
			c4 += x * q[28]
			c5 += x * q[29]
			c6 += x * q[30]
			c7 += x * q[31]
			c8 += x * q[32]
			c9 += x * q[33]
			c10 += x * q[34]
			c11 += x * q[35]
			x = p[3]
			c0 += x * q[36]
			c1 += x * q[37]
			c2 += x * q[38]
			c3 += x * q[39]
			c4 += x * q[40]
			c5 += x * q[41]
			c6 += x * q[42]
			c7 += x * q[43]
			c8 += x * q[44]
			c9 += x * q[45]
			c10 += x * q[46]
			c11 += x * q[47]
			x = p[4]
			c0 += x * q[48]
			c1 += x * q[49]
			c2 += x * q[50]
			c3 += x * q[51]
			c4 += x * q[52]
			c5 += x * q[53]
			c6 += x * q[54]
			c7 += x * q[55]
			c8 += x * q[56]
			c9 += x * q[57]
			c10 += x * q[58]
			c11 += x * q[59]
			x = p[5]
			c0 += x * q[60]
			c1 += x * q[61]
			c2 += x * q[62]
			c3 += x * q[63]
			c4 += x * q[64]
			c5 += x * q[65]
			c6 += x * q[66]
			c7 += x * q[67]
			c8 += x * q[68]
			c9 += x * q[69]
			c10 += x * q[70]
			c11 += x * q[71]
			x = p[6]
			c0 += x * q[72]
			c1 += x * q[73]
			c2 += x * q[74]
			c3 += x * q[75]
			c4 += x * q[76]
			c5 += x * q[77]
			c6 += x * q[78]
			c7 += x * q[79]
			c8 += x * q[80]
			c9 += x * q[81]
			c10 += x * q[82]
			c11 += x * q[83]
			x = p[7]
			c0 += x * q[84]
			c1 += x * q[85]
			c2 += x * q[86]
			c3 += x * q[87]
			c4 += x * q[88]
			c5 += x * q[89]
			c6 += x * q[90]
			c7 += x * q[91]
			c8 += x * q[92]
			c9 += x * q[93]
			c10 += x * q[94]
			c11 += x * q[95]
			a, b = a[tileK:], b[tileK*tileN:]
			if len(a) < tileK {
				break
			}
			p, q = (*[tileK]float32)(a), (*[tileK * tileN]float32)(b)
		}
	}
	for i, x := range a {
		q := (*[tileN]float32)(b[i*tileN:])
		c0 += x * q[0]
		c1 += x * q[1]
		c2 += x * q[2]
		c3 += x * q[3]
		c4 += x * q[4]
		c5 += x * q[5]
		c6 += x * q[6]
		c7 += x * q[7]
		c8 += x * q[8]
		c9 += x * q[9]
		c10 += x * q[10]
		c11 += x * q[11]
	}
	*t = [tileN]float32{c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11}
}

// tileTail multiplies a row by a panel of tailN columns.
func tileTail(t *[tileN]float32, a, b []float32) {
	var c0, c1, c2, c3 float32
	for len(a) >= 4 && len(b) >= 4*tailN {
		p, q := (*[4]float32)(a), (*[4 * tailN]float32)(b)
		x := p[0]
		c0 += x * q[0]
		c1 += x * q[1]
		c2 += x * q[2]
		c3 += x * q[3]
		x = p[1]
		c0 += x * q[4]
		c1 += x * q[5]
		c2 += x * q[6]
		c3 += x * q[7]
		x = p[2]
		c0 += x * q[8]
		c1 += x * q[9]
		c2 += x * q[10]
		c3 += x * q[11]
		x = p[3]
		c0 += x * q[12]
		c1 += x * q[13]
		c2 += x * q[14]
		c3 += x * q[15]
		a, b = a[4:], b[4*tailN:]
	}
	for i, x := range a {
		q := (*[tailN]float32)(b[i*tailN:])
		c0 += x * q[0]
		c1 += x * q[1]
		c2 += x * q[2]
		c3 += x * q[3]
	}
	t[0], t[1], t[2], t[3] = c0, c1, c2, c3
}

func storeTile(t []float32, g *gemmArgs, i, j int, beta float32) {
	c := g.c[i*g.ldc+j:][:len(t)]
	for x, s := range t {
		v := g.alpha * s
		if beta != 0 {
			v += c[x]
		}
		c[x] = v
	}
}
