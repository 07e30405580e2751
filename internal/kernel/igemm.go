package kernel

// igemmArgs carries one integer product to the set's implementation.
type igemmArgs struct {
	m, n, k       int
	a             []uint8
	b             []int8
	c             []int32
	lda, ldb, ldc int
}

// IGemm computes C = A·Bᵀ exactly in int32: A is m × k unsigned codes, B is n × k
// signed codes (a weight as ONNX Gemm with transB stores it), C is m × n. No sum
// overflows for k up to 65793, whatever the codes.
func (w *Workspace) IGemm(m, n, k int, a []uint8, lda int, b []int8, ldb int, c []int32, ldc int) {
	if m <= 0 || n <= 0 {
		return
	}
	need("c", len(c), extent(m, n, ldc))
	if k <= 0 {
		for i := range m {
			clear(c[i*ldc:][:n])
		}
		return
	}
	need("a", len(a), extent(m, k, lda))
	need("b", len(b), extent(n, k, ldb))
	w.igemm = igemmArgs{m, n, k, a, b, c, lda, ldb, ldc}
	active.igemm(w, &w.igemm)
	w.igemm.a, w.igemm.b, w.igemm.c = nil, nil, nil
}

// igemmGo takes two rows of A by two of B at a time; an odd last row is its own
// partner.
func igemmGo(w *Workspace, g *igemmArgs) {
	for i := 0; i < g.m; i += 2 {
		i1 := min(i+1, g.m-1)
		a0, a1 := g.a[i*g.lda:][:g.k], g.a[i1*g.lda:][:g.k]
		for j := 0; j < g.n; j += 2 {
			j1 := min(j+1, g.n-1)
			b0, b1 := g.b[j*g.ldb:][:len(a0)], g.b[j1*g.ldb:][:len(a0)]
			a1 := a1[:len(a0)]
			var c00, c01, c10, c11 int32
			for p, x := range a0 {
				x0, x1 := int32(x), int32(a1[p])
				y0, y1 := int32(b0[p]), int32(b1[p])
				c00 += x0 * y0
				c01 += x0 * y1
				c10 += x1 * y0
				c11 += x1 * y1
			}
			g.c[i*g.ldc+j], g.c[i*g.ldc+j1] = c00, c01
			g.c[i1*g.ldc+j], g.c[i1*g.ldc+j1] = c10, c11
		}
	}
}
