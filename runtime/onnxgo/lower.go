package onnxgo

import (
	"fmt"
	"math"
	"slices"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
)

// Lower writes g as an ONNX model that onnx-go v0.5.0 decodes without loss and
// Backend runs with the same results:
//
//   - symbolic sizes are fixed: the first one of every input is the batch. A model
//     without symbolic sizes keeps its own; batch is then that one, or 0;
//   - calls of model-local functions are replaced by their bodies, packed
//     operators stay and are known by their names;
//   - every operand of an operation is a tensor of its own, by Identity;
//   - operands left out are written as the value they stand for (bounds of Clip,
//     axes of Slice, fill of Pad) or cut off; results left out get a name or are
//     cut off. What remains is an operand of empty name, which Backend
//     understands;
//   - every output is computed by a node, named once and read by nothing;
//   - constants are float32, float64, int32 or int64; any other is written as
//     int32 words in front of an Unpack node;
//   - everything is inside the file, operators are those of the newest opset,
//     nothing is declared but inputs and outputs.
//
// g is not modified. Errors name what onnx-go has no form for.
func Lower(g *ir.Graph, batch int) ([]byte, error) {
	c, m := g.Clone()
	for v, w := range m {
		w.Const = v.Const
	}
	steps := []func(*ir.Graph) error{
		inlineCalls, refuse,
		func(g *ir.Graph) error { return fixSizes(g, batch) },
		separateOutputs, inferTypes, fillOptional, separateOperands, packConstants,
	}
	for _, step := range steps {
		if err := step(c); err != nil {
			return nil, err
		}
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("onnxgo: lowering broke the graph: %w", err)
	}
	return encode(c)
}

func inlineCalls(g *ir.Graph) error {
	err := ops.Inline(g, nil)
	g.Functions = nil
	return err
}

// encode writes the graph with the marker among its initializers: onnxio writes
// constants that are outputs, so it is one until the message is made.
func encode(g *ir.Graph) ([]byte, error) {
	for n := range g.Nodes() {
		for _, v := range n.Outputs {
			if n.Domain != "" && v != nil && !g.IsOutput(v) {
				v.Type = ir.Type{} // onnxio declares results of foreign domains whose type is known
			}
		}
	}
	mark := g.AddConst(marker, ir.Of([]int64{canonicalOpset}, 1))
	if mark.Name != marker {
		return nil, &ir.Error{Tensor: marker, Msg: "the model has a tensor of this name, which onnxgo needs: rename it"}
	}
	g.AddOutput(mark)
	p, err := onnxio.ToProto(g, onnxio.WriteOptions{MinOpset: canonicalOpset})
	if err != nil {
		return nil, err
	}
	p.Graph.Output = p.Graph.Output[:len(p.Graph.Output)-1]
	b, err := (&onnxio.Model{Proto: p}).Bytes()
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > onnxio.MaxFileBytes {
		return nil, fmt.Errorf("onnxgo: the lowered model takes %d bytes, more than one file can have (%d)", len(b), int64(onnxio.MaxFileBytes))
	}
	return b, nil
}

// refuse reports what onnx-go has no form for.
func refuse(g *ir.Graph) error {
	for n := range g.Nodes() {
		if n.Domain != "" && n.Domain != ir.Domain {
			return n.Errorf("onnx-go drops the domain %s: only ai.onnx and %s can be told apart, and functions are inlined where the file has them", ir.Quote(n.Domain), ir.Domain)
		}
		for _, name := range n.Attrs.Names() {
			switch a := n.Attrs[name].(type) {
			case *ir.Graph:
				return n.Errorf("attribute %s is a subgraph, which onnx-go cannot read: resolve the condition before (passes.Clean does where it is constant)", ir.Quote(name))
			case *ir.Tensor:
				if !plain(a) {
					return n.Errorf("attribute %s is a tensor of type %v and shape %v, which onnx-go cannot read", ir.Quote(name), a.Elem, a.Shape)
				}
			}
		}
	}
	for _, v := range g.Consts() {
		if v.Const.Elem == ir.String {
			return &ir.Error{Tensor: v.Name, Msg: "is a tensor of strings, which onnx-go cannot read"}
		}
	}
	return nil
}

