package spin

import (
	"sync"
	"sync/atomic"
)

// Group is a sync.WaitGroup for short work: Wait looks for Patience before it sleeps.
type Group struct {
	n  atomic.Int64
	wg sync.WaitGroup
}

// Add counts n more tasks, before they start.
func (g *Group) Add(n int) {
	g.n.Add(int64(n))
	g.wg.Add(n)
}

// Done counts one task less.
func (g *Group) Done() {
	g.n.Add(-1)
	g.wg.Done()
}

// Wait returns when all tasks that were counted are done.
func (g *Group) Wait() {
	Until(Patience, func() bool { return g.n.Load() == 0 })
	g.wg.Wait()
}
