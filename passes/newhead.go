package passes

import (
	"fmt"
	"math/rand/v2"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// headSpread is the standard deviation of a fresh head's weights, as timm's.
const headSpread = 0.02

// NewHead gives a recognised graph fresh classifiers for so many classes, every
// head where there are several. The linear layers that make the outputs are
// found by their role; weights are drawn from a normal distribution of deviation
// 0.02 by the seed, biases are 0. What stands between them and the outputs must
// work for any number of classes: a bias, the mean of two heads, a softmax. On
// an error the graph may be half changed.
func NewHead(g *ir.Graph, classes int, seed uint64) error {
	if classes < 1 {
		return &ir.Error{Msg: fmt.Sprintf("a head for %d classes: want at least 1", classes)}
	}
	if _, err := ops.Infer(g); err != nil {
		return err
	}
	var heads []*ir.Node
	for _, out := range g.Outputs {
		if err := headsBehind(out, &heads, visited{}); err != nil {
			return err
		}
	}
	random := rand.New(rand.NewPCG(seed, 0x68656164))
	for _, n := range heads {
		old := weightOf(n)
		w := make([]float32, old.Const.Shape[0]*classes)
		for i := range w {
			w[i] = float32(headSpread * random.NormFloat64())
		}
		setConstInput(g, n, old, ir.Of(w, old.Const.Shape[0], classes))
	}
	for _, out := range g.Outputs {
		if err := widen(g, out, classes, visited{}); err != nil {
			return err
		}
	}
	g.DropUnusedConsts()
	_, err := ops.Infer(g)
	return err
}

// betweenHead may stand between a fresh head and the outputs: it keeps the last axis.
var betweenHead = map[string]bool{
	"Add": true, "Sub": true, "Mul": true, "Div": true, "Softmax": true, "LogSoftmax": true, "Sigmoid": true, "Identity": true,
	"Sum": true, "Mean": true, "Dropout": true,
}

// headsBehind collects the linear layers that make v, each once, in order.
func headsBehind(v *ir.Value, heads *[]*ir.Node, seen visited) error {
	if v.IsConst() || !seen.first(v) {
		return nil
	}
	n := v.Def
	switch {
	case n == nil:
	case IsLinear(n) && n.Role.Kind == ir.RoleHead:
		for _, h := range *heads {
			if h == n {
				return nil
			}
		}
		*heads = append(*heads, n)
		return nil
	case n.Domain == "" && betweenHead[n.Op]:
		for _, in := range n.Inputs {
			if in == nil {
				continue
			}
			if err := headsBehind(in, heads, seen); err != nil {
				return err
			}
		}
		return nil
	default:
		return n.Errorf("stands between the classifier and the output; a new head can only be given to a model whose outputs are its classifiers")
	}
	return &ir.Error{Tensor: v.Name, Msg: "no classifier was recognised behind the outputs: cannot give the model a new head"}
}

// widen brings biases and types from the outputs back to the heads to the new
// number of classes.
func widen(g *ir.Graph, v *ir.Value, classes int, seen visited) error {
	if !seen.first(v) || v.IsConst() {
		return nil
	}
	n := v.Def
	t := v.Type
	if t.Rank() > 0 {
		t.Shape = append(ir.Shape(nil), t.Shape...)
		t.Shape[len(t.Shape)-1] = ir.D(classes)
		v.Type = t
	}
	if IsLinear(n) {
		return nil
	}
	for _, in := range n.Inputs {
		if in == nil {
			continue
		}
		if !in.IsConst() {
			if err := widen(g, in, classes, seen); err != nil {
				return err
			}
			continue
		}
		s := in.Const.Shape
		if len(s) == 0 || s[len(s)-1] == 1 || in.Const.F32() == nil {
			continue
		}
		if !n.Is("Add") || in.Const.Len() != s[len(s)-1] {
			return n.Errorf("holds numbers for each class in %s; a new head cannot take them over", ir.Quote(in.Name))
		}
		fresh := append([]int(nil), s...)
		fresh[len(fresh)-1] = classes
		setConstInput(g, n, in, ir.Of(make([]float32, classes), fresh...))
	}
	return nil
}

// setConstInput puts a constant holding t in the place of old among the inputs of n.
func setConstInput(g *ir.Graph, n *ir.Node, old *ir.Value, t *ir.Tensor) {
	for i, in := range n.Inputs {
		if in == old {
			n.SetInput(i, replaceConst(g, old, t))
		}
	}
}

// HeadParams gives the weights and biases of the classifiers of a recognised
// graph, those of a hidden layer in them included.
func HeadParams(g *ir.Graph) map[*ir.Value]bool {
	out := map[*ir.Value]bool{}
	for n := range g.Nodes() {
		if n.Role.Kind != ir.RoleHead || !IsLinear(n) {
			continue
		}
		out[weightOf(n)] = true
		if _, b := linearBias(n); b != nil {
			out[b] = true
		}
	}
	return out
}
