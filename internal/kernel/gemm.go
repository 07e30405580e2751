package kernel

// Workspace holds the packing scratch of one goroutine. The zero value is ready;
// it grows to the largest request it has seen and allocates no more after that.
// It must not be shared between goroutines.
type Workspace struct {
	a, b   []float32
	i8     []uint8
	i16    []int16
	i32    []int32
	u64    []uint64
	left   []uint8 // rows packed for one tile
	gemm   gemmArgs
	igemm  igemmArgs
	gemm16 gemm16Args

	gemm16Cols gemm16ColsArgs

	// The right-hand side of Tile.
	form     form
	k        int
	panel    []uint8
	unpacked []uint8
	ahead    []uint8 // what the next Panel reads, where not yet fetched
	half     bool    // only the first half of its columns is defined
	ones     []uint8
	scratch  []float32
	heads    []float32
}

// gemmArgs carries one product to the set's implementation.
type gemmArgs struct {
	ta, tb        bool
	m, n, k       int
	alpha, beta   float32
	a, b, c       []float32
	lda, ldb, ldc int
}

// Gemm computes C = beta·C + alpha·op(A)·op(B) on row-major float32 matrices.
// op(A) is m × k: A is stored so, or k × m when ta; op(B) is k × n: B is stored
// so, or n × k when tb. lda, ldb and ldc are the row strides of the matrices as
// stored. beta is 0 (the old C is never read) or 1. For k = 0 the product is 0.
//
// The error of each element is at most k·2^-23 times the sum of the magnitudes
// of its products. The bits of an element depend only on its row of op(A), its
// column of op(B), alpha and the old C: not on m, n, the layout or the strides, so
// work may be split by rows or columns in any way.
func (w *Workspace) Gemm(ta, tb bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	if m <= 0 || n <= 0 {
		return
	}
	need("c", len(c), extent(m, n, ldc))
	if beta != 0 && beta != 1 {
		panic("kernel: beta must be 0 or 1")
	}
	if k <= 0 {
		clearC(m, n, beta, c, ldc)
		return
	}
	if ta {
		need("a", len(a), extent(k, m, lda))
	} else {
		need("a", len(a), extent(m, k, lda))
	}
	if tb {
		need("b", len(b), extent(n, k, ldb))
	} else {
		need("b", len(b), extent(k, n, ldb))
	}
	w.gemm = gemmArgs{ta, tb, m, n, k, alpha, beta, a, b, c, lda, ldb, ldc}
	active.gemm(w, &w.gemm)
	w.gemm.a, w.gemm.b, w.gemm.c = nil, nil, nil
}

// BatchGemm does count products of the same shape; product i starts strideA·i,
// strideB·i and strideC·i elements into its matrices. A stride of 0 shares one
// A or B between all products.
func (w *Workspace) BatchGemm(count int, ta, tb bool, m, n, k int, alpha float32, a []float32, lda, strideA int, b []float32, ldb, strideB int, beta float32, c []float32, ldc, strideC int) {
	for i := range count {
		w.Gemm(ta, tb, m, n, k, alpha, a[i*strideA:], lda, b[i*strideB:], ldb, beta, c[i*strideC:], ldc)
	}
}

// extent is the number of elements that a rows × cols matrix spans.
func extent(rows, cols, ld int) int {
	if ld < cols {
		panic("kernel: a row stride is smaller than its row")
	}
	return (rows-1)*ld + cols
}

func clearC(m, n int, beta float32, c []float32, ldc int) {
	if beta != 0 {
		return
	}
	for i := range m {
		clear(c[i*ldc:][:n])
	}
}

// grow returns s with length n, reusing its memory where it is large enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
