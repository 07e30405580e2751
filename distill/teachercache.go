package distill

import (
	"sync"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// fixed is a Source that tells whether its images stay as they are: the image of
// a place in Batch.Index is then the same numbers in every epoch.
type fixed interface {
	Fixed() bool
	Len() int // images of an epoch
}

// teacherCache holds what the teacher gives for each image: logits, and queries
// and keys where DGD compares them. The teacher treats every image of a batch
// alike, so its answers are the same bits whether they are kept or computed.
type teacherCache struct {
	values []*ir.Value
	mu     sync.Mutex
	images map[int][]float32 // by place; the parts of values, one after the other
}

// defaultTeacherCache is the memory that is given to it unless asked otherwise.
const defaultTeacherCache = 512 << 20

// cacheable tells whether the images come back unchanged.
func (e *engine) cacheable(data Source) bool {
	s, ok := data.(fixed)
	return e.teacher != nil && ok && s.Fixed() && e.opt.Epochs > 1 && e.cacheLimit() > 0
}

// cacheLimit is the memory for the teacher's answers in bytes.
func (e *engine) cacheLimit() int64 {
	limit := e.opt.TeacherCache
	if limit == 0 {
		limit = defaultTeacherCache
	}
	if e.opt.MaxMemory > 0 {
		limit = min(limit, e.opt.MaxMemory/4)
	}
	return limit
}

// newTeacherCache makes a cache where the answers for all images fit the limit;
// nil otherwise.
func (e *engine) newTeacherCache(data Source, p *plan, n int) *teacherCache {
	if !e.mayCache {
		return nil
	}
	c := &teacherCache{images: map[int][]float32{}}
	c.values = append(c.values, e.logits[1]...)
	for _, t := range e.taps {
		c.values = append(c.values, t.t)
	}
	size := 0
	for _, v := range c.values {
		size += elements(p.teacher.Shape(v))
	}
	if 4*int64(size/n)*int64(data.(fixed).Len()) > e.cacheLimit() {
		return nil
	}
	return c
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// answers are the teacher's logits by head and its taps for one shard.
type answers struct{ logits, taps [][]float32 }

// teach gives the teacher's answers for images lo to hi of the batch; nil
// without a teacher.
func (w *worker) teach(e *engine, b *dataset.Batch, lo, hi int, x []float32) (*answers, error) {
	if e.teacher == nil {
		return nil, nil
	}
	p := e.plans[hi-lo]
	a := &w.answers
	a.logits, a.taps = a.logits[:0], a.taps[:0]
	if w.recall(e, b, p, lo, hi) {
		return a, nil
	}
	st, err := runOn(w.teacher, p.teacher, e.teacher, hi-lo, x, nil)
	if err != nil {
		return nil, err
	}
	for _, v := range e.logits[1] {
		a.logits = append(a.logits, st.Value(v))
	}
	for _, t := range e.taps {
		a.taps = append(a.taps, st.Value(t.t))
	}
	if e.cache != nil && len(b.Index) == len(b.Labels) {
		e.cache.keep(st, b.Index[lo:hi])
	}
	return a, nil
}

// keep copies the answers of a shard.
func (c *teacherCache) keep(st *runtime.State, index []int) {
	n := len(index)
	for i, place := range index {
		var all []float32
		for _, v := range c.values {
			x := st.Value(v)
			all = append(all, x[i*len(x)/n:(i+1)*len(x)/n]...)
		}
		c.mu.Lock()
		c.images[place] = all
		c.mu.Unlock()
	}
}

// recall fills w.answers from the cache if it holds every image of the shard.
func (w *worker) recall(e *engine, b *dataset.Batch, p *plan, lo, hi int) bool {
	if e.cache == nil || len(b.Index) != len(b.Labels) {
		return false
	}
	c, n := e.cache, hi-lo
	w.kept = w.kept[:0]
	c.mu.Lock()
	for _, place := range b.Index[lo:hi] {
		w.kept = append(w.kept, c.images[place])
	}
	c.mu.Unlock()
	for _, k := range w.kept {
		if k == nil {
			return false
		}
	}
	a := &w.answers
	at, memory := 0, 0
	for _, v := range c.values {
		memory += elements(p.teacher.Shape(v))
	}
	if cap(w.recalled) < memory {
		w.recalled = make([]float32, memory)
	}
	free := w.recalled[:memory]
	for k, v := range c.values {
		size := elements(p.teacher.Shape(v)) / n
		x := free[:n*size]
		free = free[n*size:]
		for i, all := range w.kept {
			copy(x[i*size:], all[at:at+size])
		}
		at += size
		if k < len(e.logits[1]) {
			a.logits = append(a.logits, x)
		} else {
			a.taps = append(a.taps, x)
		}
	}
	return true
}
