package passes

import (
	"github.com/qvitc/qvitc/ir"
)

// A weight with one scale for each block of a row is held as a constant whose
// rows are the blocks, [rows*blocks, size], with one scale a row; Reshape (and
// Slice, where the last block is not full, and Transpose) behind its FakeQuant
// give it its shape back.

// blocks makes that form of codes with block scales along one axis of a matrix;
// nil for tensors that are no matrix.
func (z *raiser) blocks(n *ir.Node, codes []int32, from *ir.Value, q grid, size int) *ir.Value {
	shape := from.Const.Shape
	axis := axisAttr(n, "axis", 1, len(shape))
	if len(shape) != 2 || axis < 0 || axis > 1 {
		return nil
	}
	rows, width := shape[1-axis], shape[axis]
	blocks := (width + size - 1) / size
	if len(q.scale) != rows*blocks || q.zero != nil && len(q.zero) != rows*blocks {
		return nil
	}
	out := make([]int32, rows*blocks*size)
	w := q
	w.axis, w.scale = 0, make([]float32, rows*blocks)
	if q.zero != nil {
		w.zero = make([]float32, rows*blocks)
	}
	for r := range rows {
		for b := range blocks {
			at := r*blocks + b
			from := at
			if axis == 0 {
				from = b*rows + r
			}
			w.scale[at] = q.scale[from]
			fill := int32(0)
			if q.zero != nil {
				w.zero[at] = q.zero[from]
				fill = int32(q.zero[from])
			}
			for i := range size {
				k := b*size + i
				switch {
				case k >= width:
					out[at*size+i] = fill
				case axis == 1:
					out[at*size+i] = codes[r*width+k]
				default:
					out[at*size+i] = codes[k*rows+r]
				}
			}
		}
	}
	v := z.blockRows(n, out, rows, blocks, size, width, w, from.Name, n.Inputs[1].Name)
	if axis == 0 {
		t := z.layout(n, "Transpose", v.Name+".t", ir.Attrs{"perm": ir.Int64s(1, 0)}, []int{width, rows}, v)
		v = t
	}
	return v
}

// blockRows makes the constant of block rows, its FakeQuant, and the matrix
// [rows, width] behind it.
func (z *raiser) blockRows(n *ir.Node, codes []int32, rows, blocks, size, width int, q grid, name, scaleName string) *ir.Value {
	v := z.weight(n, codes, []int{rows * blocks, size}, q, name, scaleName)
	v = z.layout(n, "Reshape", name+".rows", nil, []int{rows, blocks * size}, v, z.ints(name+".rows_shape", rows, blocks*size))
	if width < blocks*size {
		v = z.layout(n, "Slice", name+".full", nil, []int{rows, width}, v,
			z.ints(name+".from", 0), z.ints(name+".to", width), z.ints(name+".axis", 1))
	}
	return v
}

func (z *raiser) ints(name string, v ...int) *ir.Value {
	return z.g.AddConst(name, ir.Of(ir.Int64s(v...), len(v)))
}

func (z *raiser) layout(n *ir.Node, op, name string, attrs ir.Attrs, shape []int, in ...*ir.Value) *ir.Value {
	k := z.g.InsertBefore(n, "", op, attrs, in, name)
	k.Out().Type = ir.TensorType(ir.Float32, ir.Known(shape...))
	k.Origin = n.Origin
	return z.r.rewrote(k).Out()
}

// blockWeight is a weight that is held as blocks of rows.
type blockWeight struct {
	q                  *quantSettings // of the rows [rows*blocks, size]
	rows, blocks, size int
	width              int
}

// blockWeightOf reads the matrix W [K,N] behind the input of a MatMul as blocks
// along K; nil when it is not made so.
func blockWeightOf(v *ir.Value) (*blockWeight, error) {
	t := def(v, "Transpose")
	if t == nil || t.Inputs[0].Type.Rank() != 2 {
		return nil, nil
	}
	v = t.Inputs[0]
	b := &blockWeight{width: known(v, 1), rows: known(v, 0)}
	if s := def(v, "Slice"); s != nil {
		v = s.Inputs[0]
		if from, ok := intsOf(s.Input(1)); !ok || len(from) != 1 || from[0] != 0 {
			return nil, nil
		}
	}
	r := def(v, "Reshape")
	if r == nil {
		return nil, nil
	}
	q, err := quantOf(r.Inputs[0])
	if err != nil || q == nil || q.axis != 0 || !q.node.Inputs[0].IsConst() || len(q.node.Inputs[0].Const.Shape) != 2 {
		return nil, err
	}
	shape := q.node.Inputs[0].Const.Shape
	if b.rows < 1 || b.width < 1 || shape[0]%b.rows != 0 {
		return nil, nil
	}
	b.q, b.blocks, b.size = q, shape[0]/b.rows, shape[1]
	if b.width <= (b.blocks-1)*b.size || b.width > b.blocks*b.size {
		return nil, nil
	}
	return b, nil
}
