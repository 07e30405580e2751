package passes

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// Renormalise makes a graph take images that were normalised for another one:
// every channel c of its only input, [N,C,H,W], is multiplied by scale[c] and
// raised by shift[c] before anything else sees it. Images prepared with mean m
// and deviation s become those of mean n and deviation t by the scale s/t and the
// shift (m-n)/t. scale and shift hold one value a channel or one for all.
func Renormalise(g *ir.Graph, scale, shift []float32) error {
	if len(g.Inputs) != 1 || g.Inputs[0].Type.Rank() != 4 {
		return &ir.Error{Msg: "renormalise: want one input [N,C,H,W]"}
	}
	x := g.Inputs[0]
	for _, v := range [][]float32{scale, shift} {
		if c := x.Type.Shape[1]; len(v) != 1 && c.Size != int64(len(v)) {
			return &ir.Error{Tensor: x.Name, Msg: fmt.Sprintf("renormalise: %d values for %v channels", len(v), c)}
		}
	}
	first := g.First()
	if first == nil {
		return nil
	}
	perChannel := func(name string, v []float32) *ir.Value {
		return g.AddConst(g.Unique(x.Name+name), ir.Of(v, len(v), 1, 1))
	}
	mul := g.InsertBefore(first, "", "Mul", nil, []*ir.Value{x, perChannel(".scale", scale)}, g.Unique(x.Name+".scaled"))
	add := g.InsertBefore(first, "", "Add", nil, []*ir.Value{mul.Out(), perChannel(".shift", shift)}, g.Unique(x.Name+".normalised"))
	g.ReplaceUses(x, add.Out())
	mul.SetInput(0, x)
	_, err := ops.Infer(g)
	return err
}
