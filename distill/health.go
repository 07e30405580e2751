package distill

import (
	"errors"
	"fmt"
	"math"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// ErrInterrupted is returned by Train when its context was cancelled: the step
// was finished and, where checkpoints are on, one was written.
var ErrInterrupted = errors.New("training was interrupted")

// Fault is a number that training cannot go on with. The parameters are those
// of the last good step, and checkpoints on disk are untouched.
type Fault struct {
	Step  int     // step it showed in, from 0
	What  string  // what holds the value: `parameter "w"`, `output of node "fc1"`
	Value float64 // NaN or an infinity
	Hint  string
}

func (f *Fault) Error() string {
	s := fmt.Sprintf("step %d: %s is %v", f.Step, f.What, f.Value)
	if f.Hint != "" {
		s += ": " + f.Hint
	}
	return s
}

// faultyParam finds the first parameter that is not finite.
func faultyParam(params []Param) (what string, value float64) {
	for _, p := range params {
		for i, x := range p.Data {
			if !finite(float64(x)) {
				return fmt.Sprintf("element %d of parameter %s", i, ir.Quote(p.Name)), float64(x)
			}
		}
	}
	return "", 0
}

// diagnose finds the first node of g whose output is not finite for the input x
// of n images. Where none is found what is empty.
func diagnose(g *ir.Graph, x []float32, n int) (what string, value float64) {
	var taps []*ir.Value
	for node := range g.Nodes() {
		for _, v := range node.Outputs {
			if v != nil && !g.IsOutput(v) {
				taps = append(taps, v)
			}
		}
	}
	p, err := runtime.Compile(g, runtime.Config{Batch: n, Taps: taps})
	if err != nil {
		return "", 0
	}
	s := p.NewState()
	copy(s.Input(g.Inputs[0]), x)
	for _, v := range g.Inputs[1:] { // drop-path: every branch is taken
		in := s.Input(v)
		for i := range in {
			in[i] = 1
		}
	}
	if s.Forward() != nil {
		return "", 0
	}
	for node := range g.Nodes() {
		for _, v := range node.Outputs {
			if v == nil {
				continue
			}
			for _, f := range s.Value(v) {
				if !finite(float64(f)) {
					return fmt.Sprintf("tensor %s of %s", ir.Quote(v.Name), nodeName(node)), float64(f)
				}
			}
		}
	}
	return "", 0
}

func nodeName(n *ir.Node) string {
	e := n.Errorf("")
	return fmt.Sprintf("node %s (%s)", ir.Quote(e.Node), n.Op)
}

const (
	outlierWindow = 64 // losses that a step is judged by
	outlierSample = 32 // as many are needed to judge
	outlierInRow  = 25 // as many outliers without a step between them end the run
)

// outlier tells whether a loss is more than z deviations above the window's mean.
func outlier(window []float64, loss, z float64) bool {
	if z == 0 || len(window) < outlierSample {
		return false
	}
	var mean, v float64
	for _, x := range window {
		mean += x
	}
	mean /= float64(len(window))
	for _, x := range window {
		v += (x - mean) * (x - mean)
	}
	return loss > mean+z*math.Sqrt(v/float64(len(window)))
}
