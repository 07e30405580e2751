package passes

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// PathDrop is a residual branch that a graph input scales, one number an image:
// f32 [batch,1,1] (as many ones as the branch has further dimensions).
type PathDrop struct {
	Input *ir.Value
	Block int
	Rate  float64 // part of the images that skip the branch
}

// InsertDropPath makes the attention and MLP branches of a recognised graph
// skippable for stochastic depth (Huang et al., 2016): where a branch joins the
// residual stream it is multiplied by a new input of the graph. A trainer sets
// that to 0 for the images that skip the branch and to 1/(1-Rate) for the
// others; all ones give the graph as it was. Rates rise linearly from 0 in the
// first block to rate in the last; branches of rate 0 are left alone. The graph
// so changed serves training alone.
func InsertDropPath(g *ir.Graph, rate float64) ([]PathDrop, error) {
	if !(rate >= 0 && rate < 1) {
		return nil, &ir.Error{Msg: fmt.Sprintf("drop-path %v: want 0 or more, below 1", rate)}
	}
	if _, err := ops.Infer(g); err != nil {
		return nil, err
	}
	last, joined := 0, 0
	var ends []*ir.Node
	for n := range g.Nodes() {
		if IsLinear(n) && (n.Role.Kind == ir.RoleProj || n.Role.Kind == ir.RoleFC2) && n.Role.Block >= 0 {
			ends = append(ends, n)
			last = max(last, n.Role.Block)
		}
	}
	var out []PathDrop
	for _, n := range ends {
		branch, add := joinOf(n.Out())
		if add == nil {
			continue
		}
		joined++
		r := rate * float64(n.Role.Block) / float64(max(1, last))
		if r == 0 {
			continue
		}
		shape := make(ir.Shape, branch.Type.Rank())
		shape[0] = g.Inputs[0].Type.Shape[0]
		for i := range shape[1:] {
			shape[i+1] = ir.D(1)
		}
		in := g.AddInput(g.Unique(fmt.Sprintf("keep.%d.%s", n.Role.Block, n.Role.Kind)), ir.TensorType(ir.Float32, shape))
		mul := g.InsertBefore(add, "", "Mul", nil, []*ir.Value{branch, in}, branch.Name+".kept")
		mul.Out().Type = branch.Type
		mul.Role = ir.Role{Block: -1}
		for i, v := range add.Inputs {
			if v == branch {
				add.SetInput(i, mul.Out())
				break
			}
		}
		out = append(out, PathDrop{Input: in, Block: n.Role.Block, Rate: r})
	}
	if joined == 0 {
		return nil, &ir.Error{Msg: fmt.Sprintf("graph %s: no residual branch was recognised: nothing for drop-path to skip", ir.Quote(g.Name))}
	}
	return out, nil
}

// branchOps may stand between the last linear layer of a branch and the sum
// with the residual stream.
var branchOps = map[string]bool{
	"Reshape": true, "Transpose": true, "Squeeze": true, "Unsqueeze": true, "Slice": true, "Concat": true, "Identity": true,
	"Dropout": true, "Cast": true, "LayerNormalization": true, "RMSNormalization": true,
}

// joinOf follows a branch to the sum in which it joins the residual stream: the
// operand there and the Add.
func joinOf(v *ir.Value) (*ir.Value, *ir.Node) {
	for range 64 {
		readers := users(v)
		if len(readers) == 0 {
			return nil, nil
		}
		n := readers[0]
		switch {
		case n.Is("Add") && !other(n, v).IsConst():
			if v.Type.Rank() < 2 || other(n, v) == v {
				return nil, nil
			}
			return v, n
		case n.Is("Add"), n.Is("Mul"):
			if other(n, v).Def != nil { // and not a constant, or an input of InsertDropPath
				return nil, nil
			}
		case n.Domain == "" && branchOps[n.Op]:
		default:
			return nil, nil
		}
		v = n.Out()
	}
	return nil, nil
}
