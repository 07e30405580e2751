package distill

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// droppedJob trains the float graph with its attention skipped for a part of the images.
func droppedJob(t testing.TB, o Options) Job {
	j := floatJob(t, o)
	g := j.Student
	in := g.AddInput("keep", ir.TensorType(ir.Float32, ir.Shape{g.Inputs[0].Type.Shape[0], ir.D(1), ir.D(1)}))
	o2 := g.Value("o2")
	mul := g.InsertAfter(o2.Def, "", "Mul", nil, []*ir.Value{o2, in}, "kept")
	mul.Out().Type = o2.Type
	g.Value("mean").Def.SetInput(0, mul.Out())
	j.DropPath = []DropPath{{in, 0.4}}
	return j
}

// Which images skip a branch depends on seed, step and place alone.
func TestDropPath(t *testing.T) {
	run := func(o Options) string {
		j := droppedJob(t, o)
		if _, err := Train(context.Background(), j); err != nil {
			t.Fatal(err)
		}
		return hash(j.Student)
	}
	o := Options{Epochs: 2, LR: 0.02, Seed: 3}
	want := run(o)
	for _, procs := range []int{1, 2, 8} {
		old := runtime.GOMAXPROCS(procs)
		got := run(o)
		runtime.GOMAXPROCS(old)
		if got != want {
			t.Errorf("GOMAXPROCS %d: another result", procs)
		}
	}
	o.Seed = 4
	if run(o) == want {
		t.Error("another seed skips the same branches")
	}

	// interrupted after some steps and resumed
	o = Options{Epochs: 2, LR: 0.02, Seed: 3, Checkpoint: t.TempDir() + "/c", CheckpointEvery: 3}
	j := droppedJob(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	j.Progress = func(s Step) {
		if s.Step == 7 {
			cancel()
		}
	}
	if _, err := Train(ctx, j); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	o.Resume = true
	if run(o) != want {
		t.Error("the resumed run has another result")
	}
}

func TestDropPathRefusals(t *testing.T) {
	j := droppedJob(t, Options{})
	j.DropPath[0].Rate = 1
	if _, err := Train(context.Background(), j); err == nil {
		t.Error("rate 1 is taken")
	}
	j = droppedJob(t, Options{})
	j.DropPath = nil
	if _, err := Train(context.Background(), j); err == nil {
		t.Error("an input that nobody sets is taken")
	}
}
