package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

func TestSessionBatches(t *testing.T) {
	b := newBench(2)
	vit(b, true)
	var ref []float32
	img := b.floats(70*64, -1, 1)
	for _, threads := range []int{1, 2, 3} {
		s, err := NewSession(b.g, Options{Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(context.Background(), map[string]*ir.Tensor{"image": ir.Of(img, 70, 1, 8, 8)})
		if err != nil {
			t.Fatal(err)
		}
		y := out[b.g.Outputs[0].Name]
		if !slices.Equal(y.Shape, []int{70, 7}) {
			t.Fatalf("shape %v", y.Shape)
		}
		if ref == nil {
			ref = y.F32()
			want, err := ops.EvalGraph(b.g, map[string]*ir.Tensor{"image": ir.Of(img[:3*64], 3, 1, 8, 8)})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, "first rows", ref[:21], want[b.g.Outputs[0].Name], 1e-4)
		}
		if !slices.Equal(y.F32(), ref) {
			t.Errorf("%d threads give other bits", threads)
		}
	}
}

func TestSessionConcurrent(t *testing.T) {
	b := newBench(2)
	vit(b, false)
	s, err := NewSession(b.g, Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			x := ir.Of(make([]float32, (n+1)*64), n+1, 1, 8, 8)
			if _, err := s.Run(context.Background(), map[string]*ir.Tensor{"image": x}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestSessionErrors(t *testing.T) {
	b := newBench(2)
	vit(b, false)
	s, err := NewSession(b.g, Options{MaxMemory: 100})
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, x *ir.Tensor) error {
		_, err := s.Run(context.Background(), map[string]*ir.Tensor{name: x})
		return err
	}
	ok := ir.Of(make([]float32, 64), 1, 1, 8, 8)
	wantError(t, run("picture", ok), `"image"`, "missing", "picture")
	wantError(t, run("image", ir.Of(make([]float32, 64), 1, 8, 8)), `"image"`, "[1 8 8]")
	wantError(t, run("image", ir.Of(make([]float64, 64), 1, 1, 8, 8)), `"image"`, "f64")
	wantError(t, run("image", ir.Of([]float32{}, 0, 1, 8, 8)), "empty")
	wantError(t, run("image", ok), "limit is 100")
	s, _ = NewSession(b.g, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Run(ctx, map[string]*ir.Tensor{"image": ok}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled run: %v", err)
	}
}

func TestSessionFixedBatch(t *testing.T) {
	b := newBench(2)
	x := b.g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(2, 3)))
	b.g.AddOutput(b.op("Neg", nil, x))
	s, err := NewSession(b.g, Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Run(context.Background(), map[string]*ir.Tensor{"x": ir.Of(b.floats(18, -1, 1), 6, 3)})
	if err != nil || !slices.Equal(out[b.g.Outputs[0].Name].Shape, []int{6, 3}) {
		t.Fatalf("%v %v", out, err)
	}
	_, err = s.Run(context.Background(), map[string]*ir.Tensor{"x": ir.Of(b.floats(9, -1, 1), 3, 3)})
	wantError(t, err, "fixed batch of 2")
}

func TestParallelFirstError(t *testing.T) {
	for range 20 {
		err := Parallel(50, 4, func(i int) error {
			if i%10 == 7 {
				return fmt.Errorf("failed at %d", i)
			}
			return nil
		})
		if err == nil || err.Error() != "failed at 7" {
			t.Fatal(err)
		}
	}
}
