package onnxgo

import (
	"context"
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/runtime"
)

const (
	// marker is the name of an initializer in files that Lower wrote. It holds the
	// opset of their operators, which onnx-go does not pass on.
	marker = ir.Domain + ".opset"

	// canonicalOpset is the opset of package ir's operators.
	canonicalOpset = onnxio.MaxOpset
)

// plan is the model ready to run on inputs of certain types.
type plan struct {
	key     string // types of the inputs
	session *runtime.Session
	inputs  map[*value]string // names in the session
	outputs map[*value]string
}

func (p *plan) holds(v *value) bool { _, ok := p.outputs[v]; return ok }

// Run computes the model's outputs from the tensors of its inputs. Their shapes
// may differ from one call to the next as far as the model allows. The results
// are new tensors; those of earlier runs stay as they are.
func (b *Backend) Run() error {
	if len(b.ops) == 0 {
		return fmt.Errorf("onnxgo: the backend holds no model: decode one with onnx.Model.UnmarshalBinary")
	}
	b.sortSources()
	in := map[*value]*ir.Tensor{}
	var key strings.Builder
	for _, v := range b.values {
		if !v.input || !v.read {
			continue
		}
		if !v.given {
			return &ir.Error{Tensor: v.name, Msg: "the input is not set: call onnx.Model.SetInput before Run"}
		}
		t, err := fromTensor(v.t)
		if err != nil {
			return &ir.Error{Tensor: v.name, Msg: err.Error()}
		}
		in[v] = t
		fmt.Fprintf(&key, "%v;", t.Type())
	}
	for _, v := range b.values {
		if v.asked {
			fmt.Fprintf(&key, "%q;", v.name)
		}
	}
	if b.plan == nil || b.plan.key != key.String() {
		p, err := b.build(in)
		if err != nil {
			return err
		}
		p.key = key.String()
		b.plan = p
	}
	feed := make(map[string]*ir.Tensor, len(in))
	for v, t := range in {
		feed[b.plan.inputs[v]] = t
	}
	got, err := b.plan.session.Run(context.Background(), feed)
	if err != nil {
		return err
	}
	for v, name := range b.plan.outputs {
		if v.t, err = toTensor(got[name]); err != nil {
			return &ir.Error{Tensor: v.name, Msg: err.Error()}
		}
	}
	return nil
}

