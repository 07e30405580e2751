package kernel

// gemm16ColsArgs carries one product to the set's implementation.
type gemm16ColsArgs struct {
	m, n, k    int
	a          []uint8
	lda        int
	offset     int32
	x          []float32
	ldx        int
	inv, scale []float32
	add        bool
	c          []float32
	ldc        int
	limit      int // greatest magnitude of a - offset
}

// Gemm16Cols multiplies the transpose of a matrix of codes by a matrix of floats, such
// as the gradient of a linear layer's weights needs it. The columns of floats are rounded
// to 16 bits:
//
//	C[p,j] = C0[p,j] + scale[j] · float32(Σ_i (a[i,p] - offset) · round(x[i,j]·inv[j]))
//
// with inv and scale as Scales16 gives them, half to even. a is m × k with rows lda
// apart, x is m × n with rows ldx apart, C is k × n. C0 is C when add, else 0. limit and
// the sums are those of Gemm16. Every set gives the same bits.
func Gemm16Cols(w *Workspace, m, n, k int, a []uint8, lda, offset, limit int, x []float32, ldx int, inv, scale []float32, add bool, c []float32, ldc int) {
	if n <= 0 || k <= 0 {
		return
	}
	need("c", len(c), extent(k, n, ldc))
	need("inv", len(inv), n)
	need("scale", len(scale), n)
	if m <= 0 {
		if !add {
			clearC(k, n, 0, c, ldc)
		}
		return
	}
	need("a", len(a), extent(m, k, lda))
	need("x", len(x), extent(m, n, ldx))
	w.gemm16Cols = gemm16ColsArgs{m, n, k, a, lda, int32(offset), x, ldx, inv, scale, add, c, ldc, limit}
	active.gemm16Cols(w, &w.gemm16Cols)
	w.gemm16Cols = gemm16ColsArgs{}
}

// block16 is the number of inputs whose products with a code of the given greatest
// magnitude can be added in int32.
func block16(limit int) int { return max(4, min((1<<16-1)/max(1, limit)&^3, 2048)) }

// MaxAbsCols raises dst[j] to the greatest magnitude of column j of x (rows × n).
func MaxAbsCols(dst, x []float32, rows, n int) {
	need("dst", len(dst), n)
	need("x", len(x), rows*n)
	if rows > 0 && n > 0 {
		active.maxAbsCols(dst[:n], x, rows, n)
	}
}

// Scales16 gives what columns of greatest magnitude most are multiplied by to become
// 16-bit integers, and what their products with codes of step alpha stand for:
//
//	inv = 32257/most, scale = float32(most/32257)·alpha
//
// Both are 0 where most is below 2^-100. inv may be most.
func Scales16(inv, scale, most []float32, alpha float32) {
	for j, v := range most {
		inv[j] = scale16(&scale[j], v)
		scale[j] *= alpha
	}
}

func maxAbsColsGo(dst, x []float32, rows, n int) {
	for r := range rows {
		for j, v := range x[r*n:][:n] {
			dst[j] = max(dst[j], v, -v)
		}
	}
}

// word16 rounds v to 16 bits.
func word16(v float32) int16 {
	q := (v + roundMagic) - roundMagic
	return int16(max(-top16, min(q, top16)))
}

// gemm16ColsGo packs four columns at a time.
func gemm16ColsGo(w *Workspace, g *gemm16ColsArgs) {
	const v = 4
	block := block16(g.limit)
	for i0 := 0; i0 < g.m; i0 += block {
		m := min(block, g.m-i0)
		add := g.add || i0 > 0
		w.i16 = grow(w.i16, v*m+m)
		b, a := w.i16[:v*m], w.i16[v*m:]
		for j := 0; j < g.n; j += v {
			cols := min(v, g.n-j)
			for i := range m {
				for c := range cols {
					b[c*m+i] = word16(float32(g.x[(i0+i)*g.ldx+j+c] * g.inv[j+c]))
				}
			}
			for p := range g.k {
				for i := range m {
					a[i] = int16(int32(g.a[(i0+i)*g.lda+p]) - g.offset)
				}
				for c := range cols {
					var s int32
					for i, x := range b[c*m:][:m] {
						s += int32(x) * int32(a[i])
					}
					y := float32(g.scale[j+c] * float32(s))
					if d := &g.c[p*g.ldc+j+c]; add {
						*d += y
					} else {
						*d = y
					}
				}
			}
		}
	}
}
