package bench

import (
	"context"
	_ "embed" // the script
	"strconv"
)

//go:embed blas.py
var blasScript string

// StartBLAS starts float32 products of numpy's BLAS as a child: m x k times
// k x n in the layout forward (A·B), dgrad (A·Bᵀ) or wgrad (Aᵀ·B). coreType, where
// not empty, is what OPENBLAS_CORETYPE says: OpenBLAS does not know every
// processor and then takes slow kernels.
func StartBLAS(ctx context.Context, python string, m, k, n int, layout string, threads int, coreType string) (*Child, error) {
	return Start(ctx, python, "-c", blasScript, "serve", strconv.Itoa(m), strconv.Itoa(k), strconv.Itoa(n), layout, strconv.Itoa(threads), coreType)
}
