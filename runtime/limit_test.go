package runtime

import (
	"context"
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
