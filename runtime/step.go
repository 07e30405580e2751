package runtime

// step is one operation of a program. Every kind of step sits in the file of its
// family, forward beside backward.
type step interface {
	plan() *base
	forward(s *State) error
	// backward reads the gradients of the outputs and writes those of the
	// inputs named in base.dx that want one, in that order.
	backward(s *State)
}

// base is what the planner must know about a step.
type base struct {
	name, op string  // of the node, for messages and profiles
	in, out  []int   // values that forward reads and writes
	keep     []int   // values whose data backward reads
	dx       []*grad // inputs that can receive a gradient, in writing order
	tmp      []int   // temporaries
	blocked  []int   // float inputs through which no gradient can be computed
	err      error   // says why, when blocked
}

func (b *base) plan() *base { return b }

// noBackward is embedded by steps that have no gradient.
type noBackward struct{}

func (noBackward) backward(*State) {}

// grad is one input's gradient as a step sees it.
type grad struct {
	id   int
	want bool // somebody needs it
	acc  bool // add to what is there instead of overwriting
}

// backStep is one entry of the backward order.
type backStep struct {
	step  step
	index int     // of the step in Program.steps
	clear []piece // gradient ranges to clear first
	again []rerun // steps that run forward again before it
}

// piece is a range of a root value.
type piece struct{ root, lo, hi int }
