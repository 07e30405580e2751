package runtime

import (
	"context"
	goruntime "runtime"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// A session runs with exactly the memory that its plan asks for, not with a byte
// less, and by default not with more than 8 GiB: that is found before any of it
// is taken.
func TestSessionMemoryLimit(t *testing.T) {
	widened := func(n int) (*Session, int64, *ir.Tensor) {
		b := newBench(1)
		x := b.g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(1, 1)))
		wide := b.op("Expand", nil, x, b.g.AddConst("shape", ir.Of([]int64{1, int64(n)}, 2)))
		b.g.AddOutput(b.op("ReduceMax", ir.Attrs{"keepdims": int64(1)}, wide, b.g.AddConst("axes", ir.Of([]int64{1}, 1))))
		p, err := Compile(b.g, Config{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSession(b.g, Options{MaxMemory: p.Memory()})
		if err != nil {
			t.Fatal(err)
		}
		return s, p.Memory(), ir.Of([]float32{1}, 1, 1)
	}
	s, need, x := widened(1000)
	run := func() error {
		_, err := s.Run(context.Background(), map[string]*ir.Tensor{"x": x})
		return err
	}
	if err := run(); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	s.o.MaxMemory = need - 1
	wantError(t, run(), "needs", "the limit is")
	if ^uint(0)>>32 == 0 {
		t.Skip("an int holds no 8 GiB here")
	}
	if s, need, _ = widened(1<<31 - 1); need <= DefaultMaxMemory {
		t.Fatalf("the plan takes %d bytes", need)
	}
	s.o.MaxMemory = 0
	wantError(t, run(), "needs", "the limit is 8589934592")
}

// Constants that a few bytes ask for are not made while a graph is compiled: they
// count as memory of the run, which is refused before any of it is taken.
func TestHostileConstants(t *testing.T) {
	for _, c := range []struct {
		name, op string
		in       []*ir.Tensor
		cast     bool // what it makes is int64
	}{
		{"fill", "ConstantOfShape", []*ir.Tensor{ir.Of([]int64{1<<26 + 1}, 1)}, false},
		{"expand", "Expand", []*ir.Tensor{ir.Scalar(float32(1)), ir.Of([]int64{8193, 8192}, 2)}, false},
		{"tile", "Tile", []*ir.Tensor{ir.Of([]float32{1, 2}, 2), ir.Of([]int64{1 << 26}, 1)}, false},
		{"range", "Range", []*ir.Tensor{ir.Scalar(int64(0)), ir.Scalar(int64(1 << 26)), ir.Scalar(int64(1))}, true},
		{"integers", "Expand", []*ir.Tensor{ir.Scalar(int64(7)), ir.Of([]int64{1 << 26}, 1)}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(1)
			x := b.g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(1)))
			var in []*ir.Value
			for _, k := range c.in {
				in = append(in, b.g.AddConst(b.g.Unique("k"), k))
			}
			big := b.op(c.op, nil, in...)
			if c.cast {
				big = b.op("Cast", ir.Attrs{"to": int64(ir.Float32)}, big)
			}
			b.g.AddOutput(b.op("Add", nil, x, b.op("ReduceMax", ir.Attrs{"keepdims": int64(0)}, big)))
			var before, after goruntime.MemStats
			goruntime.ReadMemStats(&before)
			s, err := NewSession(b.g, Options{MaxMemory: 64 << 20})
			if err == nil {
				_, err = s.Run(context.Background(), map[string]*ir.Tensor{"x": ir.Of([]float32{1}, 1)})
			}
			wantError(t, err, "needs", "the limit is")
			if goruntime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 16<<20 {
				t.Errorf("%d bytes were allocated", after.TotalAlloc-before.TotalAlloc)
			}
		})
	}
}
