package export

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/passes"
)

var widths = []int{2, 3, 4, 8}

// randomTensor draws values between -2 and 2 with some on exact rounding ties.
func randomTensor(r *rand.Rand, scale float32, shape ...int) *ir.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = 4*r.Float32() - 2
		if r.IntN(4) == 0 {
			x[i] = scale * (float32(r.IntN(16)-8) + 0.5)
		}
	}
	return ir.Of(x, shape...)
}

// TestBodiesDefineTheOperators evaluates each function body with the oracle and
// compares it with the oracle's own reading of the operator.
func TestBodiesDefineTheOperators(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	const rows, k, n = 5, 24, 7
	for _, w := range widths {
		for _, a := range widths {
			q := make([]int8, n*k)
			for i := range q {
				q[i] = int8(r.IntN(1<<w) - 1<<(w-1))
			}
			packed, err := passes.PackWeights(q, n, k, w)
			if err != nil {
				t.Fatal(err)
			}
			xs := float32(4) / float32(int(1)<<a)
			in := map[string]*ir.Tensor{
				"X": randomTensor(r, xs, 2, rows, k), "B": packed, "Ws": randomTensor(r, 1, n), "Xs": ir.Scalar(xs),
				"Xz": ir.Scalar(uint8(r.IntN(1 << a))), "bias": randomTensor(r, 1, n),
			}
			compare(t, fmt.Sprintf("QLinearW%dA%d", w, a), in, []string{"X", "B", "Ws", "Xs", "Xz", "bias"})
			in = map[string]*ir.Tensor{
				"A": randomTensor(r, xs, 2, 3, rows, 8), "As": ir.Of([]float32{xs, xs / 2, xs / 3}, 1, 3, 1, 1), "Az": ir.Scalar(uint8(1) << (a - 1)),
				"B": randomTensor(r, 0.25, 2, 3, 8, 6), "Bs": ir.Of([]float32{0.25, 0.5, 0.125}, 1, 3, 1, 1), "Bz": ir.Scalar(uint8(0)),
			}
			compare(t, fmt.Sprintf("QMatMulA%dB%d", a, w), in, []string{"A", "As", "Az", "B", "Bs", "Bz"})
		}
	}
}

func compare(t *testing.T, name string, in map[string]*ir.Tensor, order []string) {
	t.Helper()
	f, err := Function(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Body.Check(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	body, err := ops.EvalGraph(f.Body, in)
	if err != nil {
		t.Fatalf("%s: body: %v", name, err)
	}
	g := ir.New(name)
	var args []*ir.Value
	tensors := make([]*ir.Tensor, len(order))
	for i, v := range order {
		args = append(args, g.AddInput(v, in[v].Type()))
		tensors[i] = in[v]
	}
	node := g.InsertBefore(nil, ir.Domain, name, nil, args, "Y")
	direct, err := ops.Eval(node, tensors)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got, want := body["Y"], direct[0]
	if got.Type().String() != want.Type().String() {
		t.Fatalf("%s: body gives %v, operator %v", name, got.Type(), want.Type())
	}
	for i := range want.F32() {
		if g, w := got.F32()[i], want.F32()[i]; g != w {
			t.Fatalf("%s: element %d: body %v, operator %v", name, i, g, w)
		}
	}
}

func TestFunctionRefuses(t *testing.T) {
	for _, name := range []string{"", "QLinear", "QLinearW5A4", "QLinearW4A4x", "QLinearW04A4", "QMatMulA4", "Softmax"} {
		if _, err := Function(name); err == nil {
			t.Errorf("%q: no error", name)
		}
	}
}

func ExampleFunction() {
	f, err := Function("QLinearW4A4")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Domain, f.Name)
	for _, v := range f.Body.Inputs {
		fmt.Print(v.Name, " ")
	}
	fmt.Println("->", f.Body.Outputs[0].Name)
	// Output:
	// ai.qvitc QLinearW4A4
	// X B Ws Xs Xz bias -> Y
}
