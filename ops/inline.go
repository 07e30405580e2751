package ops

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// MaxInlined is the largest graph, in nodes, that Inline makes.
const MaxInlined = 1_000_000

// Inline puts the bodies of model-local functions in the place of their calls,
// and of the calls in those. Operators that this package knows stay calls even
// where the model defines them. The nodes take the origin of the call and its
// name before their own. moved, where given, is told the value that stands for
// each output of a call. A function that calls itself, a call that does not fit
// and more than MaxInlined nodes are errors that name the node.
func Inline(g *ir.Graph, moved func(old, new *ir.Value)) error {
	if err := CheckCalls(g); err != nil {
		return err
	}
	in := inliner{g: g, moved: moved}
	for n := range g.Nodes() {
		if err := in.call(n); err != nil {
			return err
		}
	}
	return nil
}

// CheckCalls gives the errors of Inline that come of the functions alone.
func CheckCalls(g *ir.Graph) error {
	in := inliner{g: g, size: map[*ir.Function]int{}}
	total, err := in.count(g)
	if err == nil && total > MaxInlined {
		err = &ir.Error{Msg: fmt.Sprintf("the model has more than %d nodes once its functions are inlined", MaxInlined)}
	}
	return err
}

type inliner struct {
	g     *ir.Graph
	size  map[*ir.Function]int // nodes once inlined; 0 while being counted
	moved func(old, new *ir.Value)
}

// function gives the function that a node calls, nil if it is no call.
func (in *inliner) function(n *ir.Node) *ir.Function {
	if Lookup(n.Domain, n.Op) != nil {
		return nil
	}
	return in.g.Function(n.Domain, n.Op)
}

// count gives the nodes of g once inlined, no more than MaxInlined+1.
func (in *inliner) count(g *ir.Graph) (int, error) {
	total := 0
	for n := range g.Nodes() {
		f := in.function(n)
		if f == nil {
			total++
			continue
		}
		k, counted := in.size[f]
		if counted && k == 0 {
			return 0, n.Errorf("the function calls itself")
		}
		if !counted {
			in.size[f] = 0
			var err error
			if k, err = in.count(f.Body); err != nil {
				return 0, err
			}
			k = max(k, 1)
			in.size[f] = k
		}
		total = min(total+k, MaxInlined+1)
	}
	return total, nil
}

// call replaces one node, if it is a call, and the calls in the body.
func (in *inliner) call(call *ir.Node) error {
	f := in.function(call)
	if f == nil {
		return nil
	}
	body := f.Body
	if len(call.Inputs) > len(body.Inputs) || len(call.Outputs) > len(body.Outputs) {
		return call.Errorf("the call has %d inputs and %d outputs, the function %d and %d", len(call.Inputs), len(call.Outputs), len(body.Inputs), len(body.Outputs))
	}
	made, err := in.body(call, body)
	for i := 0; i < len(made) && err == nil; i++ {
		err = in.call(made[i])
	}
	return err
}

// body puts the nodes of a body in the place of a call.
func (in *inliner) body(call *ir.Node, body *ir.Graph) (made []*ir.Node, err error) {
	at := map[*ir.Value]*ir.Value{nil: nil}
	for i, v := range body.Inputs {
		at[v] = call.Input(i)
	}
	get := func(v *ir.Value) *ir.Value {
		if _, ok := at[v]; !ok && v.Const != nil {
			at[v] = in.g.AddConst(call.Op+"/"+v.Name, v.Const)
		}
		return at[v]
	}
	for n := range body.Nodes() {
		inputs, names := make([]*ir.Value, len(n.Inputs)), make([]string, len(n.Outputs))
		for i, v := range n.Inputs {
			inputs[i] = get(v)
		}
		for i, v := range n.Outputs {
			names[i] = "_"
			if v != nil {
				names[i] = call.Op + "/" + v.Name
			}
		}
		k := in.g.InsertBefore(call, n.Domain, n.Op, n.Attrs.Clone(), inputs, names...)
		k.Name, k.Origin = nodeName(call)+"/"+nodeName(n), call.Origin
		made = append(made, k)
		for i, v := range n.Outputs {
			if v != nil {
				at[v] = k.Outputs[i]
			}
		}
	}
	for i, v := range call.Outputs {
		if v == nil {
			continue
		}
		w := get(body.Outputs[i])
		if w == nil {
			return nil, call.Errorf("output %d of the function is not computed: it is an input that the call leaves out", i)
		}
		in.g.ReplaceUses(v, w)
		if in.moved != nil {
			in.moved(v, w)
		}
	}
	in.g.Remove(call)
	return made, nil
}

func nodeName(n *ir.Node) string {
	if n.Name != "" {
		return n.Name
	}
	return n.Op
}