// build makes the graph for inputs of these types.
func (b *Backend) build(in map[*value]*ir.Tensor) (*plan, error) {
	g := ir.New("onnx-go")
	of := map[*value]*ir.Value{}
	p := &plan{inputs: map[*value]string{}, outputs: map[*value]string{}}
	for _, v := range b.values {
		if t := in[v]; t != nil {
			of[v] = g.AddInput(v.name, t.Type())
			p.inputs[v] = of[v].Name
		}
	}
	for i := range b.ops {
		err := b.ops[i].addTo(g, of)
		if err != nil && b.byName[marker] == nil {
			err = fmt.Errorf("%w; onnx-go does not tell the file's opset, so operators are taken in their newest form: rewrite the file with onnxgo.Lower", err)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, v := range b.results() {
		g.AddOutput(of[v])
		p.outputs[v] = of[v].Name
	}
	if err := b.checkOpset(g); err != nil {
		return nil, err
	}
	var err error
	p.session, err = runtime.NewSession(g, runtime.Options{})
	return p, err
}

// results lists what a run must give: declared results that nothing reads (all
// that nothing reads where none is declared), and those that were asked for.
func (b *Backend) results() []*value {
	declared := false
	for _, v := range b.values {
		declared = declared || v.computed && v.declared && !v.read
	}
	var out []*value
	for i := range b.ops {
		for _, v := range b.ops[i].outs {
			if v.name != "" && (v.asked || !v.read && (v.declared || !declared)) {
				out = append(out, v)
			}
		}
	}
	return out
}

// addTo appends the operation to g.
func (o *operation) addTo(g *ir.Graph, of map[*value]*ir.Value) error {
	var names []string
	for i, v := range o.outs {
		switch {
		case of[v] != nil:
			return o.errorf("result %d %s is defined twice", i, ir.Quote(v.name))
		case v.name == "":
			names = append(names, "_") // left out
		case v.name == "_":
			names = append(names, "__")
		default:
			names = append(names, v.name)
		}
	}
	if o.name == "Constant" || o.name == unpackOp {
		t, err := o.constant()
		if err != nil {
			return o.errorf("%v", err)
		}
		of[o.outs[0]] = g.AddConst(names[0], t)
		return nil
	}
	var ins []*ir.Value
	if spec := ops.Lookup(o.domain, o.name); len(spec.In) > 0 { // onnx-go makes up an operand where there is none
		for i, v := range o.ins {
			x, err := operand(g, of, v)
			if err != nil {
				return o.errorf("operand %d: %v", i, err)
			}
			ins = append(ins, x)
		}
	}
	n := g.InsertBefore(nil, o.domain, o.name, o.attrs.Clone(), ins, names...)
	n.Name = o.label()
	for i, v := range o.outs {
		if v.name != "" {
			of[v] = n.Outputs[i]
		}
	}
	return ops.Validate(n)
}

// operand finds a value that is read; nil when it is left out.
func operand(g *ir.Graph, of map[*value]*ir.Value, v *value) (*ir.Value, error) {
	switch {
	case v == nil || v.name == "":
		return nil, nil
	case of[v] != nil:
		return of[v], nil
	case v.computed:
		return nil, fmt.Errorf("%s is read before it is computed", ir.Quote(v.name))
	case v.t == nil:
		return nil, fmt.Errorf("%s has no data", ir.Quote(v.name))
	}
	t, err := fromTensor(v.t)
	if err != nil {
		return nil, fmt.Errorf("%s: %v", ir.Quote(v.name), err)
	}
	of[v] = g.AddConst(v.name, t)
	return of[v], nil
}

// constant is the content of a Constant node, or of one whose element type
// onnx-go cannot hold.
func (o *operation) constant() (*ir.Tensor, error) {
	if o.name == unpackOp {
		if len(o.ins) != 1 || o.ins[0].t == nil {
			return nil, fmt.Errorf("needs one operand, a tensor of int32 words")
		}
		w, err := fromTensor(o.ins[0].t)
		if err != nil {
			return nil, err
		}
		return fromWords(w, ir.Elem(o.attrs.Int("elem", 0)), o.attrs.Ints("shape"))
	}
	for _, name := range o.attrs.Names() {
		switch v := o.attrs[name].(type) {
		case *ir.Tensor:
			return v, nil
		case float32:
			return ir.Scalar(v), nil
		case int64:
			return ir.Scalar(v), nil
		case string:
			return ir.Scalar(v), nil
		case []float32:
			return ir.Of(v, len(v)), nil
		case []int64:
			return ir.Of(v, len(v)), nil
		case []string:
			return ir.Of(v, len(v)), nil
		}
	}
	return nil, fmt.Errorf("has no value")
}

// checkOpset refuses what cannot be understood without the opset: files that
// Lower wrote for operators of another one, and, in other files, operators whose
// meaning has changed while their form has not.
func (b *Backend) checkOpset(g *ir.Graph) error {
	if v := b.byName[marker]; v != nil && v.t != nil {
		t, err := fromTensor(v.t)
		if err != nil || t.Elem != ir.Int64 || t.Len() != 1 {
			return &ir.Error{Tensor: marker, Msg: "does not hold the opset: the file was changed after onnxgo.Lower wrote it"}
		}
		if t.Int(0) != canonicalOpset {
			return fmt.Errorf("onnxgo: the file was lowered to opset %d, this version runs opset %d: lower the model again", t.Int(0), canonicalOpset)
		}
		return nil
	}
	if _, err := ops.Infer(g); err != nil {
		return err
	}
	for n := range g.Nodes() {
		if why := dependsOnOpset(n); why != "" {
			return n.Errorf("%s, and onnx-go does not tell the file's opset: rewrite the file with onnxgo.Lower", why)
		}
	}
	return nil
}

func dependsOnOpset(n *ir.Node) string {
	switch {
	case n.Is("Softmax") || n.Is("LogSoftmax") || n.Is("Hardmax"):
		// before opset 13 the default axis is 1, and all axes from it on are one
		rank := n.Inputs[0].Type.Rank()
		axis := n.Attrs.Int("axis", 1)
		if axis < 0 {
			axis += rank
		}
		if rank > 0 && axis == rank-1 {
			return ""
		}
		return "over any axis but the last it means something else before opset 13"
	case n.Is("RoiAlign") && !n.Attrs.Has("coordinate_transformation_mode"):
		return "its default coordinates differ before opset 16"
	}
	return ""
}
