package zoo

import (
	"context"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// pen adds nodes to a graph under the dotted name of the module it stands in.
type pen struct {
	ctx  context.Context
	g    *ir.Graph
	seed uint64
	at   string // module, such as "blocks.3.attn"; empty at the top
}

// in is the pen of a module inside this one.
func (p pen) in(module string) pen {
	if p.at != "" {
		module = p.at + "." + module
	}
	p.at = module
	return p
}

func (p pen) name(s string) string {
	if p.at == "" {
		return s
	}
	return p.at + "." + s
}

// node adds an operator; its name is the path of modules, as PyTorch writes it.
func (p pen) node(op string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
	out := p.at
	if out == "" {
		out = strings.ToLower(op)
	}
	n := p.g.Add(op, out, attrs, in...)
	n.Name = "/" + strings.ReplaceAll(p.at, ".", "/") + "/" + op
	if p.at == "" {
		n.Name = "/" + op
	}
	return n.Out()
}

func (p pen) ints(name string, v ...int) *ir.Value {
	return p.g.AddConst(p.name(name), ir.Of(ir.Int64s(v...), len(v)))
}

// scalar is a 0-d float constant.
func (p pen) scalar(name string, v float64) *ir.Value {
	return p.g.AddConst(p.name(name), ir.Scalar(float32(v)))
}

// filled is a float constant of one value.
func (p pen) filled(name string, v float32, shape ...int) *ir.Value {
	t, _ := ir.NewTensor(ir.Float32, shape...)
	for i := range t.F32() {
		t.F32()[i] = v
	}
	return p.g.AddConst(p.name(name), t)
}

// drawn is a float constant from a normal distribution cut off at two
// deviations, which keeps 0.88 of its deviation.
func (p pen) drawn(name string, std float64, shape ...int) *ir.Value {
	name = p.name(name)
	t, _ := ir.NewTensor(ir.Float32, shape...)
	normal(p.ctx, t.F32(), std, p.seed, name)
	return p.g.AddConst(name, t)
}

// normal fills x from a generator that seed and name decide, or leaves it when ctx ends.
func normal(ctx context.Context, x []float32, std float64, seed uint64, name string) {
	h := fnv.New64a()
	h.Write([]byte(name))
	r := rand.New(rand.NewPCG(seed, h.Sum64()))
	for i := range x {
		if i%(1<<16) == 0 && ctx.Err() != nil {
			return
		}
		v := r.NormFloat64()
		for math.Abs(v) > 2 {
			v = r.NormFloat64()
		}
		x[i] = float32(v * std)
	}
}

func (p pen) reshape(x *ir.Value, dims ...int) *ir.Value {
	return p.node("Reshape", nil, x, p.ints("shape", dims...))
}

func (p pen) transpose(x *ir.Value, perm ...int) *ir.Value {
	return p.node("Transpose", ir.Attrs{"perm": ir.Int64s(perm...)}, x)
}

// linear is x·W + b on the last axis, W [in, out] drawn with the given gain
// over 1/sqrt(in); without bias where bias is false.
func (p pen) linear(x *ir.Value, in, out int, gain float64, bias bool) *ir.Value {
	y := p.node("MatMul", nil, x, p.drawn("weight", gain/math.Sqrt(float64(in)), in, out))
	if bias {
		y = p.node("Add", nil, y, p.filled("bias", 0, out))
	}
	return y
}

func (p pen) layerNorm(x *ir.Value, dim int, eps float32) *ir.Value {
	return p.node("LayerNormalization", ir.Attrs{"axis": int64(-1), "epsilon": eps}, x, p.filled("weight", 1, dim), p.filled("bias", 0, dim))
}

// gelu is x·(1 + erf(x/√2))/2 in the operators of opset 17.
func (p pen) gelu(x *ir.Value) *ir.Value {
	e := p.node("Erf", nil, p.node("Div", nil, x, p.scalar("sqrt2", math.Sqrt2)))
	y := p.node("Mul", nil, x, p.node("Add", nil, e, p.scalar("one", 1)))
	return p.node("Mul", nil, y, p.scalar("half", 0.5))
}

// geluTanh is x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, as PyTorch's exporter writes it.
func (p pen) geluTanh(x *ir.Value) *ir.Value {
	cube := p.node("Mul", nil, x, p.node("Mul", nil, x, x))
	sum := p.node("Add", nil, x, p.node("Mul", nil, cube, p.scalar("cubic", 0.044715)))
	th := p.node("Tanh", nil, p.node("Mul", nil, sum, p.scalar("sqrt2pi", math.Sqrt(2/math.Pi))))
	y := p.node("Mul", nil, x, p.node("Add", nil, th, p.scalar("one", 1)))
	return p.node("Mul", nil, y, p.scalar("half", 0.5))
}

// mlp is fc2(gelu(fc1(x))).
func (p pen) mlp(x *ir.Value, dim, hidden int, gain float64, tanh bool) *ir.Value {
	h := p.in("fc1").linear(x, dim, hidden, 1, true)
	gelu := p.in("act").gelu
	if tanh {
		gelu = p.in("act").geluTanh
	}
	return p.in("fc2").linear(gelu(h), hidden, dim, gain*geluGain, true)
}

// geluGain undoes what GELU takes from the deviation of a unit normal.
const geluGain = 1.7

// patches is the convolution that cuts the image, its bias included.
func (p pen) patches(x *ir.Value, channels, patch, dim int) *ir.Value {
	std := 1 / math.Sqrt(float64(channels*patch*patch))
	sq := ir.Int64s(patch, patch)
	return p.node("Conv", ir.Attrs{"kernel_shape": sq, "strides": ir.Int64s(patch, patch), "dilations": ir.Int64s(1, 1), "pads": ir.Int64s(0, 0, 0, 0), "group": int64(1)},
		x, p.drawn("weight", std, dim, channels, patch, patch), p.filled("bias", 0, dim))
}

// split takes [3, ...] apart along its first axis into q, k and v.
func (p pen) split(x *ir.Value) (q, k, v *ir.Value) {
	n := p.g.InsertBefore(nil, "", "Split", ir.Attrs{"axis": int64(0)}, []*ir.Value{x, p.ints("split", 1, 1, 1)}, p.name("q"), p.name("k"), p.name("v"))
	n.Name = "/" + strings.ReplaceAll(p.at, ".", "/") + "/Split"
	axes := p.ints("axes", 0)
	for i, o := range []**ir.Value{&q, &k, &v} {
		*o = p.node("Squeeze", nil, n.Outputs[i], axes)
	}
	return q, k, v
}

// head is the classifier, a Gemm on [batch, dim].
func (p pen) head(x *ir.Value, dim, classes int) {
	h := p.in("head")
	w := h.drawn("weight", 1/math.Sqrt(float64(dim)), classes, dim)
	n := p.g.Add("Gemm", "logits", ir.Attrs{"transB": int64(1)}, x, w, h.filled("bias", 0, classes))
	n.Name = "/head/Gemm"
	p.g.AddOutput(n.Out())
}

// begin makes the graph with its image input.
func begin(ctx context.Context, name string, seed uint64, channels, image int) (pen, *ir.Value) {
	g := ir.New(name)
	return pen{ctx: ctx, g: g, seed: seed}, g.AddInput("input", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(channels), ir.D(image), ir.D(image)}))
}

// finish gives the values their types. Weights are missing only where ctx has ended.
func finish(p pen) (*ir.Graph, error) {
	if err := p.ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := ops.Infer(p.g); err != nil {
		return nil, err
	}
	return p.g, nil
}
