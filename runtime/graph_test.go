package runtime

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// bench builds small graphs for tests. Every value that par makes is a
// parameter, so that gradients with respect to it can be checked.
type bench struct {
	g      *ir.Graph
	rng    *rand.Rand
	params []*ir.Value
	taps   []*ir.Value
}

func newBench(seed uint64) *bench {
	return &bench{g: ir.New("test"), rng: rand.New(rand.NewPCG(seed, 7))}
}

func (b *bench) floats(n int, lo, hi float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(lo + (hi-lo)*b.rng.Float64())
	}
	return x
}

// par is a parameter with values in [lo, hi).
func (b *bench) par(lo, hi float64, shape ...int) *ir.Value {
	v := b.g.AddConst(fmt.Sprintf("p%d", len(b.params)), ir.Of(b.floats(size(shape), lo, hi), shape...))
	b.params = append(b.params, v)
	return v
}

// con is a fixed constant with values in [lo, hi).
func (b *bench) con(lo, hi float64, shape ...int) *ir.Value {
	return b.g.AddConst("c", ir.Of(b.floats(size(shape), lo, hi), shape...))
}

// act is an activation: a parameter plus a fixed constant, so that its gradient
// is a buffer of the arena and not the parameter's own.
func (b *bench) act(lo, hi float64, shape ...int) *ir.Value {
	zero := b.g.AddConst("zero", ir.Of(make([]float32, size(shape)), shape...))
	return b.op("Add", nil, b.par(lo, hi, shape...), zero)
}

func (b *bench) ints(v ...int) *ir.Value {
	return b.g.AddConst("i", ir.Of(ir.Int64s(v...), len(v)))
}

func (b *bench) op(op string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
	return b.g.Add(op, "y", attrs, in...).Out()
}

func (b *bench) own(op string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
	return b.g.InsertBefore(nil, ir.Domain, op, attrs, in, "y").Out()
}

// spelled is a normalisation in single operators.
func (b *bench) spelled(x *ir.Value, pow bool) (mean, spread, y *ir.Value) {
	mean = b.op("ReduceMean", nil, x, b.ints(-1))
	c := b.op("Sub", nil, x, mean)
	var sq *ir.Value
	if pow {
		sq = b.op("Pow", nil, c, b.con(2, 2))
	} else {
		sq = b.op("Mul", nil, c, c)
	}
	v := b.op("Add", nil, b.op("ReduceMean", nil, sq, b.ints(-1)), b.con(1e-5, 1e-5))
	spread = b.op("Sqrt", nil, v)
	return mean, spread, b.op("Div", nil, c, spread)
}

// compile plans the graph; train adds the taps too.
func (b *bench) compile(t *testing.T, train bool) *Program {
	t.Helper()
	p, err := Compile(b.g, Config{Batch: 2, Train: train, Params: b.params, Taps: b.taps})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkForward compares every output with the oracle.
func (b *bench) checkForward(t *testing.T, train bool, tol float64) {
	t.Helper()
	in := map[string]*ir.Tensor{}
	p := b.compile(t, train)
	s := p.NewState()
	for _, v := range b.g.Inputs {
		x := ir.Of(b.floats(size(p.Shape(v)), -2, 2), p.Shape(v)...)
		in[v.Name] = x
		copy(s.Input(v), x.F32())
	}
	want, err := ops.EvalGraph(b.g, in)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second run must not see leftovers of the first
		if err := s.Forward(); err != nil {
			t.Fatal(err)
		}
		for _, o := range b.g.Outputs {
			compare(t, o.Name, s.Value(o), want[o.Name], tol)
		}
	}
}

func compare(t *testing.T, name string, got []float32, want *ir.Tensor, tol float64) {
	t.Helper()
	if len(got) != want.Len() {
		t.Fatalf("%s: %d elements, want shape %v", name, len(got), want.Shape)
	}
	for i, v := range got {
		w := want.Float(i)
		if math.IsNaN(w) && v != v {
			continue
		}
		if !(math.Abs(float64(v)-w) <= tol*(1+math.Abs(w))) {
			t.Fatalf("%s[%d] = %v, the oracle says %v", name, i, v, w)
		}
	}
}