// plain reports whether onnx-go decodes the tensor as a constant.
func plain(t *ir.Tensor) bool {
	switch t.Elem {
	case ir.Float32, ir.Float64, ir.Int32, ir.Int64:
		return t.Len() > 0
	}
	return false
}

// fixSizes gives every graph input its whole shape. Types of results are
// forgotten where inference finds them anew.
func fixSizes(g *ir.Graph, batch int) error {
	sizes := map[string]int{}
	symbolic := false
	for _, v := range g.Inputs {
		if !v.Type.Ranked {
			return &ir.Error{Tensor: v.Name, Msg: "the graph input has no shape: onnx-go needs one"}
		}
		for _, d := range v.Type.Shape {
			if d.Known() {
				continue
			}
			if batch < 1 {
				return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("the graph input has shape %v, which onnx-go cannot keep: give a batch of at least 1", v.Type.Shape)}
			}
			symbolic = true
			if d.Sym != "" {
				sizes[d.Sym] = batch
			}
			break
		}
	}
	for _, v := range g.Inputs {
		s := slices.Clone(v.Type.Shape)
		first := true
		for i, d := range s {
			if d.Known() {
				continue
			}
			n, ok := sizes[d.Sym]
			switch {
			case first:
				n = batch
			case !ok || d.Sym == "":
				return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("dimension %d of the graph input %v is not known: only the batch can be given", i, v.Type.Shape)}
			}
			s[i], first = ir.D(n), false
		}
		v.Type.Shape = s
		if !symbolic && batch > 0 && len(s) > 0 && s[0].Size != int64(batch) {
			return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("the model has a fixed batch of %d, asked for is %d", s[0].Size, batch)}
		}
	}
	for n := range g.Nodes() {
		for _, v := range n.Outputs {
			if v != nil {
				v.Type = ir.Type{Elem: v.Type.Elem}
			}
		}
	}
	return nil
}

// inferTypes finds the types of all values and checks that onnx-go has
// placeholders for inputs and outputs.
func inferTypes(g *ir.Graph) error {
	if _, err := ops.Infer(g); err != nil {
		return err
	}
	check := func(what string, v *ir.Value) error {
		dims, known := v.Type.Shape.Ints()
		switch {
		case !v.Type.Ranked || !known:
			return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("the shape of the graph %s is not known (%v): onnx-go needs fixed sizes", what, v.Type)}
		case !hasDtype(v.Type.Elem):
			return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("the graph %s is of type %v, which onnx-go does not have: put a Cast there", what, v.Type.Elem)}
		case slices.Contains(dims, 0):
			return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("the graph %s has no elements (%v): onnx-go has no such tensors", what, v.Type)}
		}
		return nil
	}
	for _, v := range g.Inputs {
		if err := check("input", v); err != nil {
			return err
		}
	}
	for _, v := range g.Outputs {
		if err := check("output", v); err != nil {
			return err
		}
	}
	return nil
}

// separateOutputs puts an Identity behind every output that is an input, a
// constant, read by a node or an output already: the decoder makes a new node
// for each declared name. The first one keeps the name unless an input has it.
func separateOutputs(g *ir.Graph) error {
	seen := map[*ir.Value]bool{}
	for i, v := range g.Outputs {
		if v.Def != nil && len(v.Uses()) == 0 && !seen[v] && !slices.Contains(g.Outputs[i+1:], v) {
			continue
		}
		out := g.Add("Identity", v.Name, nil, v).Out()
		out.Type = v.Type
		g.Outputs[i] = out
		if name := v.Name; !seen[v] && !slices.Contains(g.Inputs, v) {
			g.Rename(v, name+"/inner")
			g.Rename(out, name)
		}
		seen[v] = true
	}
	return nil
}

// separateOperands puts an Identity before every operand that a node has read
// already: the decoder's graph keeps one edge between two tensors.
func separateOperands(g *ir.Graph) error {
	for n := range g.Nodes() {
		for i, v := range n.Inputs {
			if v != nil && slices.Contains(n.Inputs[:i], v) {
				id := g.InsertBefore(n, "", "Identity", nil, []*ir.Value{v}, v.Name+"/again")
				id.Out().Type = v.Type
				n.SetInput(i, id.Out())
			}
		}
	}
	return nil
}

