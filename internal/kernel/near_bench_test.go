//go:build amd64 && !noasm

package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkNear times kernels beside their exact forms, in elements per nanosecond.
func BenchmarkNear(b *testing.B) {
	if sets()[0] != &avx512 || !hasNear {
		b.Skip("no AVX-512 with VBMI")
	}
	r := rand.New(rand.NewPCG(8, 4))
	var w Workspace
	const rows, n, ldx = 24, 197, 256
	x, codes := make([]int32, rows*ldx), make([]uint8, rows*ldx)
	for i := range x {
		x[i] = int32(r.NormFloat64() * 1000)
	}
	offset := make([]int32, n)
	ones := make([]float32, n)
	Fill(ones, 1)
	for _, spread := range []float32{1e-4, 1e-3, 3e-3} {
		l := &Logits{Factor: spread, Offset: offset, Scale: 1, Rescale: Rescale{ones, ones, randoms(r, rows, 0.1), randoms(r, n, 1)}}
		for _, alpha := range []float32{1.0 / 250, 0.01, 0.03} {
			g := Grid{Alpha: alpha, Qp: 15}.WithInverse()
			again := 0
			var flags [nearSoftmaxRows]uint8
			nearSoftmax(&w, codes, 200, x, ldx, 0, rows, n, l, &g, &flags)
			for _, a := range flags {
				again += int(a)
			}
			name := fmt.Sprint("softmax/", spread, "/", alpha, "/again", again)
			b.Run(name+"/near", func(b *testing.B) {
				gops(b, rows*n, func() { softmaxQuantizeAVX512(&avx512, &w, codes, 200, x, ldx, rows, n, *l, g) })
			})
			b.Run(name+"/kernel", func(b *testing.B) {
				gops(b, rows*n, func() { nearSoftmax(&w, codes, 200, x, ldx, 0, rows, n, l, &g, &flags) })
			})
			b.Run(name+"/exact", func(b *testing.B) {
				gops(b, rows*n, func() { softmaxExactAVX512(&w, codes, 200, x, ldx, 0, rows, n, l, &g) })
			})
		}
	}
}
