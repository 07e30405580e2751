package runtime

import (
	"fmt"
	"math"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// attention is q·kᵀ and p·v on quantised operands; k is moved by perm before the
// product reads it.
func attention(b *bench, perm []int64) {
	quant := func(v *ir.Value, signed int64, axis int) *ir.Value {
		return b.own("FakeQuant", ir.Attrs{"bits": int64(4), "signed": signed, "axis": int64(axis)}, v, b.par(0.1, 0.3, 3))
	}
	shape := make([]int, 4) // of k before it is moved: heads 3, tokens 5, width 4
	for i, p := range perm {
		shape[p] = []int{2, 3, 4, 5}[i]
	}
	axis := 1
	for i, d := range shape {
		if d == 3 {
			axis = i
		}
	}
	q, k, v := b.act(-1, 1, 2, 3, 5, 4), b.act(-1, 1, shape...), b.act(-1, 1, 2, 3, 5, 6)
	s := b.op("MatMul", nil, quant(q, 1, 1), b.op("Transpose", ir.Attrs{"perm": perm}, quant(k, 1, axis)))
	p := quant(b.op("Softmax", nil, s), 0, 1)
	b.g.AddOutput(b.op("MatMul", nil, p, quant(v, 1, 1)))
}

// TestIntegerProducts wants the exact sums of codes whatever way k is turned, by
// the oracle, and gradients like those of the float products.
func TestIntegerProducts(t *testing.T) {
	for _, perm := range [][]int64{{0, 1, 3, 2}, {0, 2, 3, 1}} {
		t.Run(fmt.Sprint(perm), func(t *testing.T) {
			b := newBench(4)
			attention(b, perm)
			p := b.compile(t, true)
			count := 0
			for _, s := range p.steps {
				if _, ok := s.(*integerMatmul); ok {
					count++
				}
			}
			if count != 2 {
				t.Fatalf("%d products run on codes, want 2", count)
			}
			b.checkForward(t, true, 1e-6)
			compareWithFloat(t, b)
		})
	}
}

// TestIntegerGradients compares whole networks.
func TestIntegerGradients(t *testing.T) {
	b := newBench(11)
	vit(b, true)
	compareWithFloat(t, b)
}

// compareWithFloat wants the gradients that products of floats give.
func compareWithFloat(t *testing.T, b *bench) {
	t.Helper()
	var grads [2][][]float32
	r := b.floats(1<<12, -1, 1)
	for i := range grads {
		p, err := Compile(b.g, Config{Batch: 2, Train: true, Params: b.params, floatProducts: i == 1})
		if err != nil {
			t.Fatal(err)
		}
		s := p.NewState()
		for _, v := range b.g.Inputs {
			copy(s.Input(v), r)
		}
		if err := s.Forward(); err != nil {
			t.Fatal(err)
		}
		copy(s.Seed(b.g.Outputs[0]), r)
		for _, v := range b.params {
			grads[i] = append(grads[i], make([]float32, v.Const.Len()))
		}
		s.Backward(grads[i])
	}
	for i, g := range grads[0] {
		for k, v := range g {
			near(t, fmt.Sprintf("gradient %d[%d]", i, k), float64(v), float64(grads[1][i][k]), 1e-4)
		}
	}
}

// TestFastBackward compares the gradients of 16-bit products with those in
// float: alike but for their rounding, through a whole network.
func TestFastBackward(t *testing.T) {
	nets := []func(*bench){
		func(b *bench) { vit(b, true) },
		func(b *bench) { attention(b, []int64{0, 1, 3, 2}) },
		func(b *bench) { attention(b, []int64{0, 2, 3, 1}) },
	}
	for i, net := range nets {
		b := newBench(31)
		net(b)
		data := b.floats(1<<12, -1, 1)
		var g [2][]float32
		for k := range g {
			p, err := Compile(b.g, Config{Batch: 2, Train: true, Params: b.params, FastBackward: k == 1})
			if err != nil {
				t.Fatal(err)
			}
			g[k] = gradients(t, p, p.NewState(), b.g, data)
		}
		var diff, norm float64
		for k, v := range g[0] {
			diff += float64(g[1][k]-v) * float64(g[1][k]-v)
			norm += float64(v) * float64(v)
		}
		if e := math.Sqrt(diff / norm); !(e < 1e-3) || e == 0 {
			t.Errorf("network %d: relative difference %g, want some below 1e-3", i, e)
		}
	}
}

// TestLinearMatchesPacked compares a linear layer with the packed operator that
// has its codes: every bit of the answer.
func TestLinearMatchesPacked(t *testing.T) {
	const m, k, n = 9, 21, 10
	b := newBench(8)
	x := b.act(-1, 1, m, k)
	w, ws, bias := b.par(-0.5, 0.5, k, n), b.par(0.05, 0.1, n), b.par(-1, 1, n)
	xs, xz := b.par(0.1, 0.2), b.par(-2, 3)
	qx := b.own("FakeQuant", ir.Attrs{"bits": int64(4), "signed": int64(1)}, x, xs, xz)
	qw := b.own("FakeQuant", ir.Attrs{"bits": int64(8), "signed": int64(1), "axis": int64(1)}, w, ws)
	y := b.op("Add", nil, b.op("MatMul", nil, qx, qw), bias)
	b.g.AddOutput(y)

	codes := make([]int8, n*k)
	for i, v := range w.Const.F32() {
		q := math.RoundToEven(float64(v / ws.Const.F32()[i%n]))
		codes[i%n*k+i/n] = int8(min(max(q, -128), 127))
	}
	zero := uint8(math.RoundToEven(float64(xz.Const.F32()[0])) + 8)
	g := ir.New("packed")
	in := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(m, k)))
	out := g.InsertBefore(nil, ir.Domain, "QLinearW8A4", nil, []*ir.Value{in, g.AddConst("w", ir.Of(codes, n, k)), g.AddConst("ws", ws.Const),
		g.AddConst("xs", xs.Const), g.AddConst("xz", ir.Scalar(zero)), g.AddConst("b", bias.Const)}, "y").Out()
	g.AddOutput(out)
	if _, err := ops.Infer(g); err != nil {
		t.Fatal(err)
	}
	packed, err := Compile(g, Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := packed.NewState()
	copy(want.Input(in), b.params[0].Const.F32())
	if err := want.Forward(); err != nil {
		t.Fatal(err)
	}
	have := b.compile(t, true).NewState()
	if err := have.Forward(); err != nil {
		t.Fatal(err)
	}
	for i, v := range want.Value(out) {
		if math.Float32bits(v) != math.Float32bits(have.Value(y)[i]) {
			t.Fatalf("y[%d] = %v, the packed operator gives %v", i, have.Value(y)[i], v)
		}
	}
}