// fillOptional writes out operands and names results that are left out before
// others, and cuts off those at the end: an empty name is one shared tensor to
// the decoder.
func fillOptional(g *ir.Graph) error {
	for n := range g.Nodes() {
		for k := len(n.Inputs); k > 0 && n.Inputs[k-1] == nil; k-- {
			n.TrimInputs(k - 1)
		}
		for i, v := range n.Inputs {
			if v != nil {
				continue
			}
			if t := implied(n, i); t != nil {
				n.SetInput(i, g.AddConst(fmt.Sprintf("%s.%s%d", n.Outputs[0].Name, n.Op, i), t))
			}
		}
		for k := len(n.Outputs); k > 1 && n.Outputs[k-1] == nil; k-- {
			n.Outputs = n.Outputs[:k-1]
		}
		if slices.Contains(n.Outputs, nil) {
			nameOutputs(g, n)
		}
	}
	_, err := ops.Infer(g)
	return err
}

// implied is the value that leaving out operand i of n stands for; nil where it
// stands for none.
func implied(n *ir.Node, i int) *ir.Tensor {
	x := n.Input(0)
	if n.Domain != "" || x == nil || n.Outputs[0] == nil {
		return nil
	}
	switch {
	case n.Op == "Clip" && i == 1:
		switch x.Type.Elem {
		case ir.Float32:
			return ir.Scalar(float32(math.Inf(-1)))
		case ir.Float64:
			return ir.Scalar(math.Inf(-1))
		case ir.Int32:
			return ir.Scalar(int32(math.MinInt32))
		case ir.Int64:
			return ir.Scalar(int64(math.MinInt64))
		}
	case n.Op == "Pad" && i == 2:
		if t, err := ir.NewTensor(x.Type.Elem); err == nil && t.Elem != ir.String {
			return t
		}
	case n.Op == "Slice" && i == 3:
		starts := n.Input(1).Type
		if dims, ok := starts.Shape.Ints(); ok && len(dims) == 1 {
			return firstAxes(dims[0], starts.Elem)
		}
	}
	return nil
}

// firstAxes is 0, 1, ..., n-1, in the type of Slice's other operands.
func firstAxes(n int, e ir.Elem) *ir.Tensor {
	if e == ir.Int32 {
		axes := make([]int32, n)
		for i := range axes {
			axes[i] = int32(i)
		}
		return ir.Of(axes, n)
	}
	axes := make([]int64, n)
	for i := range axes {
		axes[i] = int64(i)
	}
	return ir.Of(axes, n)
}

// nameOutputs replaces n by a node whose results all have names.
func nameOutputs(g *ir.Graph, n *ir.Node) {
	names := make([]string, len(n.Outputs))
	for i, v := range n.Outputs {
		names[i] = fmt.Sprintf("%s.%d", n.Op, i)
		if v != nil {
			names[i] = v.Name
		}
	}
	k := g.InsertBefore(n, n.Domain, n.Op, n.Attrs, n.Inputs, names...)
	k.Name, k.Role, k.Origin = n.Name, n.Role, n.Origin
	for i, v := range n.Outputs {
		if v != nil {
			k.Outputs[i].Type = v.Type
			g.ReplaceUses(v, k.Outputs[i])
		}
	}
	g.Remove(n)
}

// packConstants writes constants that the decoder refuses as words.
func packConstants(g *ir.Graph) error {
	for _, v := range g.Consts() {
		if plain(v.Const) {
			continue
		}
		words, err := toWords(v.Const)
		if err != nil {
			return &ir.Error{Tensor: v.Name, Msg: err.Error()}
		}
		shape := ir.Int64s(v.Const.Shape...)
		n := g.InsertBefore(g.First(), ir.Domain, unpackOp, ir.Attrs{"elem": int64(v.Const.Elem), "shape": shape},
			[]*ir.Value{g.AddConst(v.Name+"/words", words)}, v.Name+"/unpacked")
		g.ReplaceUses(v, n.Out())
	}
	g.DropUnusedConsts()
	return nil
}
