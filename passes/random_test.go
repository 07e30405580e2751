package passes

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// exact are the passes that move data and compute nothing anew.
var exact = map[string]bool{"drop-masks": true, "fold-constants": true, "drop-identity": true, "drop-dead": true, "merge-transposes": true, "recognise": true}

var graphs = flag.Int("graphs", 40, "random graphs for each pass")

// TestRandomGraphs runs every pass of Clean, and lowering, on random graphs: the
// oracle gives the same results before and after (data movement exactly, sums
// within 1e-5), and the second run changes nothing.
func TestRandomGraphs(t *testing.T) {
	list := append(slices.Clone(Clean), LowerGelu, LowerPacked, LowerConv, LowerFakeQuant)
	for _, p := range list {
		t.Run(p.Name, func(t *testing.T) {
			fired := 0
			for seed := range uint64(*graphs) {
				g := randomGraph(seed)
				if err := g.Check(); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				infer(t, g)
				before, _ := g.Clone()
				changed, err := p.Run(g, &Report{Pass: p.Name})
				if err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, err, before)
				}
				if changed {
					fired++
				}
				if err := g.Check(); err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, err, before)
				}
				infer(t, g)
				d, err := oracleDiff(before, g, seed)
				if err != nil || d > 1e-5 || d > 0 && exact[p.Name] {
					t.Fatalf("seed %d: difference %g, %v\n%s\nafter:\n%s", seed, d, err, before, g)
				}
				runAgain(t, p, g)
			}
			t.Logf("%s changed %d of %d graphs", p.Name, fired, *graphs)
			if fired == 0 {
				t.Error("the pass never fired: the graphs test nothing")
			}
		})
	}
}

// randomGraph makes 5 to 40 steps on values of shape [batch, 4, 6] and
// neighbours: single operators and the patterns that passes look for.
func randomGraph(seed uint64) *ir.Graph {
	r := rand.New(rand.NewPCG(seed, 99))
	m := graphMaker{r: r, g: ir.New(fmt.Sprintf("random%d", seed))}
	batch := ir.Sym("batch")
	if r.IntN(3) == 0 {
		batch = ir.D(2)
	}
	x := m.g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{batch, ir.D(4), ir.D(6)}))
	m.pool = []*ir.Value{x}
	for range 5 + r.IntN(36) {
		m.step()
	}
	if r.IntN(2) == 0 { // a constant in another float type behind a Cast
		c := m.g.AddConst("c", ir.Scalar(r.Float64()))
		if r.IntN(2) == 0 {
			half, err := ir.Wrap(ir.Float16, nil, []uint16{ir.FloatToHalf(r.Float32())})
			if err != nil {
				panic(err)
			}
			c = m.g.AddConst("c", half)
		}
		f := m.add("Cast", ir.Attrs{"to": int64(ir.Float32)}, c)
		m.pool = append(m.pool, m.add("Mul", nil, m.pool[r.IntN(len(m.pool))], f))
	}
	for range 1 + r.IntN(3) {
		v := m.pool[r.IntN(len(m.pool))]
		if v.Def == nil || m.g.IsOutput(v) {
			v = m.add("Neg", nil, v)
		}
		m.g.AddOutput(v)
	}
	if _, err := ops.Infer(m.g); err != nil {
		panic(fmt.Sprintf("seed %d: %v\n%s", seed, err, m.g))
	}
	return m.g
}

type graphMaker struct {
	r    *rand.Rand
	g    *ir.Graph
	pool []*ir.Value // f32 [batch,4,6]
}

func (m *graphMaker) add(op string, attrs ir.Attrs, in ...*ir.Value) *ir.Value {
	return m.g.Add(op, "v", attrs, in...).Out()
}

func (m *graphMaker) floats(shape ...int) *ir.Value {
	n := 1
	for _, d := range shape {
		n *= d
	}
	d := make([]float32, n)
	for i := range d {
		d[i] = float32(m.r.NormFloat64()) * 0.5
	}
	return m.g.AddConst("c", ir.Of(d, shape...))
}

func (m *graphMaker) scalar(x float32) *ir.Value { return m.g.AddConst("s", ir.Scalar(x)) }

