package passes_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
)

// TestShuffledOrder cleans models whose nodes stand in other topological
// orders: the same parts are recognised, in the same blocks.
func TestShuffledOrder(t *testing.T) {
	for _, name := range []string{"deit-fmnist", "hf-vit-op17-dyn", "tv-vit-op17-dyn", "timm-swin-op17-dyn", "timm-deit-distilled-op17-dyn"} {
		t.Run(name, func(t *testing.T) {
			g := loadModel(t, name)
			original, _ := g.Clone()
			clean(t, g)
			want := recognised(g)
			for seed := range uint64(4) {
				s, _ := original.Clone()
				shuffle(s, seed)
				clean(t, s)
				if got := recognised(s); got != want {
					t.Fatalf("seed %d: recognised otherwise:\n%s\nwant\n%s", seed, got, want)
				}
			}
		})
	}
}

// recognised lists nodes with roles, by name.
func recognised(g *ir.Graph) string {
	var lines []string
	for n := range g.Nodes() {
		if n.Role.Kind != "" {
			lines = append(lines, fmt.Sprintf("%s %s %s %d", n.Name, n.Op, n.Role.Kind, n.Role.Block))
		}
	}
	slices.Sort(lines)
	return fmt.Sprint(g.Len(), " nodes\n", strings.Join(lines, "\n"))
}

// shuffle puts the nodes into a random topological order.
func shuffle(g *ir.Graph, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	missing := map[*ir.Node]int{}
	var ready []*ir.Node
	for n := range g.Nodes() {
		for _, v := range n.Inputs {
			if v != nil && v.Def != nil {
				missing[n]++
			}
		}
		if missing[n] == 0 {
			ready = append(ready, n)
		}
	}
	for len(ready) > 0 {
		i := r.IntN(len(ready))
		n := ready[i]
		ready = slices.Delete(ready, i, i+1)
		g.MoveBefore(n, nil)
		for _, o := range n.Outputs {
			if o == nil {
				continue
			}
			for _, u := range o.Uses() {
				if missing[u.Node]--; missing[u.Node] == 0 {
					ready = append(ready, u.Node)
				}
			}
		}
	}
}

// TestCleanIsDeterministic cleans one model many times: the same text.
func TestCleanIsDeterministic(t *testing.T) {
	g := loadModel(t, "timm-swin-op17-dyn")
	original, _ := g.Clone()
	clean(t, g)
	for range 5 {
		s, _ := original.Clone()
		clean(t, s)
		if s.String() != g.String() {
			t.Fatal("two runs give two texts")
		}
	}
}

// TestCleanIsLinear makes chains of 1k and 10k nodes, a wide fan-out and shared
// diamonds: ten times the nodes take at most fifteen times as long (and a
// margin for short times).
func TestCleanIsLinear(t *testing.T) {
	shapes := map[string]func(g *ir.Graph, x *ir.Value, n int) *ir.Value{
		"chain": func(g *ir.Graph, x *ir.Value, n int) *ir.Value {
			for i := range n {
				x = g.Add("Tanh", fmt.Sprint("v", i), nil, x).Out()
			}
			return x
		},
		"diamonds": func(g *ir.Graph, x *ir.Value, n int) *ir.Value {
			for i := range n / 2 {
				x = g.Add("Softmax", fmt.Sprint("s", i), nil, g.Add("Mul", fmt.Sprint("m", i), nil, x, x).Out()).Out()
			}
			return x
		},
		"fan-out": func(g *ir.Graph, x *ir.Value, n int) *ir.Value {
			var all []*ir.Value
			for i := range n {
				all = append(all, g.Add("Erf", fmt.Sprint("v", i), nil, x).Out())
			}
			return g.Add("Sum", "v", nil, all...).Out()
		},
		"concats": func(g *ir.Graph, x *ir.Value, n int) *ir.Value {
			half := g.AddConst("s", ir.Of([]int64{2, 2}, 2))
			for i := range n / 2 {
				s := g.InsertBefore(nil, "", "Split", ir.Attrs{"axis": int64(1)}, []*ir.Value{x, half}, fmt.Sprint("a", i), fmt.Sprint("b", i))
				x = g.Add("Concat", fmt.Sprint("c", i), ir.Attrs{"axis": int64(1)}, s.Outputs[1], s.Outputs[0]).Out()
			}
			return x
		},
		"linears": func(g *ir.Graph, x *ir.Value, n int) *ir.Value {
			w := g.AddConst("w", ir.Of(make([]float32, 16), 4, 4))
			for i := range n / 2 {
				x = g.Add("Relu", fmt.Sprint("r", i), nil, g.Add("MatMul", fmt.Sprint("m", i), nil, x, w).Out()).Out()
			}
			return x
		},
	}
	for name, build := range shapes {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("measures time")
			}
			times := [2]time.Duration{time.Hour, time.Hour}
			for k := range 6 { // the best of three each
				i, n := k%2, []int{1000, 10000}[k%2]
				g := ir.New(name)
				x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("n"), ir.D(4)}))
				g.AddOutput(build(g, x, n))
				d := passes.Driver{}
				start := time.Now()
				if _, err := d.Run(g, passes.Clean); err != nil {
					t.Fatal(err)
				}
				times[i] = min(times[i], time.Since(start))
			}
			t.Logf("%v for 1,000 nodes, %v for 10,000", times[0], times[1])
			if times[1] > 15*times[0]+300*time.Millisecond {
				t.Errorf("10,000 nodes take %v, 1,000 take %v", times[1], times[0])
			}
		})
	}
}
