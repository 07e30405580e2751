package blas

import (
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"

	"github.com/qvitc/qvitc/internal/kernel"
)

// Implementation is gonum's native BLAS with the Sgemm of this module. The zero
// value is ready, and safe for use by several goroutines.
type Implementation struct {
	gonum.Implementation
}

var (
	_ blas.Float32 = Implementation{}
	_ blas.Float64 = Implementation{}
)

var workspaces = sync.Pool{New: func() any { return new(kernel.Workspace) }}

// Sgemm computes C = alpha op(A) op(B) + beta C on row-major matrices: op(A) is
// m x k, stored k x m where tA says so; op(B) is k x n, stored n x k where tB says
// so; C is m x n. lda, ldb and ldc are the row strides as stored. It panics on
// arguments that gonum's Sgemm panics on, with the same value. Each element is
// off by at most k 2^-23 times the sum of the magnitudes of its products.
func (g Implementation) Sgemm(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	p := product{tA != blas.NoTrans, tB != blas.NoTrans, m, n, k, alpha, a, b, c, lda, ldb, ldc}
	if !isTranspose(tA) || !isTranspose(tB) || !p.sound() {
		g.Implementation.Sgemm(tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) // panics
		return
	}
	if m == 0 || n == 0 {
		return
	}
	empty := alpha == 0 || k == 0
	if beta != 1 && (beta != 0 || empty) {
		p.scaleC(beta)
		beta = 1
	}
	if empty {
		return
	}
	p.run(beta)
}

func isTranspose(t blas.Transpose) bool {
	return t == blas.NoTrans || t == blas.Trans || t == blas.ConjTrans
}

// product is one call.
type product struct {
	ta, tb        bool
	m, n, k       int
	alpha         float32
	a, b, c       []float32
	lda, ldb, ldc int
}

// sound reports whether sizes, strides and lengths fit together.
func (p *product) sound() bool {
	if p.m < 0 || p.n < 0 || p.k < 0 {
		return false
	}
	rowsA, colsA, rowsB, colsB := p.m, p.k, p.k, p.n
	if p.ta {
		rowsA, colsA = colsA, rowsA
	}
	if p.tb {
		rowsB, colsB = colsB, rowsB
	}
	if p.lda < max(1, colsA) || p.ldb < max(1, colsB) || p.ldc < max(1, p.n) {
		return false
	}
	if p.m == 0 || p.n == 0 {
		return true
	}
	return len(p.a) >= (rowsA-1)*p.lda+colsA && len(p.b) >= (rowsB-1)*p.ldb+colsB && len(p.c) >= (p.m-1)*p.ldc+p.n
}

func (p *product) scaleC(beta float32) {
	for i := range p.m {
		row := p.c[i*p.ldc:][:p.n]
		if beta == 0 {
			clear(row)
			continue
		}
		for j := range row {
			row[j] *= beta
		}
	}
}

// band computes rows i0 to i1 of columns j0 to j1.
func (p *product) band(i0, i1, j0, j1 int, beta float32) {
	atA, atB := i0*p.lda, j0
	if p.ta {
		atA = i0
	}
	if p.tb {
		atB = j0 * p.ldb
	}
	w := workspaces.Get().(*kernel.Workspace)
	defer workspaces.Put(w)
	w.Gemm(p.ta, p.tb, i1-i0, j1-j0, p.k, p.alpha, p.a[atA:], p.lda, p.b[atB:], p.ldb, beta, p.c[i0*p.ldc+j0:], p.ldc)
}
