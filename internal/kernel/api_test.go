package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// calls runs every exported loop on rows × n elements.
func calls(rows, n int) (names []string, run []func()) {
	r := rand.New(rand.NewPCG(3, 3))
	x, y, d := randoms(r, rows*n, 1), randoms(r, rows*n, 1), make([]float32, rows*n)
	g, h, one := randoms(r, n, 1), randoms(r, n, 1), make([]float32, n)
	Fill(one, 1)
	spare := make([]float32, max(rows, n))
	mean, rstd := make([]float32, rows), make([]float32, rows)
	da, dz := make([]float64, n), make([]float64, n)
	u8, s8, i32 := make([]uint8, rows*n), make([]int8, rows*n), make([]int32, rows*rows)
	c, square := make([]float32, rows*rows), make([]float32, rows*n)
	w := new(Workspace)
	add := func(name string, f func()) { names, run = append(names, name), append(run, f) }
	add("Exp", func() { Exp(d, x) })
	add("Erf", func() { Erf(d, x) })
	add("Tanh", func() { Tanh(d, x) })
	add("Gelu", func() { Gelu(d, x) })
	add("GeluBackward", func() { GeluBackward(d, x, y, true) })
	add("SoftmaxRows", func() { SoftmaxRows(d, x, rows, n) })
	rescale, dRescale := &Rescale{mean, g, rstd, h}, &Rescale{spare, spare, spare, spare}
	add("RescaleRows", func() { RescaleRows(d, x, rescale, 0.5, rows, n) })
	add("RescaleRowsBackward", func() { RescaleRowsBackward(d, dRescale, y, x, rescale, 0.5, rows, n) })
	add("SoftmaxRowsBackward", func() { SoftmaxRowsBackward(d, x, y, rows, n, true) })
	add("LogSoftmaxRows", func() { LogSoftmaxRows(d, x, rows, n) })
	add("LayerNorm", func() { LayerNorm(d, mean, rstd, x, g, h, rows, n, 1e-6) })
	add("LayerNormBackward", func() { LayerNormBackward(d, g, h, y, x, one, mean, rstd, mean, rstd, rows, n, false) })
	add("LayerNormBackward without", func() { LayerNormBackward(nil, nil, nil, y, x, nil, mean, rstd, nil, nil, rows, n, false) })
	add("Add", func() { Add(d, x, y) })
	add("Sub", func() { Sub(d, x, y) })
	add("Mul", func() { Mul(d, x, y) })
	add("MulAdd", func() { MulAdd(d, x, y) })
	add("Scale", func() { Scale(d, x, 2) })
	add("Axpy", func() { Axpy(d, x, 2) })
	add("AddBias", func() { AddBias(d, x, g, rows, n) })
	add("SumRows", func() { SumRows(g, x, rows, n) })
	add("Dot", func() { Dot(x, y) })
	add("SumSquares", func() { SumSquares(x) })
	add("Fill", func() { Fill(d, 0) })
	add("Transpose", func() { Transpose(d, x, rows, n) })
	add("FakeQuant", func() { FakeQuant(d, x, 0.5, 0, -2, 1) })
	add("FakeQuantBackward", func() { FakeQuantBackward(d, x, y, 0.5, 0, -2, 1, false) })
	add("FakeQuantBackward without", func() { FakeQuantBackward(nil, x, y, 0.5, 0, -2, 1, false) })
	add("GeluQuantBackward", func() { GeluQuantBackward(w, d, x, y, 0.5, 0, -2, 1, false) })
	add("FakeQuantCols", func() { FakeQuantCols(d, x, one, h, -2, 1, rows, n) })
	add("FakeQuantColsBackward", func() { FakeQuantColsBackward(d, x, y, one, h, -2, 1, da, dz, rows, n, false) })
	add("QuantizeU8", func() { QuantizeU8(u8, x, 0.5, 0, -2, 1, 2) })
	add("QuantizeS8", func() { QuantizeS8(s8, x, 0.5, 0, -2, 1) })
	add("Adam", func() { Adam(d, x, square, y, 1e-3, 0.9, 0.9, 1e-8, 0, 1, 1) })
	add("Gemm", func() { w.Gemm(false, true, rows, rows, n, 1, x, max(n, 1), y, max(n, 1), 0, c, max(rows, 1)) })
	add("IGemm", func() { w.IGemm(rows, rows, n, u8, max(n, 1), s8, max(n, 1), i32, max(rows, 1)) })
	i16, gram := make([]int16, rows*n), make([]float32, n*n)
	add("QuantizeRows16", func() { QuantizeRows16(i16, n, mean, x, n, g, rows, n) })
	add("MaxAbsCols", func() { MaxAbsCols(spare, x, rows, n) })
	add("Scales16", func() { Scales16(spare, h, g, 0.5) })
	add("Gemm16Cols", func() { Gemm16Cols(w, rows, n, n, u8, max(n, 1), 2, 255, x, max(n, 1), one, h, true, gram, max(n, 1)) })
	add("Gemm16", func() {
		Gemm16(w, true, rows, rows, n, i16, max(n, 1), s8, max(n, 1), 0, 128, mean, true, c, max(rows, 1))
	})
	if rows > 0 && n > 0 {
		lowBitCalls(r, add)
	}
	return names, run
}

