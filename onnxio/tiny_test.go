package onnxio

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

var update = flag.Bool("update", false, "write testdata/onnx/vit-block.onnx anew")

const tinyPath = "../testdata/onnx/vit-block.onnx"

// tinyViT is a transformer block of width 8 with two heads over four tokens: a
// model of a few kB with every operator family that a DeiT needs.
func tinyViT() *ir.Graph {
	const tokens, dim, heads, hidden, classes = 4, 8, 2, 16, 3
	g := ir.New("vit-block")
	g.Meta["source"] = "onnxio/tiny_test.go"
	x := g.AddInput("tokens", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(tokens), ir.D(dim)}))
	seed := uint32(1)
	weight := func(name string, scale float64, shape ...int) *ir.Value {
		n, _ := ir.NumElems(shape)
		data := make([]float32, n)
		for i := range data {
			seed = seed*1664525 + 1013904223
			data[i] = float32(math.Round((float64(seed>>8)/(1<<24)-0.5)*scale*4096) / 4096)
		}
		return g.AddConst(name, ir.Of(data, shape...))
	}
	ints := func(name string, v ...int64) *ir.Value { return g.AddConst(name, ir.Of(v, len(v))) }
	add := func(op, name string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
		n := g.Add(op, name, attrs, in...)
		n.Name = "block/" + name
		return n.Out()
	}
	linear := func(name string, x *ir.Value, in, out int) *ir.Value {
		y := add("MatMul", name+"/matmul", nil, x, weight(name+".weight", 1, in, out))
		return add("Add", name, nil, weight(name+".bias", 0.2, out), y)
	}
	norm := func(name string, x *ir.Value) *ir.Value {
		return add("LayerNormalization", name, ir.Attrs{"axis": int64(-1), "epsilon": float32(1e-6)}, x,
			weight(name+".weight", 2, dim), weight(name+".bias", 0.2, dim))
	}
	qkv := add("Reshape", "qkv/heads", nil, linear("qkv", norm("norm1", x), dim, 3*dim), ints("qkv/shape", 0, tokens, 3, heads, dim/heads))
	qkv = add("Transpose", "qkv/transpose", ir.Attrs{"perm": ir.Int64s(2, 0, 3, 1, 4)}, qkv)
	split := g.InsertBefore(nil, "", "Split", ir.Attrs{"axis": int64(0)}, []*ir.Value{qkv, ints("qkv/split", 1, 1, 1)}, "q5", "k5", "v5")
	split.Name = "block/split"
	var part [3]*ir.Value
	zero := ints("axis0", 0)
	for i, name := range []string{"q", "k", "v"} {
		part[i] = add("Squeeze", name, nil, split.Outputs[i], zero)
	}
	kt := add("Transpose", "kt", ir.Attrs{"perm": ir.Int64s(0, 1, 3, 2)}, part[1])
	scores := add("Mul", "scores", nil, add("MatMul", "qk", nil, part[0], kt), g.AddConst("scale", ir.Scalar(float32(0.5))))
	ctx := add("MatMul", "context", nil, add("Softmax", "probs", ir.Attrs{"axis": int64(-1)}, scores), part[2])
	ctx = add("Reshape", "context/tokens", nil, add("Transpose", "context/transpose", ir.Attrs{"perm": ir.Int64s(0, 2, 1, 3)}, ctx),
		ints("context/shape", 0, tokens, dim))
	x = add("Add", "residual1", nil, x, linear("proj", ctx, dim, dim))
	h := linear("fc1", norm("norm2", x), dim, hidden)
	erf := add("Erf", "erf", nil, add("Div", "gelu/div", nil, h, g.AddConst("sqrt2", ir.Scalar(float32(math.Sqrt2)))))
	h = add("Mul", "gelu/mul", nil, h, add("Add", "gelu/add", nil, erf, g.AddConst("one", ir.Scalar(float32(1)))))
	h = add("Mul", "gelu", nil, h, g.AddConst("half", ir.Scalar(float32(0.5))))
	x = add("Add", "residual2", nil, x, linear("fc2", h, hidden, dim))
	pooled := add("ReduceMean", "pool", ir.Attrs{"keepdims": int64(0)}, x, ints("axis1", 1))
	head := g.Add("Gemm", "logits", ir.Attrs{"transB": int64(1)}, pooled, weight("head.weight", 1, classes, dim), weight("head.bias", 0.2, classes))
	head.Name = "head"
	head.Out().Type = ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(classes)})
	g.AddOutput(head.Out())
	return g
}

func tinyBytes(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(tinyPath)
	must(t, err)
	return b
}

// The committed model is what this generator writes today.
func TestTinyModelIsCurrent(t *testing.T) {
	g := tinyViT()
	must(t, g.Check())
	b, err := Encode(g, WriteOptions{})
	must(t, err)
	if *update {
		must(t, os.WriteFile(tinyPath, b, 0o644))
	}
	if want := tinyBytes(t); !bytes.Equal(b, want) {
		t.Errorf("%s differs from its generator; run go test -run Tiny -update ./onnxio", tinyPath)
	}
	m, err := ReadModel(b, Options{})
	must(t, err)
	if v := m.Proto.OpsetImport[0].GetVersion(); v != 17 {
		t.Errorf("opset %d, want 17: LayerNormalization asks for no more", v)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// checkMessage: one printable line of at most 4 KiB, from the one error type.
func checkMessage(t testing.TB, err error) {
	t.Helper()
	msg := err.Error()
	if len(msg) > MaxMessageBytes || strings.ContainsFunc(msg, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("message of %d bytes: %q", len(msg), msg)
	}
	if e := (*ir.Error)(nil); !errors.As(err, &e) {
		t.Errorf("%T is no *ir.Error: %v", err, err)
	}
}
