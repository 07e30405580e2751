//go:build arm64 && !noasm

package kernel

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// neon is the set of the matrix products and of the loops of packed models; those of
// training alone are plain Go.
var neon = func() set {
	s := portable
	s.name, s.gemm, s.gemm16, s.gemm16Cols = "neon", gemmNEON, gemm16NEON, gemm16ColsNEON
	s.dequant, s.dequantAdd, s.dequantQuantize, s.quantize = dequantNEON, dequantAddNEON, dequantQuantizeNEON, quantizeSixteens
	s.dequantGelu, s.layerNorm, s.rowCodes, s.transpose = dequantGeluNEON, layerNormNEON, quantizeRowNEON, transposeRows
	s.exp, s.scale, s.softmaxRows, s.rescaleRows, s.softmaxQuantize = expRow, scaleRow, softmaxRowsNEON, rescaleRowsNEON, softmaxQuantizeNEON
	if hasDot() {
		s.form, s.fixed, s.igemm = lowBitNEON, nil, igemmNEON
	}
	return s
}()

// hasDot reports the products of four signed bytes (FEAT_DotProd). All processors of Macs
// have them; macOS 11 does not say so.
func hasDot() bool { return cpu.ARM64.HasASIMDDP || runtime.GOOS == "darwin" }

// sets lists the implementations that this machine can run, best first.
func sets() []*set { return []*set{&neon, &portable} }
