package ops

import "github.com/qvitc/qvitc/ir"

func never(*ir.Node) bool { return true }

// captured stands for the outer values that the bodies of a node read.
var captured = Param{Name: "captured", Types: anyType, Optional: true, Variadic: true}

// Operators with randomness or subgraphs, and Dropout. Subgraphs and random
// numbers are not evaluated; their entries exist for validation and purity.
var controlOps = []*Op{
	{
		Name: "Dropout", Since: 22,
		In:    []Param{in("data", "T", floats), opt("ratio", "", floats), opt("training_mode", "", boolean)},
		Out:   []Param{in("output", "T", floats), opt("mask", "", boolean)},
		Attrs: []Attr{attrOpt("seed", Int)},
		infer: inferDropout, fold: true, content: sameContent, eval: evalDropout, impure: dropsOut,
	},
	{
		Name: "If", Since: 25, In: []Param{in("cond", "", boolean), captured}, Out: []Param{many("outputs", "", anyType)},
		Attrs: []Attr{attrReq("then_branch", Graph), attrReq("else_branch", Graph)}, impure: never,
	},
	{
		Name: "Loop", Since: 25, In: []Param{opt("M", "", i64), opt("cond", "", boolean), {Name: "v_initial", Types: anyType, Optional: true, Variadic: true}},
		Out: []Param{many("outputs", "", anyType)}, Attrs: []Attr{attrReq("body", Graph)}, impure: never,
	},
	{
		Name: "Scan", Since: 25, In: []Param{many("inputs", "", anyType)}, Out: []Param{many("outputs", "", anyType)},
		Attrs: []Attr{attrReq("body", Graph), attrReq("num_scan_inputs", Int), attrOpt("scan_input_axes", Ints), attrOpt("scan_input_directions", Ints),
			attrOpt("scan_output_axes", Ints), attrOpt("scan_output_directions", Ints)}, impure: never,
	},
	random("RandomNormal", nil, attrF("mean", 0), attrF("scale", 1), attrReq("shape", Ints), attrInt("dtype", 1)),
	random("RandomUniform", nil, attrF("low", 0), attrF("high", 1), attrReq("shape", Ints), attrInt("dtype", 1)),
	random("RandomNormalLike", []Param{in("input", "", anyType)}, attrF("mean", 0), attrF("scale", 1), attrOpt("dtype", Int)),
	random("RandomUniformLike", []Param{in("input", "", anyType)}, attrF("low", 0), attrF("high", 1), attrOpt("dtype", Int)),
	random("Bernoulli", []Param{in("input", "", floats)}, attrOpt("dtype", Int)),
	random("Multinomial", []Param{in("input", "", floats)}, attrInt("sample_size", 1), Attr{Name: "dtype", Kind: Int, Default: int64(ir.Int32)}),
}

func random(name string, ins []Param, attrs ...Attr) *Op {
	return &Op{
		Name: name, Since: 22, In: ins, Out: []Param{{Name: "output", Types: anyType}},
		Attrs: append(attrs, attrOpt("seed", Float)), impure: never, infer: inferRandom,
	}
}

func inferRandom(c *call) error {
	if v, ok := c.Attrs["dtype"].(int64); ok {
		c.out[0].elem = ir.Elem(v)
	} else if d := c.op.Attr("dtype"); d.Default != nil {
		c.out[0].elem = ir.Elem(c.intAttr("dtype"))
	} else {
		c.out[0].elem = c.in[0].elem
	}
	switch {
	case c.Attrs.Has("shape"):
		dims := []num{}
		for _, d := range c.Attrs.Ints("shape") {
			dims = append(dims, known(int64(d)))
		}
		c.shape(0, dims...)
	case c.Op == "Multinomial":
		if c.in[0].ranked && len(c.in[0].dims) == 2 {
			c.shape(0, c.in[0].dims[0], known(int64(c.intAttr("sample_size"))))
		}
	default:
		c.like(0, 0)
	}
	return nil
}

// dropsOut reports whether a Dropout may change its input: training mode is on
// or not known, and the ratio is not known to be 0.
func dropsOut(n *ir.Node) bool {
	mode, ratio := n.Input(2), n.Input(1)
	if mode == nil || mode.Const != nil && mode.Const.Len() == 1 && mode.Const.Int(0) == 0 {
		return false
	}
	return ratio == nil || ratio.Const == nil || ratio.Const.Len() != 1 || ratio.Const.Float(0) != 0
}

func inferDropout(c *call) error {
	for i := 1; i < 3; i++ {
		if err := c.single(i); err != nil {
			return err
		}
	}
	for k := range c.out {
		c.like(k, 0)
	}
	return nil
}

// evalDropout is the identity; dropping at random is refused.
func evalDropout(c *call) error {
	if c.given(2) && c.t(2).Int(0) != 0 && (!c.given(1) || c.t(1).Float(0) != 0) {
		return c.Errorf("training_mode with a ratio other than 0 is random and is not evaluated")
	}
	c.res[0] = c.t(0)
	if c.wanted(1) {
		ones := make([]int64, c.t(0).Len())
		for i := range ones {
			ones[i] = 1
		}
		return put(c, 1, ones)
	}
	return nil
}
