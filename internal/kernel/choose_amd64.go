//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

//go:generate sh asmgen/all.sh

var avx512 = set{
	name: "avx512",
	exp:  expAVX512, erf: erfAVX512, tanh: tanhAVX512, gelu: geluAVX512, geluBackward: geluBackwardAVX512,
	softmaxRows: softmaxRowsAVX512, softmaxRowsBackward: softmaxRowsBackwardAVX512, logSoftmaxRows: logSoftmaxRowsGo,
	layerNorm: layerNormAVX512, layerNormDx: layerNormDxAVX512, layerNormGamma: layerNormGammaAVX512,
	rescaleRows: rescaleRowsAVX512, rescaleRowsBackward: rescaleRowsBackwardWide,
	add: addAVX512, sub: subAVX512, mul: mulAVX512, mulAdd: mulAddAVX512, scale: scaleAVX512, axpy: axpyAVX512,
	addBias: addBiasAVX512, sumRows: sumRowsAVX512, dot: dotAVX512, transpose: transposeAVX512,
	fakeQuant: fakeQuantAVX512, fakeQuantBackward: fakeQuantBackwardAVX512, geluQuantBackward: geluQuantAVX512,
	fakeQuantCols: fakeQuantColsAVX512, fakeQuantColsBackward: fakeQuantColsBackwardAVX512,
	quantize: quantizeAVX512, dequantize: dequantizeAVX512, dequantizeSigned: dequantizeSignedAVX512, adam: adamAVX512, gemm: gemmAVX512, igemm: igemmVNNI,
	gemm16: gemm16AVX512, gemm16Cols: gemm16ColsAVX512, maxAbs: maxAbsAVX512, maxAbsCols: maxAbsColsAVX512, quantize16: quantize16AVX512, rows16: rows16AVX512,
	form: lowBitVNNI, dequant: dequantAVX512, dequantAdd: dequantAddAVX512, dequantAddTo: dequantAddToAVX512, dequantQuantize: dequantQuantizeAVX512, dequantGelu: dequantGeluAVX512,
	headTile: headTileAVX512, headEnd: headEndAVX512, layerNormQuantize: layerNormQuantizeAVX512, softmaxQuantize: softmaxQuantizeAVX512,
}

var avx2 = set{
	name: "avx2",
	exp:  expAVX2, erf: erfAVX2, tanh: tanhAVX2, gelu: geluAVX2, geluBackward: geluBackwardAVX2,
	softmaxRows: softmaxRowsAVX2, softmaxRowsBackward: softmaxRowsBackwardAVX2, logSoftmaxRows: logSoftmaxRowsGo,
	layerNorm: layerNormAVX2, layerNormDx: layerNormDxAVX2, layerNormGamma: layerNormGammaAVX2,
	rescaleRows: rescaleRowsAVX2, rescaleRowsBackward: rescaleRowsBackwardAVX2,
	add: addAVX2, sub: subAVX2, mul: mulAVX2, mulAdd: mulAddAVX2, scale: scaleAVX2, axpy: axpyAVX2,
	addBias: addBiasAVX2, sumRows: sumRowsAVX2, dot: dotAVX2, transpose: transposeAVX2,
	fakeQuant: fakeQuantAVX2, fakeQuantBackward: fakeQuantBackwardAVX2, geluQuantBackward: geluQuantBackward,
	fakeQuantCols: fakeQuantColsAVX2, fakeQuantColsBackward: fakeQuantColsBackwardAVX2,
	quantize: quantizeAVX2, dequantize: dequantizeAVX2, dequantizeSigned: dequantizeSignedAVX2, adam: adamAVX2, gemm: gemmAVX2, igemm: igemmAVX2,
	gemm16: gemm16AVX2, gemm16Cols: gemm16ColsAVX2, maxAbs: maxAbsAVX2, maxAbsCols: maxAbsColsAVX2, quantize16: quantize16VectorsAVX2, rows16: quantizeRows16,
	form: lowBitAVX2, fixed: weightsPairs, dequant: dequantAVX2, dequantAdd: dequantAddAVX2, dequantAddTo: dequantAddTo, dequantQuantize: dequantQuantizeAVX2, dequantGelu: dequantGeluAVX2,
	headTile: headTile, layerNormQuantize: layerNormQuantizeAVX2, softmaxQuantize: softmaxQuantizeAVX2,
}

// sets lists the implementations that this machine can run, best first.
func sets() []*set {
	s := []*set{&portable}
	lookup, sums := cpu.X86.HasAVX512VBMI && cpu.X86.HasAVX512VNNI, sumsFaster()
	avx512.fixed = weightsFor(lookup, sums)
	if sums {
		avx512.gemm16, avx512.gemm16Cols = gemm16Sums, gemm16ColsSums
	}
	if !cpu.X86.HasAVX512VNNI {
		avx512.igemm, avx512.form, avx512.gemm16, avx512.gemm16Cols = igemmAVX2, lowBitAVX2, gemm16AVX2, gemm16ColsAVX2
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI2 {
		s = append([]*set{&avx2}, s...)
		if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL {
			s = append([]*set{&avx512}, s...)
		}
	}
	return s
}

// weightsFor chooses the products of weights that a processor with AVX-512 is fastest at.
func weightsFor(lookup, sums bool) func(bits, abits, k int) form {
	switch {
	case lookup && sums:
		return func(bits, abits, k int) form {
			if lookupFits(bits, abits, k) {
				return formLookup{}
			}
			return weightsSums(bits, abits, k)
		}
	case lookup:
		return weightsLookup
	case sums:
		return weightsSums
	}
	return nil
}

// sumsFaster reports whether the processor adds more vectors in a cycle than it
// multiplies: AMD's do (twice as many), on Intel's both share their ports.
func sumsFaster() bool {
	const auth = 'A' | 'u'<<8 | 't'<<16 | 'h'<<24
	return cpu.X86.HasAVX512VNNI && cpu.X86.HasAVX512BW && vendorAVX512() == auth
}
