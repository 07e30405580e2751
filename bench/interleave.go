package bench

import (
	"context"
	"fmt"
	"time"
)

// Subject is something whose runs are timed.
type Subject interface {
	// Name says what it is, for messages.
	Name() string
	// Time runs n times, one after another, and gives the duration of each.
	Time(ctx context.Context, n int) ([]time.Duration, error)
}

// Func is a Subject in this process.
func Func(name string, run func() error) Subject { return function{name, run} }

type function struct {
	name string
	run  func() error
}

func (f function) Name() string { return f.name }

func (f function) Time(ctx context.Context, n int) ([]time.Duration, error) {
	out := make([]time.Duration, n)
	for i := range out {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := f.run(); err != nil {
			return nil, err
		}
		out[i] = time.Since(start)
	}
	return out, nil
}

// Settle is the pause before a turn: threads of the subject before, which wait
// busily for more work (ONNX Runtime's for tens of milliseconds), come to rest.
const Settle = 60 * time.Millisecond

// Interleave lets the subjects take turns, rounds times, each runs+1 runs a turn
// of which the first, with cold caches, does not count. It gives the times of
// each subject in order.
func Interleave(ctx context.Context, rounds, runs int, subjects ...Subject) ([][]time.Duration, error) {
	out := make([][]time.Duration, len(subjects))
	for range rounds {
		for i, s := range subjects {
			if len(subjects) > 1 {
				time.Sleep(Settle)
			}
			t, err := s.Time(ctx, runs+1)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.Name(), err)
			}
			out[i] = append(out[i], t[1:]...)
		}
	}
	return out, nil
}
