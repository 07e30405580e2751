package kernel

import (
	"fmt"
	"os"
	"strings"
)

// set is one complete implementation of the loops. Every field has the
// contract of the exported function of the same name; lengths are checked by
// the exported function before the field is called.
type set struct {
	name string

	exp, erf, tanh, gelu func(dst, x []float32)
	geluBackward         func(dx, x, dy []float32, acc bool)

	softmaxRows         func(dst, x []float32, rows, n int)
	softmaxRowsBackward func(dx, y, dy []float32, rows, n int, acc bool)
	logSoftmaxRows      func(dst, x []float32, rows, n int)

	layerNorm      func(dst, mean, rstd, x, gamma, beta []float32, rows, n int, eps float32)
	layerNormDx    func(dx, dy, x, gamma, mean, rstd, dmean, dspread []float32, rows, n int, acc bool)
	layerNormGamma func(dgamma, dy, x, mean, rstd []float32, rows, n int)

	rescaleRows         func(dst, x, row, col, addRow, addCol []float32, scale float32, rows, n int)
	rescaleRowsBackward func(dx, dRow, dCol, dAddRow, dAddCol, dy, x, row, col, addRow, addCol []float32, scale float32, rows, n int)

	add, sub, mul, mulAdd func(dst, a, b []float32)
	scale, axpy           func(dst, x []float32, s float32)
	addBias               func(dst, x, bias []float32, rows, n int)
	sumRows               func(dst, x []float32, rows, n int)
	dot                   func(a, b []float32) float64
	transpose             func(dst, src []float32, rows, cols int)

	fakeQuant             func(dst, x []float32, alpha, zp, qn, qp float32)
	fakeQuantBackward     func(dx, x, dy []float32, alpha, zp, qn, qp float32, acc bool) (dalpha, dout float64)
	geluQuantBackward     func(s *set, w *Workspace, dx, x, dy []float32, alpha, zp, qn, qp float32, acc bool) (dalpha, dout float64)
	fakeQuantCols         func(dst, x, alpha, zp []float32, qn, qp float32, rows, n int)
	fakeQuantColsBackward func(dx, x, dy, alpha, zp []float32, qn, qp float32, dalpha, dzp []float64, rows, n int, acc bool)
	quantize              func(dst []uint8, x []float32, alpha, zp, qn, qp, offset float32)
	dequantize            func(dst []float32, codes []uint8, alpha, zp float32)
	dequantizeSigned      func(dst []float32, codes []int8, alpha, zp float32)

	adam func(w, m, v, g []float32, lr, beta1, beta2, eps, decay, c1, c2 float32)

	gemm  func(w *Workspace, g *gemmArgs)
	igemm func(w *Workspace, g *igemmArgs)

	gemm16     func(w *Workspace, g *gemm16Args)
	gemm16Cols func(w *Workspace, g *gemm16ColsArgs)
	maxAbs     func(x, factor []float32) float32
	maxAbsCols func(dst, x []float32, rows, n int)
	quantize16 func(dst []int16, x, factor []float32, inv float32)
	rows16     func(s *set, dst []int16, ldd int, scale, x []float32, ldx int, factor []float32, rows, n int)

	// form is the layout and product of low-bit operands of these widths; fixed, where
	// not nil, that of weights of k inputs.
	form              func(bits, abits int) form
	fixed             func(bits, abits, k int) form
	dequant           func(t tileArgs, dst []float32, ldd int)
	dequantAddTo      func(s *set, t tileArgs, to []int32, dst []float32, ldd int, res []float32, ldr int)
	dequantAdd        func(t tileArgs, dst []float32, ldd int, res []float32, ldr int)
	dequantQuantize   func(t tileArgs, dst []uint8, ldd int, g Grid, col int)
	dequantGelu       func(w *Workspace, t tileArgs, dst []uint8, ldd int, table *GeluTable)
	headTile          func(w *Workspace, e *HeadEnd, to []int32, tile []int32, ldt, m int)
	headEnd           func(e *HeadEnd)                                // prepares e.fast; nil: nothing to prepare
	rowCodes          func(dst []uint8, v []float32, g Grid, col int) // nil: by quantize
	layerNormQuantize func(s *set, w *Workspace, dst []uint8, ldd int, mean, rstd, x []float32, ldx int, gamma, beta []float32, rows, n int, eps float32, g Grid)
	softmaxQuantize   func(s *set, w *Workspace, dst []uint8, ldd int, x []int32, ldx, rows, n int, l Logits, g Grid)
}

// portable is the set of plain Go twins.
var portable = set{
	name: "portable",
	exp:  expGo, erf: erfGo, tanh: tanhGo, gelu: geluGo, geluBackward: geluBackwardGo,
	softmaxRows: softmaxRowsGo, softmaxRowsBackward: softmaxRowsBackwardGo, logSoftmaxRows: logSoftmaxRowsGo,
	layerNorm: layerNormGo, layerNormDx: layerNormDxGo, layerNormGamma: layerNormGammaGo,
	rescaleRows: rescaleRowsGo, rescaleRowsBackward: rescaleRowsBackwardGo,
	add: addGo, sub: subGo, mul: mulGo, mulAdd: mulAddGo, scale: scaleGo, axpy: axpyGo,
	addBias: addBiasGo, sumRows: sumRowsGo, dot: dotGo, transpose: transposeGo,
	fakeQuant: fakeQuantGo, fakeQuantBackward: fakeQuantBackwardGo, geluQuantBackward: geluQuantBackward,
	fakeQuantCols: fakeQuantColsGo, fakeQuantColsBackward: fakeQuantColsBackwardGo,
	quantize: quantizeGo, dequantize: dequantizeGo[uint8], dequantizeSigned: dequantizeGo[int8],
	adam: adamGo, gemm: gemmGo, igemm: igemmGo,
	gemm16: gemm16Go, gemm16Cols: gemm16ColsGo, maxAbs: maxAbsGo, maxAbsCols: maxAbsColsGo, quantize16: quantize16Go, rows16: quantizeRows16,
	form: formGo, fixed: weightsGo, dequant: dequantGo, dequantAdd: dequantAddGo, dequantAddTo: dequantAddTo, dequantQuantize: dequantQuantizeGo, dequantGelu: dequantGelu,
	headTile: headTile, layerNormQuantize: layerNormQuantize, softmaxQuantize: softmaxQuantize,
}

// active is the set in use; it is chosen once, when the package starts.
var active, envError = choose(sets(), os.Getenv("QVITC_CPU"))

// Name says which set of loops is active: "avx512", "avx2", "neon" or "portable".
func Name() string { return active.name }

// EnvError reports a QVITC_CPU that names no set or one that this machine or
// build does not have (the best set is then active), for a program to show to
// its user; nil otherwise.
func EnvError() error { return envError }

// choose takes the named set, or the best one where no name is given.
func choose(have []*set, name string) (*set, error) {
	if name == "" {
		return have[0], nil
	}
	var names []string
	for _, s := range have {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return have[0], fmt.Errorf("QVITC_CPU=%q is not available; this machine and build have %s", name, strings.Join(names, ", "))
}

// need panics when a slice is shorter than the shape that the caller named.
func need(what string, have, want int) {
	if have < want {
		panic("kernel: " + what + " is shorter than its shape")
	}
}
