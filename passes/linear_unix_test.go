//go:build unix

package passes_test

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
)

// TestCleanIsLinear makes chains of 1k and 10k nodes, a wide fan-out and shared
// diamonds: ten times the nodes take about fifteen times as long where the caches
// no longer hold them, and quadratic work a hundred. Processor time is measured,
// the best of up to four tries counts, and the collector waits.
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
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			cost := func(n int) time.Duration {
				g := ir.New(name)
				x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Shape{ir.Sym("n"), ir.D(4)}))
				g.AddOutput(build(g, x, n))
				runtime.GC()
				d := passes.Driver{}
				start := processorTime(t)
				if _, err := d.Run(g, passes.Clean); err != nil {
					t.Fatal(err)
				}
				return processorTime(t) - start
			}
			ratio, few, many := 0.0, time.Hour, time.Hour
			for try := 0; try == 0 || try < 4 && ratio > 15; try++ {
				few, many = min(few, cost(1_000)), min(many, cost(10_000))
				ratio = float64(many) / float64(few)
			}
			t.Logf("%v for 1,000 nodes, %v for 10,000", few, many)
			if ratio > 30 {
				t.Errorf("10,000 nodes take %v, 1,000 take %v", many, few)
			}
		})
	}
}

// processorTime is what this process has used so far.
func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