// lowBitCalls are the loops of the low-bit product, on a tile of 7 × 33.
func lowBitCalls(r *rand.Rand, add func(string, func())) {
	const m, k, cols = 7, 50, 33
	w := new(Workspace)
	x := NewWeights(3, 4, cols, k, make([]int8, cols*k))
	o := NewOperand(make([]uint8, OperandBytes(4, 4, cols, k)), 4, 4, cols, k)
	a, tile := make([]uint8, m*52), make([]int32, m*PanelWidth)
	d, u8, s8 := make([]float32, m*cols), make([]uint8, m*cols), make([]int8, m*cols)
	f := &Affine{Factor: randoms(r, cols, 1), Bias: randoms(r, cols, 1)}
	g := &Grid{Alpha: 0.3, Zp: 3, Qp: 15}
	codes, turned := make([]uint8, cols*k), make([]int8, cols*k)
	table := NewGeluTable(*g)
	l := &Logits{Factor: 0.1}
	add("Tile", func() { w.Panel(x, 0); w.Tile(m, a, 52, tile, PanelWidth) })
	add("PackRows", func() { PackRows(o, 0, cols, codes, k, 1) })
	keySums := make([]int32, PanelWidth*o.Panels())
	add("PackKeys", func() { w.PackKeys(o, codes, k, 1, keySums, 2) })
	add("PackCols", func() { PackCols(o, 0, k, turned, cols, 1) })
	add("Select", func() { w.Select(o, 0); w.Tile(m, a, 52, tile, PanelWidth); w.PanelSums(tile) })
	add("DequantTile", func() { DequantTile(d, cols, tile, PanelWidth, m, cols, f, 0) })
	add("DequantAddTile", func() { DequantAddTile(d, cols, d, cols, tile, PanelWidth, m, cols, f, 0) })
	to := make([]int32, m)
	for i := range to {
		to[i] = int32(i)
	}
	add("DequantAddRowsTile", func() { DequantAddRowsTile(d, cols, d, cols, m, to, tile, PanelWidth, m, cols, f, 0) })
	add("DequantQuantizeTile", func() { DequantQuantizeTile(u8, cols, tile, PanelWidth, m, cols, f, 0, g) })
	add("DequantGeluQuantizeTile", func() { DequantGeluQuantizeTile(w, u8, cols, tile, PanelWidth, m, cols, f, 0, table) })
	add("LayerNormQuantize", func() { LayerNormQuantize(w, s8, cols, nil, nil, d, cols, nil, nil, m, cols, 1e-5, g) })
	add("SoftmaxQuantize", func() { SoftmaxQuantize(w, u8, cols, tile, PanelWidth, m, cols, l, g) })
}

func TestNothingAllocates(t *testing.T) {
	names, run := calls(7, 33)
	for i, f := range run {
		f()
		if n := testing.AllocsPerRun(5, f); n != 0 {
			t.Errorf("%s: %v allocations", names[i], n)
		}
	}
}

func TestEmptyShapes(t *testing.T) {
	for _, d := range [][2]int{{0, 5}, {5, 0}, {0, 0}} {
		_, run := calls(d[0], d[1])
		for _, f := range run {
			f()
		}
	}
}

func TestShortInputsPanic(t *testing.T) {
	s, l := make([]float32, 5), make([]float32, 6)
	var w Workspace
	for i, f := range []func(){
		func() { Exp(l, s) },
		func() { Add(l, l, s) },
		func() { SoftmaxRows(l, s, 2, 3) },
		func() { LayerNorm(l, l, l, l, s[:2], nil, 2, 3, 0) },
		func() { FakeQuantCols(l, l, s[:2], nil, 0, 1, 2, 3) },
		func() { FakeQuantBackward(s, l, l, 1, 0, 0, 1, false) },
		func() { Adam(l, l, l, s, 0, 0, 0, 0, 0, 1, 1) },
		func() { w.Gemm(false, false, 2, 2, 3, 1, s, 3, l, 2, 0, l, 2) },
		func() { w.Gemm(false, false, 2, 3, 1, 1, l, 1, l, 2, 0, l, 3) },
		func() { w.Gemm(false, false, 1, 1, 1, 1, l, 1, l, 1, 0.5, l, 1) },
		func() { w.IGemm(2, 2, 3, make([]uint8, 5), 3, make([]int8, 6), 3, make([]int32, 4), 2) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("case %d did not panic", i)
				}
			}()
			f()
		}()
	}
}

func TestFill(t *testing.T) {
	x := make([]float32, 9)
	Fill(x, 2.5)
	if Dot(x, x) != 9*6.25 {
		t.Error(x)
	}
	Fill(x[1:], 0)
	if SumSquares(x) != 6.25 {
		t.Error(x)
	}
}

// TestLayerNormBackwardSums checks the sums that accumulate, through the exported
// function.
func TestLayerNormBackwardSums(t *testing.T) {
	x, dy := []float32{1, 3, 2, 6}, []float32{1, 2, 3, 4}
	y, mean, rstd := make([]float32, 4), make([]float32, 2), make([]float32, 2)
	LayerNorm(y, mean, rstd, x, nil, nil, 2, 2, 0)
	dgamma, dbeta := []float32{10, 10}, []float32{20, 20}
	LayerNormBackward(nil, dgamma, dbeta, dy, x, nil, mean, rstd, nil, nil, 2, 2, false)
	// Normalised rows are -1, 1.
	if !slices.Equal(dgamma, []float32{6, 16}) || !slices.Equal(dbeta, []float32{24, 26}) {
		t.Error(dgamma, dbeta)
	}
}
