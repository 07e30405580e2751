package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// Effects of a hazard.
const (
	Wrong  = "wrong answers"
	Refuse = "does not load"
	Fails  = "fails when run"
	Slow   = "slow"
)

// Hazard is a form in a file that ONNX Runtime is known to get wrong.
type Hazard struct {
	ID     string
	Effect string
	What   string // what is found
	Fix    string // what to do about it
}

// Finding is a hazard at a place of a file.
type Finding struct {
	Hazard   string `json:"hazard"`
	Effect   string `json:"effect"`
	Versions string `json:"versions"` // of ONNX Runtime
	Node     string `json:"node,omitempty"`
	Tensor   string `json:"tensor,omitempty"`
	Message  string `json:"message"`
	Fix      string `json:"fix"`

	span span
}

// String gives the finding in one line, without the fix.
func (f Finding) String() string {
	where := ""
	if f.Node != "" {
		where += fmt.Sprintf("node %s: ", ir.Quote(f.Node))
	}
	if f.Tensor != "" {
		where += fmt.Sprintf("tensor %s: ", ir.Quote(f.Tensor))
	}
	return fmt.Sprintf("%s (%s, ONNX Runtime %s): %s%s", f.Hazard, f.Effect, f.Versions, where, f.Message)
}

// Hazards lists all that Check looks for.
func Hazards() []Hazard { return slices.Clone(hazards) }

const (
	needsNewer      = "needs-newer"
	irTooHigh       = "ir-version"
	noFunction      = "no-function"
	overload        = "overload"
	noValue         = "attribute-without-value"
	dqMatMul        = "dq-matmul"
	int2Columns     = "int2-columns"
	int2LastAxis    = "int2-last-axis"
	int2Both        = "int2-both-inputs"
	int2Transpose   = "int2-transpose"
	dqTranspose     = "dq-transpose"
	int8Transpose   = "int8-transpose"
	clipQuantize    = "clip-quantize"
	biasAfterMatMul = "bias-after-matmul"
	int8Heads       = "int8-heads"
	qgemmNoBias     = "qgemm-no-bias"
	nbitsWidth      = "nbits-width"
	nbitsFloatZero  = "nbits-float-zero-point"
	nbitsAccuracy   = "nbits-accuracy"
)

var hazards = []Hazard{
	{needsNewer, Refuse, "an opset, an element type or an operator that the target version does not have", "export for the target: qvitc export --target"},
	{irTooHigh, Refuse, "an IR version above what opset and features need", "write the lowest IR version that fits"},
	{noFunction, Refuse, "an operator of a domain that ONNX Runtime does not know, without a function body", "put the function body into the file, or register the library that has the operator"},
	{overload, Refuse, "functions of one name that differ by overload", "give them different names"},
	{noValue, Refuse, "an attribute whose value was left out because it is zero", "write i, f or s of every attribute, zero included"},
	{dqMatMul, Wrong, "a 4- or 2-bit weight, dequantised, in MatMul: rewritten to MatMulNBits with accuracy_level 4, which rounds the activations to 8 bits", "store the weight as [N,K], dequantise along axis 0 and use Gemm with transB=1; or set the session option session.qdq_matmulnbits_accuracy_level=1"},
	{int2Columns, Wrong, "a 2-bit weight with a scale a column and a number of columns that is no multiple of 4 in MatMul: garbage", "use Gemm with transB=1, or MatMulNBits"},
	{int2LastAxis, Wrong, "QuantizeLinear to 2 bits with scales along the last axis", "use one scale a tensor, or a 4-bit container with the codes clipped"},
	{int2Both, Refuse, "2-bit Q/DQ on both inputs of MatMul", "put the activation into a 4-bit container (Max and Min before QuantizeLinear)"},
	{int2Transpose, Refuse, "Transpose of a 2-bit tensor", "store the weight transposed"},
	{dqTranspose, Refuse, "a 4- or 2-bit weight that is transposed after DequantizeLinear", "store the weight transposed, or use Gemm with transB=1"},
	{int8Transpose, Refuse, "signed 8-bit Q/DQ in front of Transpose", "put Transpose before QuantizeLinear"},
	{clipQuantize, Refuse, "Clip directly before QuantizeLinear to 4 bits", "use Max and Min in place of Clip"},
	{biasAfterMatMul, Slow, "8-bit Q/DQ MatMul with its bias in an Add: rewritten to Gemm, after which the integer fusion does not match", "use Gemm with the bias as third input, or qvitc export --format packed"},
	{int8Heads, Fails, "8-bit Q/DQ with several scales on both sides of a MatMul of activations: fused to an integer product that takes one scale", "put a node such as a Sum of one value between DequantizeLinear and MatMul, or use one scale"},
	{qgemmNoBias, Fails, "Gemm without bias of an 8-bit weight with several scales and no zero points: fused to QGemm, which wants as many zero points", "give DequantizeLinear zero points, or Gemm a bias"},
	{nbitsWidth, Refuse, "MatMulNBits of a width without a kernel", "use 4 bits (ONNX Runtime 1.17 and newer), 8 (1.23) or 2 (1.24)"},
	{nbitsFloatZero, Fails, "MatMulNBits with float zero points at 8 bits, or at 2 bits", "pack the zero points as integers"},
	{nbitsAccuracy, Wrong, "MatMulNBits with accuracy_level 4 rounds the activations to 8 bits", "set accuracy_level=1"},
}

func hazardOf(id string) Hazard {
	return hazards[slices.IndexFunc(hazards, func(h Hazard) bool { return h.ID == id })]
}

// checker collects findings.
type checker struct {
	g      *ir.Graph
	target Target
	needs  Needs
	found  []Finding
}

// at notes a hazard of the versions s; message is what is special here.
func (c *checker) at(id string, s span, node, tensor, message string) {
	if !s.meets(c.target) {
		return
	}
	h := hazardOf(id)
	if message == "" {
		message = h.What
	}
	c.found = append(c.found, Finding{Hazard: id, Effect: h.Effect, Versions: s.String(), Node: node, Tensor: tensor, Message: message, Fix: h.Fix, span: s})
}

// sorted gives the findings by effect, hazard and place.
func (c *checker) sorted() []Finding {
	rank := func(f Finding) int { return slices.Index([]string{Refuse, Fails, Wrong, Slow}, f.Effect) }
	slices.SortStableFunc(c.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Hazard, b.Hazard))
	})
	return c.found
}
