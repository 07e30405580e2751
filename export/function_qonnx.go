package export

import (
	"github.com/qvitc/qvitc/ir"
)

// intQuantFunction defines QONNX IntQuant for runtimes that do not know it, for
// rounding_mode ROUND, which is all that is written here:
//
//	Y = (round(clip(X/scale + zeropt, low, high)) - zeropt)*scale
//	low  = signed*(narrow - 2^(bitwidth-1))
//	high = signed*(2^(bitwidth-1) - 1) + (1 - signed)*(2^bitwidth - 1 - narrow)
func intQuantFunction() *ir.Function {
	b := body{ir.New("IntQuant")}
	x, scale, zero, width := b.in("X"), b.in("scale"), b.in("zeropt"), b.in("bitwidth")
	flag := func(name string) *ir.Value {
		return b.cast(name+"_float", b.op("Constant", name+"_int", ir.Attrs{"value_int": ir.AttrRef(name)}), ir.Float32)
	}
	signed, narrow := flag("signed"), flag("narrow")
	one, two := b.f32("one", 1), b.f32("two", 2)
	all := b.op("Pow", "codes", nil, two, width)
	half := b.op("Div", "half", nil, all, two)
	low := b.op("Mul", "low", nil, signed, b.op("Sub", "low_signed", nil, narrow, half))
	highSigned := b.op("Mul", "high_signed", nil, signed, b.op("Sub", "half_less_one", nil, half, one))
	last := b.op("Sub", "last", nil, b.op("Sub", "codes_less_one", nil, all, one), narrow)
	highUnsigned := b.op("Mul", "high_unsigned", nil, b.op("Sub", "unsigned", nil, one, signed), last)
	high := b.op("Add", "high", nil, highSigned, highUnsigned)
	u := b.op("Add", "shifted", nil, b.op("Div", "scaled", nil, x, scale), zero)
	q := b.op("Round", "code", nil, b.op("Min", "clipped", nil, b.op("Max", "clipped_low", nil, u, low), high))
	b.g.AddOutput(b.op("Mul", "Y", nil, b.op("Sub", "centred", nil, q, zero), scale))
	return &ir.Function{
		Domain: ir.QONNX, Name: "IntQuant", Body: b.g, Attrs: []string{"signed", "narrow", "rounding_mode"},
		Doc: "Quantises X: Y = (round(clip(X/scale + zeropt, low, high)) - zeropt)*scale, round half to even.",
	}
}
