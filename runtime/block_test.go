package runtime

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// vit builds a small DeiT: patch embedding, class token, positions, one block,
// norm, head. quant puts a FakeQuant on every operand of a product.
func vit(b *bench, quant bool) (x *ir.Value) {
	const (
		dim, heads, d, tokens = 12, 3, 4, 5
		mlp                   = 24
	)
	x = b.g.AddInput("image", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("batch"), ir.D(1), ir.D(8), ir.D(8)}))
	perm := func(p ...int) ir.Attrs { return ir.Attrs{"perm": ir.Int64s(p...)} }
	act := func(v *ir.Value, signed int64, perHead bool) *ir.Value {
		if !quant {
			return v
		}
		if perHead {
			return b.own("FakeQuant", ir.Attrs{"bits": int64(4), "signed": signed, "axis": int64(1)}, v, b.par(0.1, 0.3, heads))
		}
		return b.own("FakeQuant", ir.Attrs{"bits": int64(4), "signed": signed}, v, b.par(0.1, 0.3), b.par(-1, 1))
	}
	linear := func(v *ir.Value, k, n int) *ir.Value {
		w := b.par(-0.3, 0.3, k, n)
		if quant {
			v = act(v, 1, false)
			w = b.own("FakeQuant", ir.Attrs{"bits": int64(4), "signed": int64(1), "axis": int64(1)}, w, b.par(0.03, 0.05, n))
		}
		return b.op("Add", nil, b.op("MatMul", nil, v, w), b.par(-0.1, 0.1, n))
	}
	norm := func(v *ir.Value) *ir.Value {
		return b.op("LayerNormalization", ir.Attrs{"axis": int64(-1), "epsilon": float32(1e-6)}, v, b.par(0.8, 1.2, dim), b.par(-0.1, 0.1, dim))
	}

	h := b.op("Conv", ir.Attrs{"strides": []int64{4, 4}}, x, b.par(-0.3, 0.3, dim, 1, 4, 4), b.par(-0.1, 0.1, dim))
	h = b.op("Transpose", perm(0, 2, 1), b.op("Reshape", nil, h, b.ints(0, dim, -1)))
	shape := b.op("Concat", ir.Attrs{"axis": int64(0)}, b.op("Slice", nil, b.op("Shape", nil, x), b.ints(0), b.ints(1)), b.ints(1, dim))
	h = b.op("Concat", ir.Attrs{"axis": int64(1)}, b.op("Expand", nil, b.par(-1, 1, 1, 1, dim), shape), h)
	h = b.op("Add", nil, h, b.par(-1, 1, 1, tokens, dim))

	qkv := linear(norm(h), dim, 3*dim)
	qkv = b.op("Transpose", perm(2, 0, 3, 1, 4), b.op("Reshape", nil, qkv, b.ints(0, 0, 3, heads, d)))
	n := b.g.InsertBefore(nil, "", "Split", ir.Attrs{"axis": int64(0), "num_outputs": int64(3)}, []*ir.Value{qkv}, "q", "k", "v")
	var part [3]*ir.Value
	for i, o := range n.Outputs {
		part[i] = act(b.op("Squeeze", nil, o, b.ints(0)), 1, true)
	}
	scores := b.op("MatMul", nil, part[0], b.op("Transpose", perm(0, 1, 3, 2), part[1]))
	probs := act(b.op("Softmax", nil, b.op("Mul", nil, scores, b.con(0.5, 0.5))), 0, true)
	ctx := b.op("Transpose", perm(0, 2, 1, 3), b.op("MatMul", nil, probs, part[2]))
	h = b.op("Add", nil, h, linear(b.op("Reshape", nil, ctx, b.ints(0, 0, dim)), dim, dim))
	h = b.op("Add", nil, h, linear(b.op("Gelu", nil, linear(norm(h), dim, mlp)), mlp, dim))
	cls := b.op("Gather", ir.Attrs{"axis": int64(1)}, norm(h), b.g.AddConst("zero", ir.Scalar(int64(0))))
	logits := b.op("Gemm", ir.Attrs{"transB": int64(1)}, cls, b.par(-1, 1, 7, dim), b.par(-1, 1, 7))
	b.g.AddOutput(logits)
	b.taps = []*ir.Value{part[0], part[1]}
	return x
}

