package passes

import "github.com/qvitc/qvitc/ir"

// linear writes a product by a quantised weight as Gemm.
func (l *qdqLowering) linear(n *ir.Node) (bool, error) {
	if n.Inputs[0].IsConst() || n.Inputs[0].Type.Rank() < 1 {
		return false, nil
	}
	w := l.made[n.Inputs[1]]
	if w == nil {
		var err error
		if w, err = l.matrix(n); w == nil {
			return false, err
		}
		l.made[n.Inputs[1]] = w
	}
	x, root := n.Inputs[0], n
	k, width := w.Type.Shape[1], w.Type.Shape[0]
	in := []*ir.Value{x, w}
	if add, bias := biasAdd(n, int(width.Size)); add != nil {
		root = add
		in = append(in, bias)
	} else if w.Def.Inputs[0].Type.Elem.Bits() == 8 {
		// without a float bias ONNX Runtime makes an integer Gemm that knows one scale only
		in = append(in, l.g.AddConst(root.Out().Name+".no_bias", ir.Of(make([]float32, width.Size), int(width.Size))))
	}
	rank := x.Type.Rank()
	if rank != 2 {
		in[0] = l.node(root, n, "Reshape", ".rows", nil, ir.Shape{ir.UnknownDim, k}, x, l.ints(root, ".rows_shape", -1, k.Size))
	}
	shape := root.Out().Type.Shape
	if rank != 2 {
		shape = ir.Shape{ir.UnknownDim, width}
	}
	gemm := l.node(root, n, "Gemm", ".gemm", ir.Attrs{"transB": int64(1)}, shape, in...)
	gemm.Def.Name, gemm.Def.Role = n.Name, n.Role
	if rank != 2 {
		gemm = l.node(root, n, "Reshape", ".out", nil, root.Out().Type.Shape, gemm, l.outShape(root, n, x, width))
	}
	substitute(l.g, root.Out(), gemm)
	l.g.Remove(root)
	if root != n {
		l.g.Remove(n)
	}
	l.r.Count("linear", 1)
	return true, nil
}

// biasAdd is the Add of a constant vector of n values behind a product.
func biasAdd(n *ir.Node, width int) (*ir.Node, *ir.Value) {
	add := soleUser(n.Out())
	if !add.Is("Add") || len(add.Inputs) != 2 {
		return nil, nil
	}
	b := other(add, n.Out())
	if !b.IsConst() || len(b.Const.Shape) != 1 || b.Const.Shape[0] != width || b.Const.Elem != ir.Float32 {
		return nil, nil
	}
	return add, b
}

// node makes a node before root that stands for a part of n.
func (l *qdqLowering) node(root, n *ir.Node, op, suffix string, attrs ir.Attrs, shape ir.Shape, in ...*ir.Value) *ir.Value {
	k := l.g.InsertBefore(root, "", op, attrs, in, root.Out().Name+suffix)
	l.r.inherit(k, n).Role = ir.Role{Block: -1}
	k.Name = partName(n, suffix)
	k.Out().Type = ir.TensorType(ir.Float32, shape)
	return k.Out()
}

func (l *qdqLowering) ints(root *ir.Node, suffix string, v ...int64) *ir.Value {
	return l.g.AddConst(root.Out().Name+suffix, ir.Of(v, len(v)))
}

// outShape is the target of the Reshape that gives the product its shape.
func (l *qdqLowering) outShape(root, n *ir.Node, x *ir.Value, width ir.Dim) *ir.Value {
	rank := x.Type.Rank()
	target := make([]int64, rank)
	free := 0
	for i, d := range x.Type.Shape[:rank-1] {
		if target[i] = d.Size; !d.Known() {
			target[i] = -1
			free++
		}
	}
	target[rank-1] = width.Size
	if free <= 1 {
		return l.ints(root, ".out_shape", target...)
	}
	of := l.node(root, n, "Shape", ".shape", ir.Attrs{"start": int64(0), "end": int64(rank - 1)}, nil, x)
	of.Type = ir.TensorType(ir.Int64, ir.Known(rank-1))
	v := l.node(root, n, "Concat", ".out_shape", ir.Attrs{"axis": int64(0)}, nil, of, l.ints(root, ".width", width.Size))
	v.Type = ir.TensorType(ir.Int64, ir.Known(rank))
	return v
}