func (m *graphMaker) ints(x ...int64) *ir.Value { return m.g.AddConst("i", ir.Of(x, len(x))) }

func (m *graphMaker) any() *ir.Value { return m.pool[m.r.IntN(len(m.pool))] }

// either gives the operands in random order.
func (m *graphMaker) either(op string, a, b *ir.Value) *ir.Value {
	if m.r.IntN(2) == 0 {
		a, b = b, a
	}
	return m.add(op, nil, a, b)
}

// masked adds a mask to x, one that masks nothing more often than not, and
// guards a Softmax against rows that are masked as a whole.
func (m *graphMaker) masked(x *ir.Value) *ir.Value {
	seen := []bool{true, true, true, true}
	if m.r.IntN(3) == 0 {
		seen[m.r.IntN(4)] = false
	}
	mask := m.add("Where", nil, m.g.AddConst("m", ir.Of(seen, 4, 1)), m.scalar(0), m.scalar(-50))
	y := m.either("Add", m.add("Tanh", nil, m.add("MatMul", nil, x, m.floats(6, 6))), mask)
	p := m.add("Softmax", ir.Attrs{"axis": int64(-1)}, y)
	return m.add("Where", nil, m.add("IsNaN", nil, p), m.scalar(0), p)
}

func (m *graphMaker) step() {
	x := m.any()
	var y *ir.Value
	switch m.r.IntN(16) {
	case 0:
		y = m.either([]string{"Add", "Mul"}[m.r.IntN(2)], x, m.any())
		y = m.add("Tanh", nil, y) // keeps the values small
	case 1:
		y = m.add([]string{"Neg", "Identity", "Sigmoid", "Abs", "Relu"}[m.r.IntN(5)], nil, x)
	case 2:
		y = m.add("Transpose", ir.Attrs{"perm": ir.Int64s(0, 2, 1)}, m.add("Transpose", ir.Attrs{"perm": ir.Int64s(0, 2, 1)}, x))
	case 3:
		y = m.add("Reshape", nil, m.add("Reshape", nil, x, m.ints(0, 2, 12)), m.ints(-1, 4, 6))
	case 4:
		y = m.norm(x)
	case 5:
		y = m.gelu(x)
	case 6:
		y = m.linear(x)
	case 7:
		y = m.shapeChain(x)
	case 8:
		y = m.add("Slice", nil, x, m.ints(0), m.ints(int64(4+m.r.IntN(90))), m.ints(1))
	case 9:
		y = m.add("Pad", nil, x, m.ints(0, 0, 0, 0, 0, 0))
	case 10:
		t := m.add("Transpose", ir.Attrs{"perm": ir.Int64s(1, 0)}, m.floats(6, 6))
		y = m.add("Tanh", nil, m.add("MatMul", nil, x, t))
	case 11:
		y = m.add("Einsum", ir.Attrs{"equation": "abc,cd->abd"}, x, m.floats(6, 6))
		y = m.add("Tanh", nil, y)
	case 12:
		if m.r.IntN(3) == 0 {
			y = m.add("Gelu", ir.Attrs{"approximate": []string{"none", "tanh"}[m.r.IntN(2)]}, x)
			break
		}
		y = m.quantised(x)
	case 13:
		y = m.attention(x)
	case 14:
		y = m.masked(x)
	default:
		y = m.add("Expand", nil, x, m.ints(1, 4, 1))
	}
	m.pool = append(m.pool, y)
}

func (m *graphMaker) norm(x *ir.Value) *ir.Value {
	last := m.ints(-1)
	c := m.add("Sub", nil, x, m.add("ReduceMean", nil, x, last))
	sq := m.add("Mul", nil, c, c)
	if m.r.IntN(2) == 0 {
		sq = m.add("Pow", nil, c, m.scalar(2))
	}
	s := m.add("Sqrt", nil, m.either("Add", m.add("ReduceMean", nil, sq, last), m.scalar(0.1)))
	return m.either("Add", m.either("Mul", m.add("Div", nil, c, s), m.floats(6)), m.floats(6))
}

