package distill

import (
	"sync/atomic"
	"time"
)

// Phases adds up where the time of training steps goes, over all threads. The
// zero value is ready; it is safe for use by several goroutines.
type Phases struct {
	nanos [phases]atomic.Int64
}

type phase int

const (
	phaseForward  phase = iota // student forward
	phaseTeacher               // teacher forward
	phaseLoss                  // losses and their gradients, DGD included
	phaseBackward              // student backward
	phaseSum                   // gradients of the shards added up, waiting for the shard before included
	phaseUpdate                // norm, clip and optimiser
	phases
)

var phaseNames = [phases]string{"forward", "teacher", "loss", "backward", "sum", "optimiser"}

// PhaseTime is the time of one phase.
type PhaseTime struct {
	Name string        // forward, teacher, loss, backward, sum, optimiser
	Time time.Duration // of all steps; all but the optimiser's: of all threads together
}

// Times lists the phases in the order of a step.
func (p *Phases) Times() []PhaseTime {
	var out []PhaseTime
	for i := range phases {
		out = append(out, PhaseTime{phaseNames[i], time.Duration(p.nanos[i].Load())})
	}
	return out
}

// Reset starts again at zero.
func (p *Phases) Reset() {
	for i := range p.nanos {
		p.nanos[i].Store(0)
	}
}

// clock gives a function that adds the time since its last call, at first since
// this one, to a phase. A nil Phases measures nothing.
func (p *Phases) clock() func(phase) {
	if p == nil {
		return func(phase) {}
	}
	last := time.Now()
	return func(f phase) {
		now := time.Now()
		p.nanos[f].Add(int64(now.Sub(last)))
		last = now
	}
}
