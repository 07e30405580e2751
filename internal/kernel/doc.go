// Package kernel holds the inner loops of qvitc: matrix products, activation
// functions, normalisations, fake quantisers and the AdamW step, on plain
// slices of float32 (and int8 codes).
//
// The idea. A vision transformer spends nearly all of its time in a dozen
// loops. Each loop is written here twice: once in plain Go (the "twin", which
// runs on every machine and says what the result means) and once in generated
// assembly for AVX2+FMA and AVX-512; on arm64 (NEON) the matrix products and the
// loops of packed models have assembly, and those of training alone are the twins.
// The widest set that the processor offers is chosen when the program starts; the
// environment variable
//
//	QVITC_CPU=avx512 | avx2 | neon | portable
//
// asks for a lower one, and Name says which set is active. Building with the
// tag noasm, or for another architecture, leaves only the twins.
//
// Contracts that hold for every function:
//
//   - one goroutine, no allocation (a Workspace grows to its largest request
//     and is then reused), the same bytes for the same inputs on one set;
//   - matrices are row-major; dst may be the very same slice as an input
//     of the same shape, but must not overlap one partially;
//   - the length of dst (or rows*n) says how much is computed; a shorter input
//     is a broken internal invariant and panics;
//   - integer results and the fake quantisers are the same bytes on every set;
//     other float results may differ between sets in the last bits.
//
// A product of a 2×3 by a 3×2 matrix:
//
//	var w kernel.Workspace
//	w.Gemm(false, false, 2, 2, 3, 1,
//		[]float32{1, 2, 3, 4, 5, 6}, 3,
//		[]float32{1, 0, 0, 1, 1, 1}, 2,
//		0, c, 2)
//	// c = [4 5 10 11]
//
// A low-bit product keeps its constant side packed (Weights) and works panel by
// panel of 64 outputs; each tile of int32 sums goes through an epilogue while it is
// in the first-level cache:
//
//	b := kernel.NewWeights(4, 4, n, k, codes)
//	for j := range b.Panels() {
//		w.Panel(b, j)
//		w.Tile(m, a, lda, tile, 64)
//		kernel.DequantTile(y[64*j:], n, tile, 64, m, min(64, n-64*j), f, 64*j)
//	}
package kernel
