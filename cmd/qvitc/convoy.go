package main

import (
	"slices"
	"sync"
	"time"
)

// convoy lets jobs take turns, a step of training each: so many have theirs at a
// time, the one furthest behind comes first, and none gets more than a step ahead of
// another. What they ask of the same teacher they ask at about the same time.
type convoy struct {
	mu   sync.Mutex
	free int // turns that nobody has
	jobs []*paced
}

// paced is a job of a convoy.
type paced struct {
	convoy *convoy
	step   int           // that comes next; beforeTraining
	turn   chan struct{} // closed when it has its turn; nil before it asks
	asked  bool          // it waits for its turn
	waited time.Duration // for its turns since the first
}

const beforeTraining = -1

// newConvoy is a convoy of n jobs, of which atOnce have their turn.
func newConvoy(n, atOnce int) *convoy {
	c := &convoy{free: atOnce}
	for range n {
		c.jobs = append(c.jobs, &paced{convoy: c, step: beforeTraining})
	}
	return c
}

// begin waits for the job's first turn.
func (p *paced) begin() { p.ask(beforeTraining) }

// pace ends the job's turn and waits for that in which it may take the step.
func (p *paced) pace(step int) {
	start := time.Now()
	p.ask(step)
	p.waited += time.Since(start)
}

func (p *paced) ask(step int) {
	c := p.convoy
	c.mu.Lock()
	if p.turn != nil {
		c.free++
	}
	turn := make(chan struct{})
	p.step, p.turn, p.asked = step, turn, true
	c.grant()
	c.mu.Unlock()
	<-turn
}

// leave ends the job's turn, which must be its own, for good.
func (p *paced) leave() {
	c := p.convoy
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free++
	i := slices.Index(c.jobs, p)
	c.jobs = slices.Concat(c.jobs[:i], c.jobs[i+1:]) // who ranges over the jobs keeps them all
	c.grant()
}

// grant gives away free turns.
func (c *convoy) grant() {
	for c.free > 0 {
		var next *paced
		behind := 0
		for i, p := range c.jobs {
			if i == 0 || p.step < behind {
				behind = p.step
			}
			if p.asked && (next == nil || p.step < next.step) {
				next = p
			}
		}
		if next == nil || next.step > behind+1 {
			return
		}
		next.asked = false
		c.free--
		close(next.turn)
	}
}