func (m *graphMaker) gelu(x *ir.Value) *ir.Value {
	e := m.either("Add", m.add("Erf", nil, m.either("Mul", x, m.scalar(0.70710677))), m.scalar(1))
	if m.r.IntN(2) == 0 {
		return m.either("Mul", m.either("Mul", e, m.scalar(0.5)), x)
	}
	return m.either("Mul", m.either("Mul", x, e), m.scalar(0.5))
}

func (m *graphMaker) linear(x *ir.Value) *ir.Value {
	if m.r.IntN(2) == 0 {
		return m.add("Tanh", nil, m.either("Add", m.add("MatMul", nil, x, m.floats(6, 6)), m.floats(6)))
	}
	rows := m.add("Reshape", nil, x, m.ints(-1, 6))
	y := m.add("Gemm", ir.Attrs{"transB": int64(1), "alpha": float32(0.5)}, rows, m.floats(6, 6), m.floats(6))
	return m.add("Tanh", nil, m.add("Reshape", nil, y, m.ints(-1, 4, 6)))
}

func (m *graphMaker) shapeChain(x *ir.Value) *ir.Value {
	b := m.add("Gather", nil, m.add("Shape", nil, x), m.g.AddConst("i", ir.Scalar(int64(0))))
	b = m.add("Unsqueeze", nil, b, m.ints(0))
	split := m.add("Concat", ir.Attrs{"axis": int64(0)}, b, m.ints(2, 2, 6))
	back := m.add("Concat", ir.Attrs{"axis": int64(0)}, b, m.ints(4, 6))
	return m.add("Reshape", nil, m.add("Reshape", nil, x, split), back)
}

func (m *graphMaker) fakeQuant(x *ir.Value, axis, groups int) *ir.Value {
	attrs := ir.Attrs{"bits": int64([]int{2, 3, 4, 8}[m.r.IntN(4)]), "signed": int64(1)}
	scale := m.g.AddConst("scale", ir.Scalar(float32(0.05+m.r.Float64())))
	if axis >= 0 {
		attrs["axis"] = int64(axis)
		d := make([]float32, groups)
		for i := range d {
			d[i] = float32(0.05 + m.r.Float64())
		}
		scale = m.g.AddConst("scale", ir.Of(d, groups))
	}
	return m.g.InsertBefore(nil, ir.Domain, "FakeQuant", attrs, []*ir.Value{x, scale}, "v").Out()
}

func (m *graphMaker) quantised(x *ir.Value) *ir.Value {
	w := m.fakeQuant(m.floats(6, 6), 1, 6)
	return m.add("Tanh", nil, m.add("Add", nil, m.add("MatMul", nil, m.fakeQuant(x, -1, 1), w), m.floats(6)))
}

// attention has two heads of width 3, the scale in one of three places.
func (m *graphMaker) attention(x *ir.Value) *ir.Value {
	heads := func() *ir.Value {
		y := m.add("MatMul", nil, x, m.floats(6, 6))
		return m.add("Reshape", nil, y, m.ints(-1, 4, 2, 3))
	}
	q := m.add("Transpose", ir.Attrs{"perm": ir.Int64s(0, 2, 1, 3)}, heads())
	kT := m.add("Transpose", ir.Attrs{"perm": ir.Int64s(0, 2, 3, 1)}, heads())
	v := m.add("Transpose", ir.Attrs{"perm": ir.Int64s(0, 2, 1, 3)}, heads())
	place := m.r.IntN(3)
	if place == 0 {
		q = m.either("Mul", q, m.scalar(0.57735))
	}
	if place == 1 {
		kT = m.add("Div", nil, kT, m.scalar(1.7320508))
	}
	s := m.add("MatMul", nil, q, kT)
	if place == 2 {
		s = m.add("Mul", nil, s, m.scalar(0.57735))
	}
	p := m.add("Softmax", ir.Attrs{"axis": int64(-1)}, s)
	o := m.add("Transpose", ir.Attrs{"perm": ir.Int64s(0, 2, 1, 3)}, m.add("MatMul", nil, p, v))
	return m.add("MatMul", nil, m.add("Reshape", nil, o, m.ints(-1, 4, 6)), m.floats(6, 6))
}
