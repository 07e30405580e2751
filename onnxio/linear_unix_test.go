//go:build unix

package onnxio

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// Large graphs of each form are read and written in time about linear in their
// size: ten times the nodes take about fifteen times as long where the caches no
// longer hold them, and quadratic work a hundred. Processor time is measured, the
// best of up to four tries counts, and the collector waits.
func TestLinearTime(t *testing.T) {
	if testing.Short() {
		t.Skip("timing")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	value := func(name string) *onnxpb.ValueInfoProto {
		return valueInfo(name, ir.TensorType(ir.Float32, ir.Known(2)))
	}
	for _, c := range []struct {
		name  string
		small int
		model func(n int) *onnxpb.ModelProto
	}{
		{"chain", 1_000, identityModel},
		{"long chain", 4_000, identityModel},
		{"unsorted", 1_000, func(n int) *onnxpb.ModelProto {
			m := identityModel(n)
			slices.Reverse(m.Graph.Node)
			return m
		}},
		{"fan-out", 5_000, func(n int) *onnxpb.ModelProto { // one value used by every node
			m := identityModel(1)
			m.Graph.Input, m.Graph.Output = []*onnxpb.ValueInfoProto{value("v0")}, []*onnxpb.ValueInfoProto{value("v1")}
			for i := range n {
				m.Graph.Node = append(m.Graph.Node, node("", "Relu", "v0", fmt.Sprint("u", i)))
			}
			return m
		}},
		{"constant fan-out", 1_000, func(n int) *onnxpb.ModelProto { // one weight used by a chain
			m := identityModel(n)
			m.Graph.Initializer = []*onnxpb.TensorProto{tensorOut("W", ir.Of([]float32{1, 2}, 2))}
			for i, x := range m.Graph.Node {
				x.OpType, x.Input = ptr("Add"), []string{fmt.Sprint("v", i), "W"}
			}
			return m
		}},
		{"fan-in", 1_000, func(n int) *onnxpb.ModelProto { // one node of as many inputs
			m := identityModel(0)
			m.Graph.Input, m.Graph.Output = []*onnxpb.ValueInfoProto{value("v0")}, []*onnxpb.ValueInfoProto{{Name: ptr("y")}}
			sum := node("sum", "Concat", "", "y", "axis", int64(0))
			for i := range n {
				u := fmt.Sprint("u", i)
				m.Graph.Node = append(m.Graph.Node, node("", "Relu", "v0", u))
				sum.Input = append(sum.Input, u)
			}
			m.Graph.Node = append(m.Graph.Node, sum)
			return m
		}},
		{"outputs", 1_000, func(n int) *onnxpb.ModelProto {
			m := identityModel(n)
			for i := 1; i < n; i++ {
				m.Graph.Output = append(m.Graph.Output, &onnxpb.ValueInfoProto{Name: ptr(fmt.Sprint("v", i))})
			}
			return m
		}},
		{"constants", 1_000, func(n int) *onnxpb.ModelProto {
			m := identityModel(1)
			for i := range n {
				m.Graph.Initializer = append(m.Graph.Initializer, tensorOut(fmt.Sprint("W", i), ir.Of([]float32{1}, 1)))
				m.Graph.Node = append(m.Graph.Node, node("same name", "Relu", fmt.Sprint("W", i), fmt.Sprint("u", i)))
			}
			return m
		}},
	} {
		small, large := protoBytes(t, c.model(c.small)), protoBytes(t, c.model(10*c.small))
		cost := func(b []byte) time.Duration {
			runtime.GC()
			start := processorTime(t)
			g, err := Decode(b, Options{})
			must(t, err)
			_, err = Encode(g, WriteOptions{})
			must(t, err)
			return processorTime(t) - start
		}
		best, few, many := 0.0, time.Hour, time.Hour
		for try := 0; try == 0 || try < 4 && best > 15; try++ {
			few, many = min(few, cost(small)), min(many, cost(large))
			best = float64(many) / float64(few)
		}
		t.Logf("%s: ten times %d nodes take %.1f times as long", c.name, c.small, best)
		if best > 30 {
			t.Errorf("%s: ten times %d nodes take %.1f times as long", c.name, c.small, best)
		}
	}
}

// processorTime is what this process has used so far.
func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
