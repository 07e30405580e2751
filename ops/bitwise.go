package ops

// Bit operations on integers.
var bitwiseOps = []*Op{
	bits2("BitwiseAnd", func(a, b uint64) uint64 { return a & b }),
	bits2("BitwiseOr", func(a, b uint64) uint64 { return a | b }),
	bits2("BitwiseXor", func(a, b uint64) uint64 { return a ^ b }),
	{
		Name: "BitwiseNot", Since: 18, In: []Param{in("X", "T", integers)}, Out: []Param{in("Y", "T", integers)},
		infer: inferSame, fold: true, eval: func(c *call) error { return mapped(c, func(a int64) int64 { return ^a }) },
	},
	{
		Name: "BitShift", Since: 28, In: []Param{in("X", "T", integers), in("Y", "T", integers)}, Out: []Param{in("Z", "T", integers)},
		Attrs: []Attr{{Name: "direction", Kind: String, Required: true, Enum: []string{"LEFT", "RIGHT"}}},
		infer: inferBroadcast, fold: true, eval: evalBitShift,
	},
}

func bits2(name string, f func(a, b uint64) uint64) *Op {
	i := func(a, b int64) int64 { return int64(f(uint64(a), uint64(b))) }
	return &Op{
		Name: name, Since: 18, In: []Param{in("A", "T", integers), in("B", "T", integers)}, Out: []Param{in("C", "T", integers)},
		infer: inferBroadcast, fold: true, eval: binary{i: i, u: f}.eval,
	}
}

// evalBitShift shifts in zeros; shifting by the width or more, or by a negative
// count, shifts everything out. A signed right shift keeps the sign.
func evalBitShift(c *call) error {
	left := c.strAttr("direction") == "LEFT"
	if isUnsigned(c.in[0].elem) {
		return combine(c, func(a, b uint64) uint64 {
			if left {
				return a << b
			}
			return a >> b
		})
	}
	return combine(c, func(a, b int64) int64 {
		if left {
			return a << uint64(b)
		}
		return a >> uint64(b)
	})
}
