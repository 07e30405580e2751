package runtime

import (
	"math"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// grow adds n random nodes over values of rank 3 and gives all values made. Views
// of views, several readers of one value and parts of one buffer are common in
// the result: what the memory and gradient plans must get right.
func (b *bench) grow(n int) []*ir.Value {
	vals := []*ir.Value{b.par(-1, 1, 2, 3, 4), b.act(-1, 1, 2, 3, 4), b.act(-1, 1, 1, 3, 4)}
	shapes := [][]int{{2, 3, 4}, {2, 3, 4}, {1, 3, 4}}
	put := func(v *ir.Value, shape ...int) {
		vals = append(vals, v)
		shapes = append(shapes, shape)
	}
	for range n {
		i := b.rng.IntN(len(vals))
		x, s := vals[i], shapes[i]
		switch b.rng.IntN(12) {
		case 0:
			put(b.op("Tanh", nil, x), s...)
		case 1, 2: // with any value that has the same shape
			j := i
			for range 5 {
				if k := b.rng.IntN(len(vals)); equalInts(shapes[k], s) {
					j = k
				}
			}
			put(b.op([]string{"Add", "Mul", "Sub"}[b.rng.IntN(3)], nil, x, vals[j]), s...)
		case 3:
			put(b.op("Reshape", nil, x, b.ints(s[1], s[0], s[2])), s[1], s[0], s[2])
		case 4:
			put(b.op("Transpose", ir.Attrs{"perm": []int64{1, 0, 2}}, x), s[1], s[0], s[2])
		case 5:
			put(b.op("Transpose", ir.Attrs{"perm": []int64{0, 2, 1}}, x), s[0], s[2], s[1])
		case 6: // parts of the first axis are views
			if s[0] < 2 {
				continue
			}
			k := 1 + b.rng.IntN(s[0]-1)
			n := b.g.InsertBefore(nil, "", "Split", ir.Attrs{"axis": int64(0)}, []*ir.Value{x, b.ints(k, s[0]-k)}, "s", "s")
			put(n.Outputs[0], k, s[1], s[2])
			put(n.Outputs[1], s[0]-k, s[1], s[2])
		case 7:
			a := b.rng.IntN(3)
			if s[a] < 2 {
				continue
			}
			d := []int{s[0], s[1], s[2]}
			d[a]--
			put(b.op("Slice", nil, x, b.ints(1), b.ints(s[a]), b.ints(a)), d...)
		case 8:
			if size(s) > 60 {
				continue
			}
			put(b.op("Concat", ir.Attrs{"axis": int64(1)}, x, b.op("Neg", nil, x)), s[0], 2*s[1], s[2])
		case 9:
			put(b.op("Mul", nil, x, b.op("ReduceMean", nil, x, b.ints(b.rng.IntN(3)))), s...)
		case 10:
			m := b.op("MatMul", nil, x, b.par(-1, 1, s[2], 4))
			if b.rng.IntN(2) == 0 {
				m = b.op("Add", nil, m, b.par(-1, 1, 4))
			}
			put(m, s[0], s[1], 4)
		case 11:
			put(b.op("Gather", ir.Attrs{"axis": int64(0)}, x, b.ints(b.rng.IntN(s[0]))), 1, s[1], s[2])
		}
	}
	return vals
}

// TestRandomGraphs checks forward against the oracle and the gradient along one
// random direction against differences, on random graphs with random outputs and
// taps.
func TestRandomGraphs(t *testing.T) {
	const graphs = 150
	for seed := range uint64(graphs) {
		b := newBench(1000 + seed)
		vals := b.grow(4 + b.rng.IntN(24))
		for k, v := range vals {
			if v.Def == nil {
				continue
			}
			switch r := b.rng.IntN(8); {
			case r == 0 || k == len(vals)-1:
				b.g.AddOutput(v)
			case r == 1:
				b.taps = append(b.taps, v)
			}
		}
		if len(b.g.Outputs) == 0 {
			continue
		}
		p := b.compile(t, true)
		s := p.NewState()
		if err := s.Forward(); err != nil {
			t.Fatal(err)
		}
		all, err := ops.EvalAll(b.g, nil)
		if err != nil {
			t.Fatal(err)
		}
		targets := append(append([]*ir.Value{}, b.g.Outputs...), b.taps...)
		weights := map[*ir.Value][]float32{}
		for _, v := range targets {
			compare(t, v.Name, s.Value(v), all[v], 1e-5)
			weights[v] = b.floats(size(p.Shape(v)), -1, 1)
			seed := s.Seed(v)
			for i, w := range weights[v] {
				if seed != nil {
					seed[i] += w
				}
			}
		}
		grads := make([][]float32, len(b.params))
		dirs := make([][]float32, len(b.params))
		want, scale := 0.0, 1e-3
		for i, v := range b.params {
			grads[i] = make([]float32, v.Const.Len())
			dirs[i] = b.floats(v.Const.Len(), -1, 1)
		}
		s.Backward(grads)
		got := 0.0
		for i := range grads {
			for j, g := range grads[i] {
				got += float64(g) * float64(dirs[i][j])
				scale += math.Abs(float64(g) * float64(dirs[i][j]))
			}
		}
		d, m := double(b.g)
		const h = 1e-6
		for _, sign := range []float64{1, -1} {
			for i, v := range b.params {
				if m[v] == nil {
					continue // no node reads it
				}
				w := m[v].Const
				for j := range w.Len() {
					ir.Data[float64](w)[j] = v.Const.Float(j) + sign*h*float64(dirs[i][j])
				}
			}
			all, err := ops.EvalAll(d, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range targets {
				for i, r := range weights[v] {
					want += sign * all[m[v]].Float(i) * float64(r) / (2 * h)
				}
			}
		}
		if math.Abs(got-want) > 1e-4*scale {
			t.Fatalf("graph %d: slope %v, differences say %v (scale %v)\n%v", seed, got, want, scale, b.g)
		}
	}
}