// double gives the graph in float64.
func double(g *ir.Graph) (*ir.Graph, map[*ir.Value]*ir.Value) {
	d, m := g.Clone()
	for _, v := range d.Consts() {
		if v.Const.Elem == ir.Float32 {
			x := make([]float64, v.Const.Len())
			for i := range x {
				x[i] = v.Const.Float(i)
			}
			v.SetConst(ir.Of(x, v.Const.Shape...))
		}
	}
	for n := range d.Nodes() {
		if n.Is("Cast") && n.Attrs.Int("to", 0) == int(ir.Float32) {
			n.Attrs["to"] = int64(ir.Float64)
		}
		if v := n.Attrs.Tensor("value"); v != nil && v.Elem == ir.Float32 {
			n.Attrs["value"] = ir.Of([]float64{v.Float(0)}, 1)
		}
		for _, o := range n.Outputs {
			if o != nil {
				o.Type = ir.Type{}
			}
		}
	}
	return d, m
}

// checkGradients compares Backward with central differences of the float64
// oracle for the loss Σ out·r, first with fresh gradients, then with taps on
// all activations so that gradients are added to what seeds hold.
func (b *bench) checkGradients(t *testing.T, tol float64) {
	t.Helper()
	for _, tapped := range []bool{false, true} {
		b.taps = nil
		if tapped {
			for n := range b.g.Nodes() {
				for _, o := range n.Outputs {
					if !b.g.IsOutput(o) {
						b.taps = append(b.taps, o)
					}
				}
			}
		}
		b.checkGradientsOnce(t, tol)
	}
}

func (b *bench) checkGradientsOnce(t *testing.T, tol float64) {
	t.Helper()
	p := b.compile(t, true)
	s := p.NewState()
	targets := append(append([]*ir.Value{}, b.g.Outputs...), b.taps...)
	seeds := map[*ir.Value][]float32{}
	for _, o := range targets {
		if s.Seed(o) != nil {
			seeds[o] = b.floats(size(p.Shape(o)), -1, 1)
		}
	}
	if len(seeds) == 0 {
		t.Fatal("no output depends on a parameter")
	}
	grads := make([][]float32, len(b.params))
	for i, v := range b.params {
		grads[i] = make([]float32, v.Const.Len())
	}
	for range 2 {
		for _, g := range grads {
			for i := range g {
				g[i] = float32(math.NaN()) // written, not added to
			}
		}
		if err := s.Forward(); err != nil {
			t.Fatal(err)
		}
		for _, o := range targets {
			for i, r := range seeds[o] {
				s.Seed(o)[i] += r
			}
		}
		s.Backward(grads)
	}
	d, m := double(b.g)
	loss := func() float64 {
		all, err := ops.EvalAll(d, nil)
		if err != nil {
			t.Fatal(err)
		}
		var l float64
		for _, o := range targets {
			for i, r := range seeds[o] {
				l += all[m[o]].Float(i) * float64(r)
			}
		}
		return l
	}
	for k, v := range b.params {
		data := ir.Data[float64](m[v].Const)
		big := 0.0
		for _, g := range grads[k] {
			big = max(big, math.Abs(float64(g)))
		}
		for range min(6, len(data)) {
			i := b.rng.IntN(len(data))
			x := data[i]
			h := 1e-5 * max(1, math.Abs(x))
			data[i] = x + h
			up := loss()
			data[i] = x - h
			down := loss()
			data[i] = x
			want := (up - down) / (2 * h)
			if got := float64(grads[k][i]); !(math.Abs(got-want) <= tol*(math.Abs(want)+0.05*big+1e-3)) {
				t.Fatalf("parameter %d %v: gradient %d is %v, differences say %v (taps: %v)", k, v.Const.Shape, i, got, want, len(b.taps) > 0)
			}
		}
	}
}
