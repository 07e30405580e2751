package distill

import (
	"slices"

	"github.com/qvitc/qvitc/runtime"
)

// shared is what the teacher gave for one shard of a step.
type shared struct {
	key  answerKey
	step int
	done chan struct{}
	all  []float32 // when done; nil where the teacher failed
}

// stepsKept is how many steps' answers are kept for jobs abreast, which are at most
// a step from one another.
const stepsKept = 3

// together gives the answers for a shard: those that a job abreast has got or is
// getting, or else what ask gives.
func (c *cached) together(key answerKey, step int, ask func() ([]float32, error)) ([]float32, error) {
	c.mu.Lock()
	for _, s := range c.latest {
		if s.key == key {
			c.mu.Unlock()
			if <-s.done; s.all != nil {
				return s.all, nil
			}
			return ask()
		}
	}
	s := &shared{key: key, step: step, done: make(chan struct{})}
	c.latest = append(slices.DeleteFunc(c.latest, func(old *shared) bool {
		return old.step <= step-stepsKept || old.step >= step+stepsKept
	}), s)
	c.mu.Unlock()
	defer close(s.done)
	var err error
	s.all, err = ask()
	return s.all, err
}

// gather copies the answers that a state of the teacher holds.
func (c *cached) gather(st *runtime.State, p *plan) []float32 {
	all := make([]float32, 0, c.numbers(p))
	for _, v := range c.values {
		all = append(all, st.Value(v)...)
	}
	return all
}
