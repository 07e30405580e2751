// Package blas offers the matrix product of qvitc to every Go program that
// computes with gonum:
//
//	blas32.Use(blas.Implementation{})
//
// From then on blas32.Gemm, and what gonum builds on it in float32, runs on the
// kernels of this module: AVX-512 or AVX2 with FMA where the processor has them,
// plain Go elsewhere, on all cores for large products. Every other routine of
// BLAS is gonum's own, float64 and complex ones too.
//
// The idea. A product is cut into bands of columns or of rows, one a core, two
// where it is long. The goroutines that help stay awake for 50 µs and take part
// in the next product at once. An
// element of C is summed in one fixed order that depends on neither the band nor
// the shape, so the bytes are the same for any number of cores; they differ from
// gonum's, whose blocks are summed in another order, in the last bits.
//
//	c := blas32.General{Rows: 2, Cols: 2, Stride: 2, Data: make([]float32, 4)}
//	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, a, b, 0, c)
//	// c = [4 5 10 11]
//
// Arguments are checked as gonum checks them: what panics there panics here,
// with the same value. Two things differ: a zero of A times an infinity or NaN
// of B is NaN here, where gonum leaves out products with zeros of A; and C is
// not read where beta is 0.
package blas
