package runtime

import (
	"slices"
	"sync"

	"github.com/qvitc/qvitc/ir"
)

// planCache holds the most recent programs of a Session.
type planCache struct {
	mu   sync.Mutex
	list []*plan // oldest first
}

const maxPlans = 16

// plan is one compiled shape and its free states.
type plan struct {
	shapes [][]int // by graph input
	lanes  int
	once   sync.Once
	p      *Program
	err    error
	mu     sync.Mutex
	free   []*State
}

// plan compiles, or finds, the program for inputs of these shapes with the batch
// replaced by shard, and for a team of so many lanes.
func (s *Session) plan(in map[string]*ir.Tensor, shard, lanes int) (*plan, error) {
	s.plans.mu.Lock()
	var p *plan
	for _, k := range s.plans.list {
		if k.lanes == lanes && s.fits(k, in, shard) {
			p = k
			break
		}
	}
	if p == nil {
		p = &plan{lanes: lanes}
		for _, v := range s.g.Inputs {
			sh := slices.Clone(in[v.Name].Shape)
			if s.shard > 0 {
				sh[0] = shard
			}
			p.shapes = append(p.shapes, sh)
		}
		s.plans.list = append(s.plans.list, p)
		if len(s.plans.list) > maxPlans {
			s.plans.list = slices.Delete(s.plans.list, 0, 1)
		}
	}
	s.plans.mu.Unlock()
	p.once.Do(func() {
		shapes := map[string][]int{}
		for i, v := range s.g.Inputs {
			shapes[v.Name] = p.shapes[i]
		}
		p.p, p.err = Compile(s.g, Config{Shapes: shapes, lanes: lanes, folding: s.o.MaxMemory, weights: &s.weights})
	})
	return p, p.err
}

// fits reports whether p was made for these shapes.
func (s *Session) fits(p *plan, in map[string]*ir.Tensor, shard int) bool {
	for i, v := range s.g.Inputs {
		for d, n := range in[v.Name].Shape {
			if d == 0 && s.shard > 0 {
				n = shard
			}
			if d >= len(p.shapes[i]) || p.shapes[i][d] != n {
				return false
			}
		}
		if len(p.shapes[i]) != len(in[v.Name].Shape) {
			return false
		}
	}
	return true
}

// take gives a state to run on.
func (p *plan) take(o Options) *State {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		st := p.free[n-1]
		p.free = p.free[:n-1]
		return st
	}
	p.p.packWeights(o.Threads)
	if o.Release {
		p.p.release()
	}
	return p.p.NewState()
}

// freeStates is the most states that a plan keeps beyond those of one Run.
const freeStates = 8

// give takes a state back.
func (p *plan) give(st *State, o Options) {
	p.mu.Lock()
	if len(p.free) < o.Threads+freeStates {
		p.free = append(p.free, st)
	}
	p.mu.Unlock()
}