func TestBlockForward(t *testing.T) {
	for _, quant := range []bool{false, true} {
		b := newBench(5)
		vit(b, quant)
		b.checkForward(t, true, 2e-5)
		b.params = nil
		b.checkForward(t, false, 2e-5)
	}
}

// TestBlockGradients turns the image into a parameter, so that the whole network
// down to it is checked.
func TestBlockGradients(t *testing.T) {
	b := newBench(6)
	x := vit(b, false)
	img := b.par(-1, 1, 2, 1, 8, 8)
	b.g.ReplaceUses(x, img)
	b.g.Inputs = nil
	b.checkGradientsOnce(t, 5e-4)
}

// TestBlockRepeats wants the same bits from any run and any state.
func TestBlockRepeats(t *testing.T) {
	b := newBench(7)
	x := vit(b, true)
	p := b.compile(t, true)
	var first [][]float32
	for try := range 3 {
		s := p.NewState()
		for range try + 1 {
			r := newBench(8)
			copy(s.Input(x), r.floats(len(s.Input(x)), -1, 1))
			grads := make([][]float32, len(b.params))
			for i, v := range b.params {
				grads[i] = make([]float32, v.Const.Len())
			}
			if err := s.Forward(); err != nil {
				t.Fatal(err)
			}
			for _, o := range append(slices.Clone(b.g.Outputs), b.taps...) {
				copy(s.Seed(o), r.floats(len(s.Seed(o)), -1, 1))
			}
			s.Backward(grads)
			got := append(grads, slices.Clone(s.Value(b.g.Outputs[0])), slices.Clone(s.Value(b.taps[0])))
			if first == nil {
				first = got
			}
			for i := range got {
				for j, v := range got[i] {
					if math.Float32bits(v) != math.Float32bits(first[i][j]) {
						t.Fatalf("run %d differs: tensor %d element %d", try, i, j)
					}
				}
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	b := newBench(9)
	vit(b, true)
	s := b.compile(t, true).NewState()
	grads := make([][]float32, len(b.params))
	for i, v := range b.params {
		grads[i] = make([]float32, v.Const.Len())
	}
	n := testing.AllocsPerRun(5, func() {
		if err := s.Forward(); err != nil {
			t.Fatal(err)
		}
		s.Backward(grads)
	})
	if n != 0 {
		t.Errorf("Forward and Backward allocate %v times", n)
	}
}

// TestTrainMemory wants the arena to be smaller than keeping everything.
func TestTrainMemory(t *testing.T) {
	b := newBench(9)
	vit(b, false)
	train := b.compile(t, true)
	b.params, b.taps = nil, nil
	infer := b.compile(t, false)
	all := 0
	for _, v := range train.values {
		if v.kind == inArena {
			all += v.n
		}
	}
	if train.floats >= 2*all || infer.floats*2 >= train.floats {
		t.Errorf("arena: %d floats to train, %d to infer; activations alone are %d", train.floats, infer.floats, all)
	}
}

// TestOtherElementTypes runs a float64 graph, through the oracle.
func TestOtherElementTypes(t *testing.T) {
	b := newBench(4)
	x := b.g.AddInput("x", ir.TensorType(ir.Float64, ir.Shape{ir.Sym("n"), ir.D(3)}))
	w := b.g.AddConst("w", ir.Of([]float64{1, 2, 3, 4, 5, 6}, 3, 2))
	b.g.AddOutput(b.op("MatMul", nil, x, w))
	s := b.compile(t, false).NewState()
	wantError(t, s.Forward(), `"x"`, "has not been set")
	if err := s.SetInput(x, ir.Of([]float64{1, 0, 0, 0, 1, 1}, 2, 3)); err != nil {
		t.Fatal(err)
	}
	if err := s.Forward(); err != nil {
		t.Fatal(err)
	}
	if got := ir.Data[float64](s.Tensor(b.g.Outputs[0])); !slices.Equal(got, []float64{1, 2, 8, 10}) {
		t.Errorf("%v", got)
	}
	wantError(t, s.SetInput(x, ir.Of([]float32{1, 2, 3}, 1, 3)), `"x"`, "f64[2 3]", "f32[1 3]")
}

// TestFunctions inlines model-local functions.
func TestFunctions(t *testing.T) {
	body := ir.New("body")
	in := body.AddInput("a", ir.Type{})
	two := body.AddConst("two", ir.Scalar(float32(2)))
	body.AddOutput(body.Add("Add", "r", nil, body.Add("Mul", "m", nil, in, two).Out(), in).Out())
	b := newBench(4)
	b.g.Functions = []*ir.Function{{Domain: "com.example", Name: "Triple", Body: body}}
	x := b.par(-1, 1, 5)
	y := b.g.InsertBefore(nil, "com.example", "Triple", nil, []*ir.Value{x}, "y").Out()
	b.g.AddOutput(b.op("Mul", nil, y, b.g.InsertBefore(nil, "com.example", "Triple", nil, []*ir.Value{y}, "z").Out()))
	b.taps = []*ir.Value{y}
	p := b.compile(t, true)
	s := p.NewState()
	if err := s.Forward(); err != nil {
		t.Fatal(err)
	}
	grad := make([]float32, 5)
	for i := range s.Seed(b.g.Outputs[0]) {
		s.Seed(b.g.Outputs[0])[i] = 1
	}
	s.Backward([][]float32{grad})
	for i, v := range x.Const.F32() {
		near(t, "tap", float64(s.Value(y)[i]), 3*float64(v), 1e-6)
		near(t, "27x²", float64(s.Value(b.g.Outputs[0])[i]), 27*float64(v)*float64(v), 1e-6)
		near(t, "54x", float64(grad[i]), 54*float64(v), 1e-6)
	}
}

func TestProfile(t *testing.T) {
	b := newBench(9)
	vit(b, false)
	s := b.compile(t, true).NewState()
	s.EnableProfile()
	if err := s.Forward(); err != nil {
		t.Fatal(err)
	}
	var ops []string
	for _, p := range s.Profile() {
		ops = append(ops, p.Op)
	}
	if !slices.Contains(ops, "Conv") || slices.Contains(ops, "Reshape") || slices.Contains(ops, "Shape") {
		t.Errorf("steps: %v", ops)
	}
}

func TestCompileErrors(t *testing.T) {
	cases := []struct {
		name  string
		build func(b *bench) Config
		want  []string
	}{
		{"no batch", func(b *bench) Config { vit(b, false); return Config{} }, []string{`tensor "image"`, "batch size"}},
		{"rank", func(b *bench) Config {
			vit(b, false)
			return Config{Shapes: map[string][]int{"image": {1, 8}}}
		}, []string{`"image"`, "rank 4"}},
		{"size", func(b *bench) Config {
			vit(b, false)
			return Config{Shapes: map[string][]int{"image": {1, 1, 8, 9}}}
		}, []string{`"image"`, "[1 1 8 9]"}},
		{"fixed batch", func(b *bench) Config {
			b.g.AddOutput(b.op("Neg", nil, b.g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(1, 8)))))
			return Config{Batch: 4}
		}, []string{`"x"`, "batches of 4, only of 1"}},
		{"unknown operator", func(b *bench) Config {
			b.g.AddOutput(b.g.InsertBefore(nil, "com.example", "Magic", nil, []*ir.Value{b.par(0, 1, 2)}, "out").Out())
			b.g.Outputs[0].Type = ir.TensorType(ir.Float32, ir.Known(2))
			return Config{}
		}, []string{`"out" (Magic)`, "not supported"}},
		{"no gradient", func(b *bench) Config {
			b.g.AddOutput(b.op("Ceil", nil, b.par(0, 1, 2)))
			return Config{Train: true, Params: b.params}
		}, []string{"(Ceil)", "cannot be differentiated"}},
		{"integer parameter", func(b *bench) Config {
			v := b.ints(1, 2)
			b.g.AddOutput(b.op("Cast", ir.Attrs{"to": int64(1)}, v))
			return Config{Params: []*ir.Value{v}}
		}, []string{"i64", "only f32"}},
		{"foreign tap", func(b *bench) Config {
			vit(b, false)
			return Config{Batch: 1, Taps: []*ir.Value{{Name: "stranger"}}}
		}, []string{`"stranger"`, "not a value of the graph"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(1)
			cfg := c.build(b)
			_, err := Compile(b.g, cfg)
			wantError(t, err, c.want...)
		})
	}
}

func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not contain %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error has more than one line: %q", err)
	}
}
