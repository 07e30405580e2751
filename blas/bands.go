package blas

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/qvitc/qvitc/internal/spin"
)

const (
	minParallel = 1 << 21 // multiplications from which a product is split
	longProduct = 1 << 27 // from which there are two bands a core, for cores that have other work
	rowGrain    = 14      // rows of a kernel tile
	colGrain    = 32      // columns of a packed panel
)

// shared is a product that several goroutines work on. The caller waits for the bands, not
// for the goroutines: one that starts when all bands are taken has come for nothing.
type shared struct {
	product
	beta   float32
	byRows bool
	step   int // rows or columns of a band
	bands  int64

	next   atomic.Int64 // band to hand out
	done   atomic.Int64
	users  atomic.Int64 // the last one gives the memory back
	asleep atomic.Bool  // the caller waits for wake
	wake   chan struct{}
	help   *spin.Task
}

var products sync.Pool // of *shared

func newShared() *shared {
	s, ok := products.Get().(*shared)
	if !ok {
		s = &shared{wake: make(chan struct{}, 1)}
		s.help = spin.NewTask(func() {
			s.work()
			s.leave()
		})
	}
	return s
}

// packing is what it costs, as a part of the product, that each band of rows packs all of
// op(B). Bands of columns pack their own.
const packing = 0.1

// bands cuts a side into bands of whole grains, per for each core: their length, and the part
// of the time that the cores are busy when all are as fast as each other.
func bands(side, grain, cores, per int) (step int, fit float64) {
	n := cores * per
	step = ((side+n-1)/n + grain - 1) / grain * grain
	rounds := ((side+step-1)/step + cores - 1) / cores
	return step, float64(side) / float64(rounds*step*cores)
}

// run cuts a large product into bands, one or two for each core.
func (p *product) run(beta float32) {
	cores := runtime.GOMAXPROCS(0)
	work := float64(p.m) * float64(p.n) * float64(p.k)
	if cores == 1 || work < minParallel {
		p.band(0, p.m, 0, p.n, beta)
		return
	}
	s := newShared()
	s.product, s.beta = *p, beta
	per := 1
	if work > longProduct {
		per = 2
	}
	side := p.n
	rows, fitRows := bands(p.m, rowGrain, cores, per)
	cols, fitCols := bands(p.n, colGrain, cores, per)
	s.step, s.byRows = cols, false
	if fitRows > fitCols+packing {
		side, s.step, s.byRows = p.m, rows, true
	}
	s.bands = int64((side + s.step - 1) / s.step)
	s.next.Store(0)
	s.done.Store(0)
	helpers := min(cores-1, int(s.bands)-1)
	s.users.Store(int64(helpers) + 1)
	for range helpers {
		s.help.Start()
	}
	s.work()
	s.wait()
	s.leave()
}

// work does bands as long as there are any.
func (s *shared) work() {
	for {
		i := s.next.Add(1) - 1
		if i >= s.bands {
			return
		}
		lo := int(i) * s.step
		if s.byRows {
			s.band(lo, min(s.m, lo+s.step), 0, s.n, s.beta)
		} else {
			s.band(0, s.m, lo, min(s.n, lo+s.step), s.beta)
		}
		if s.done.Add(1) == s.bands && s.asleep.CompareAndSwap(true, false) {
			s.wake <- struct{}{}
		}
	}
}

// wait returns when all bands are done.
func (s *shared) wait() {
	finished := func() bool { return s.done.Load() == s.bands }
	if spin.Until(spin.Patience, finished) {
		return
	}
	s.asleep.Store(true)
	if !finished() || !s.asleep.CompareAndSwap(true, false) {
		<-s.wake
	}
}

// leave gives the memory back when everybody has left.
func (s *shared) leave() {
	if s.users.Add(-1) == 0 {
		s.product = product{}
		products.Put(s)
	}
}
