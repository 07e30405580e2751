package runtime_test

import (
	"context"
	"errors"
	"flag"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/runtime"
	"github.com/qvitc/qvitc/zoo"
)

var concurrentRuns = flag.Int("runs", 10, "runs of each goroutine in TestSessionManyGoroutines")

// small is a packed DeiT of two blocks.
func small(t testing.TB) *ir.Graph {
	t.Helper()
	g, err := zoo.DeiT{Dim: 128, Depth: 2, Heads: 2, Patch: 8, Image: 64, Channels: 3, Classes: 10}.Graph(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	plan := passes.DefaultPlan(4, 4)
	plan.IRM = passes.IRMRescale
	return pack(t, g, plan, 1)
}

func session(t testing.TB, g *ir.Graph, o runtime.Options) *runtime.Session {
	t.Helper()
	s, err := runtime.NewSession(g, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func answer(t testing.TB, s *runtime.Session, x *ir.Tensor) []float32 {
	t.Helper()
	g := s.Graph()
	out, err := s.Run(context.Background(), map[string]*ir.Tensor{g.Inputs[0].Name: x})
	if err != nil {
		t.Fatal(err)
	}
	return out[g.Outputs[0].Name].F32()
}

// TestSessionThreads runs one image and several with teams and shards of all sizes,
// with packed weights released from the graph, and wants the same bytes.
func TestSessionThreads(t *testing.T) {
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(4))
	for _, n := range []int{1, 2, 7} {
		var want []float32
		for _, threads := range []int{1, 2, 3, 8} {
			goruntime.GOMAXPROCS(max(1, 5-threads)) // members for all lanes, for some, and none
			g := small(t)
			s := session(t, g, runtime.Options{Threads: threads, Release: threads > 1})
			for range 3 {
				got := answer(t, s, images(g, n, 5))
				if want == nil {
					want = got
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%d images: %d threads give other bytes", n, threads)
				}
			}
		}
	}
}

func TestSessionManyGoroutines(t *testing.T) {
	g := small(t)
	s := session(t, g, runtime.Options{Threads: 2})
	const kinds = 8
	var x [kinds]*ir.Tensor
	var want [kinds][]float32
	for i := range x {
		x[i] = images(g, 1+i%2, uint64(i))
		want[i] = answer(t, s, x[i])
	}
	before := goruntime.NumGoroutine()
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range *concurrentRuns {
				k := (i + j) % kinds
				out, err := s.Run(context.Background(), map[string]*ir.Tensor{g.Inputs[0].Name: x[k]})
				if err != nil || !slices.Equal(out[g.Outputs[0].Name].F32(), want[k]) {
					t.Errorf("goroutine %d, run %d: another answer (%v)", i, j, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for range 100 { // goroutines that have ended may take a moment to go
		if goruntime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, goruntime.NumGoroutine())
}

func TestRunIntoAllocatesNothing(t *testing.T) {
	g := small(t)
	for _, threads := range []int{1, 2} {
		s := session(t, g, runtime.Options{Threads: threads})
		x := images(g, 1, 3)
		want := answer(t, s, x)
		in := map[string]*ir.Tensor{g.Inputs[0].Name: x}
		y := ir.Of(make([]float32, 10), 1, 10)
		out := map[string]*ir.Tensor{g.Outputs[0].Name: y}
		n := testing.AllocsPerRun(20, func() {
			if err := s.RunInto(context.Background(), in, out); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%d threads: RunInto allocates %v times", threads, n)
		}
		if !slices.Equal(y.F32(), want) {
			t.Error("RunInto gives another answer than Run")
		}
	}
	s := session(t, g, runtime.Options{})
	err := s.RunInto(context.Background(), map[string]*ir.Tensor{g.Inputs[0].Name: images(g, 1, 3)}, map[string]*ir.Tensor{g.Outputs[0].Name: ir.Of(make([]float32, 9), 1, 9)})
	if err == nil {
		t.Error("an output tensor of the wrong shape is taken")
	}
}

// countdown is a context that is cancelled after being asked a number of times.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestRunStopsBetweenSteps(t *testing.T) {
	g := small(t)
	for _, threads := range []int{1, 2} {
		s := session(t, g, runtime.Options{Threads: threads})
		for left := range 12 / threads { // a team asks between stretches of steps
			c := &countdown{context.Background(), left}
			_, err := s.Run(c, map[string]*ir.Tensor{g.Inputs[0].Name: images(g, 1, 3)})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%d threads, cancelled after %d questions: %v", threads, left, err)
			}
		}
	}
}

func TestSessionRefusesMemory(t *testing.T) {
	g := small(t)
	s := session(t, g, runtime.Options{MaxMemory: 200_000})
	_, err := s.Run(context.Background(), map[string]*ir.Tensor{g.Inputs[0].Name: images(g, 1, 3)})
	if err == nil || !strings.Contains(err.Error(), "needs") || !strings.HasSuffix(err.Error(), "the limit is 200000: raise the limit or use fewer threads") {
		t.Fatalf("got %v", err)
	}
}

// TestSessionBindsIntegers runs a graph whose output shape is the content of an
// input.
func TestSessionBindsIntegers(t *testing.T) {
	g := ir.New("reshape")
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(2, 6)))
	shape := g.AddInput("shape", ir.TensorType(ir.Int64, ir.Known(2)))
	g.AddOutput(g.Add("Neg", "z", nil, g.Add("Reshape", "y", nil, x, shape).Out()).Out())
	s := session(t, g, runtime.Options{})
	for _, want := range [][]int64{{3, 4}, {4, 3}, {12, 1}, {3, 4}} {
		data := make([]float32, 12)
		data[11] = 5
		out, err := s.Run(context.Background(), map[string]*ir.Tensor{"x": ir.Of(data, 2, 6), "shape": ir.Of(want, 2)})
		if err != nil {
			t.Fatal(err)
		}
		z := out["z"]
		if len(z.Shape) != 2 || int64(z.Shape[0]) != want[0] || z.F32()[11] != -5 {
			t.Errorf("shape %v gives %v", want, z.Shape)
		}
	}
	_, err := s.Run(context.Background(), map[string]*ir.Tensor{"x": ir.Of(make([]float32, 12), 2, 6), "shape": ir.Of([]int64{5, 5}, 2)})
	if err == nil {
		t.Error("a shape that does not fit is taken")
	}
}
