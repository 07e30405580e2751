package kernel

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkElementwise runs each loop on 544 rows of 96 (17 tokens, batch 32) and
// reports elements per second.
func BenchmarkElementwise(b *testing.B) {
	const rows, n = 544, 96
	r := rand.New(rand.NewPCG(1, 1))
	x, y, z, d := randoms(r, rows*n, 1), randoms(r, rows*n, 1), randoms(r, rows*n, 1), randoms(r, rows*n, 1)
	g, h := make([]float32, n), make([]float32, n)
	Fill(g, 1)
	mean, rstd := make([]float32, rows), make([]float32, rows)
	da, dz := make([]float64, n), make([]float64, n)
	codes := make([]uint8, rows*n)
	for _, s := range sets() {
		run := func(name string, f func()) {
			b.Run(s.name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(rows*n*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelem/s")
				b.ReportMetric(0, "ns/op")
			})
		}
		run("exp", func() { s.exp(d, x) })
		run("erf", func() { s.erf(d, x) })
		run("tanh", func() { s.tanh(d, x) })
		run("gelu", func() { s.gelu(d, x) })
		run("geluBackward", func() { s.geluBackward(d, x, y, false) })
		run("softmax96", func() { s.softmaxRows(d, x, rows, n) })
		run("softmax17", func() { s.softmaxRows(d, x, rows*n/17, 17) })
		run("softmax197", func() { s.softmaxRows(d, x, rows*n/197, 197) })
		run("softmaxBackward17", func() { s.softmaxRowsBackward(d, x, y, rows*n/17, 17, false) })
		run("layerNorm", func() { s.layerNorm(d, mean, rstd, x, g, h, rows, n, 1e-6) })
		run("layerNormDx", func() { s.layerNormDx(d, y, x, g, mean, rstd, nil, nil, rows, n, false) })
		run("layerNormGamma", func() { s.layerNormGamma(h, y, x, mean, rstd, rows, n) })
		run("add", func() { s.add(d, x, y) })
		run("mulAdd", func() { s.mulAdd(d, x, y) })
		run("addBias", func() { s.addBias(d, x, g, rows, n) })
		run("sumRows", func() { s.sumRows(h, x, rows, n) })
		run("dot", func() { s.dot(x, y) })
		run("transpose", func() { s.transpose(d, x, rows, n) })
		run("fakeQuant", func() { s.fakeQuant(d, x, 0.3, 0, -8, 7) })
		run("fakeQuantBackward", func() { s.fakeQuantBackward(d, x, y, 0.3, 0, -8, 7, false) })
		run("fakeQuantCols", func() { s.fakeQuantCols(d, x, g, nil, -8, 7, rows, n) })
		run("fakeQuantColsBackward", func() { s.fakeQuantColsBackward(d, x, y, g, nil, -8, 7, da, dz, rows, n, false) })
		run("quantize", func() { s.quantize(codes, x, 0.3, 0, -8, 7, 8) })
		run("adam", func() { s.adam(d, y, z, x, 1e-3, 0.9, 0.999, 1e-8, 0.05, 0.1, 0.1) })
		for i := range z {
			z[i] = 1
		}
	}
}
