package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkGemm16 takes the two gradients of a linear layer of DeiT-T at batch 8 from
// 16-bit codes, with and without the quantisation of the gradient, beside the float32
// products that they replace.
func BenchmarkGemm16(b *testing.B) {
	const m, n, k = 1576, 768, 192 // tokens, outputs, inputs
	r := rand.New(rand.NewPCG(1, 1))
	dy, x, y := randoms(r, m*n, 1), randoms(r, m*k, 1), randoms(r, n*k, 1)
	q, codes, scale := make([]int16, m*n), make([]uint8, m*k), make([]float32, m)
	for i := range codes {
		codes[i] = uint8(i % 13)
	}
	dx, dw := make([]float32, m*k), make([]float32, n*k)
	var w Workspace
	for _, s := range append(sets(), otherForms()...) {
		run := func(name string, f func()) {
			b.Run(fmt.Sprintf("%s/%s/%dx%dx%d", s.name, name, m, n, k), func(b *testing.B) { gops(b, 2*m*n*k, f) })
		}
		inputs := gemm16Args{false, m, k, n, q, n, codes, true, 0, k, scale, false, dx, k, 8}
		inv, factor := make([]float32, n), make([]float32, n)
		weights := gemm16ColsArgs{m, n, k, codes, k, 3, dy, n, inv, factor, false, dw, n, 12}
		run("dX", func() { s.gemm16(&w, &inputs) })
		run("dW", func() { s.gemm16Cols(&w, &weights) })
		if s == active {
			run("dX with quantisation", func() {
				QuantizeRows16(q, n, scale, dy, n, y, m, n)
				s.gemm16(&w, &inputs)
			})
			run("dW with scales", func() {
				clear(inv)
				MaxAbsCols(inv, dy, m, n)
				Scales16(inv, factor, inv, 1)
				s.gemm16Cols(&w, &weights)
			})
		}
		run("dX float32", func() { s.gemm(&w, &gemmArgs{false, false, m, k, n, 1, 0, dy, y, dx, n, k, k}) })
		run("dW float32", func() { s.gemm(&w, &gemmArgs{true, false, n, k, m, 1, 0, dy, x, dw, n, k, k}) })
	}
}
