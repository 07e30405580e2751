package runtime

// builders lists the operators that have a step of their own, by name (own
// operators: by domain and name). All others run through ops.Eval.
var builders map[string]builder

func init() {
	builders = map[string]builder{
		"Add": buildBinary(opAdd), "Sub": buildBinary(opSub), "Mul": buildScaled(opMul), "Div": buildScaled(opDiv),

		"Gelu": buildGelu, "Clip": buildClip, "Pow": buildPow,
		"Erf": elementwise(erfFn), "Tanh": elementwise(tanhFn), "Exp": elementwise(expFn), "Log": elementwise(logFn),
		"Sqrt": elementwise(sqrtFn), "Neg": elementwise(negFn), "Abs": elementwise(absFn),
		"Reciprocal": elementwise(reciprocalFn), "Sigmoid": elementwise(sigmoidFn), "Relu": elementwise(reluFn),

		"MatMul": buildMatMul, "Gemm": buildGemm, "Conv": buildConv,
		"LayerNormalization": buildLayerNorm,
		"Softmax":            buildSoftmax(false), "LogSoftmax": buildSoftmax(true),
		"ReduceMean": buildReduceMean, "ReduceSum": buildReduce(false), "GlobalAveragePool": buildGlobalPool,
		"Where": buildWhere, "Gather": buildGather,

		"Transpose": buildTranspose, "Concat": buildConcat, "Split": buildSplit, "Slice": buildSlice,
		"Expand": buildExpand, "Pad": buildPad,
		"Reshape": buildView, "Squeeze": buildView, "Unsqueeze": buildView, "Flatten": buildView,
		"Identity": buildView, "Dropout": buildDropout, "Cast": buildView,

		"DequantizeLinear": buildDequantize, "ai.qvitc.FakeQuant": buildFakeQuant,
	}
}
