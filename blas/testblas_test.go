package blas

import (
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/testblas"
)

// wide drives the float32 routines with the float64 cases of gonum's test
// suite, whose numbers float32 holds without loss.
type wide struct{ Implementation }

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

func widen(dst []float64, x []float32) {
	for i, v := range x {
		dst[i] = float64(v)
	}
}

func (w wide) Dgemm(tA, tB blas.Transpose, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	a32, b32, c32 := narrow(a), narrow(b), narrow(c)
	w.Sgemm(tA, tB, m, n, k, float32(alpha), a32, lda, b32, ldb, float32(beta), c32, ldc)
	widen(a, a32)
	widen(b, b32)
	widen(c, c32)
}

func (w wide) Dsymm(s blas.Side, ul blas.Uplo, m, n int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	c32 := narrow(c)
	w.Ssymm(s, ul, m, n, float32(alpha), narrow(a), lda, narrow(b), ldb, float32(beta), c32, ldc)
	widen(c, c32)
}

func (w wide) Dsyrk(ul blas.Uplo, t blas.Transpose, n, k int, alpha float64, a []float64, lda int, beta float64, c []float64, ldc int) {
	c32 := narrow(c)
	w.Ssyrk(ul, t, n, k, float32(alpha), narrow(a), lda, float32(beta), c32, ldc)
	widen(c, c32)
}

func (w wide) Dsyr2k(ul blas.Uplo, t blas.Transpose, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	c32 := narrow(c)
	w.Ssyr2k(ul, t, n, k, float32(alpha), narrow(a), lda, narrow(b), ldb, float32(beta), c32, ldc)
	widen(c, c32)
}

func (w wide) Dtrmm(s blas.Side, ul blas.Uplo, tA blas.Transpose, d blas.Diag, m, n int, alpha float64, a []float64, lda int, b []float64, ldb int) {
	b32 := narrow(b)
	w.Strmm(s, ul, tA, d, m, n, float32(alpha), narrow(a), lda, b32, ldb)
	widen(b, b32)
}

// gonum's own suite, for our Sgemm and for the routines that come with it.
func TestGonumSuite(t *testing.T) {
	t.Run("gemm", func(t *testing.T) { testblas.TestDgemm(t, wide{}) })
	t.Run("symm", func(t *testing.T) { testblas.DsymmTest(t, wide{}) })
	t.Run("syrk", func(t *testing.T) { testblas.DsyrkTest(t, wide{}) })
	t.Run("syr2k", func(t *testing.T) { testblas.Dsyr2kTest(t, wide{}) })
	t.Run("trmm", func(t *testing.T) { testblas.DtrmmTest(t, wide{}) })
	t.Run("float64 gemm", func(t *testing.T) { testblas.TestDgemm(t, Implementation{}) })
}
