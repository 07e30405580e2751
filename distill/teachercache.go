package distill

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"strings"
	"sync"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// repeated is a Source that shows every image in few forms only, such as mirrored
// or not: its answers come back in later epochs.
type repeated interface {
	Forms() int // of an image; 0: as many as there are epochs
	Len() int   // images of an epoch
}

// TeacherCache keeps what one teacher gives for an image, found by the pixels:
// logits, queries and keys where DGD compares them, and features. The teacher treats every
// image of a batch alike, so its answers are the same bits whether they are kept
// or computed. Jobs with the same teacher may share one, also at the same time.
type TeacherCache struct {
	// Abreast says that jobs use the cache at the same time, about as far as one
	// another and on the same batches. Where the answers are too many to be kept, and
	// Options.MaxMemory is not set, those for the batches of three steps are.
	Abreast bool

	seed   [2]maphash.Seed
	mu     sync.Mutex
	kept   map[answerKey][]float32
	size   int64     // bytes of the answers kept
	latest []*shared // of the last steps, where jobs run abreast
}

// answerKey names the answers for an image: which values of the teacher, and a
// hash of the pixels.
type answerKey struct {
	values string
	image  [2]uint64
}

// NewTeacherCache returns an empty cache.
func NewTeacherCache() *TeacherCache {
	return &TeacherCache{seed: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, kept: map[answerKey][]float32{}}
}

// cached is a TeacherCache as one engine uses it.
type cached struct {
	*TeacherCache
	values []*ir.Value // of the teacher, logits first; their parts for an image lie one after the other
	logits int
	names  string
	limit  int64
	need   int64 // bytes for all forms of all images; 0: those of the last steps are kept
}

// defaultTeacherCache is the memory that is given to it unless asked otherwise.
const defaultTeacherCache = 512 << 20

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

// newCached makes a cache, or takes the job's, where answers may be asked for again:
// in later epochs, if those for all forms of all images fit the limit, or by jobs
// abreast. Nil otherwise.
func (e *engine) newCached(p *plan, n int) *cached {
	if e.teacher == nil {
		return nil
	}
	c := &cached{TeacherCache: e.shared, logits: len(e.logits[1]), limit: e.cacheLimit()}
	c.values = append(c.values, e.logits[1]...)
	for _, t := range e.allTaps() {
		c.values = append(c.values, t.t)
	}
	var names []string
	for _, v := range c.values {
		names = append(names, ir.Quote(v.Name))
	}
	c.names = strings.Join(names, " ")
	abreast := e.shared != nil && e.shared.Abreast && c.limit > 0 && e.opt.MaxMemory == 0
	if all, ok := e.data.(repeated); ok && all.Forms() > 0 && (e.opt.Epochs > 1 || e.shared != nil) {
		c.need = 4 * int64(c.numbers(p)/n) * int64(all.Len()) * int64(all.Forms())
	}
	switch {
	case c.need > 0 && c.need <= c.limit:
	case abreast:
		c.need = 0
	default:
		return nil
	}
	if c.TeacherCache == nil {
		c.TeacherCache = NewTeacherCache()
	}
	return c
}

// numbers is how many numbers the answers for a shard of the plan are.
func (c *cached) numbers(p *plan) (n int) {
	for _, v := range c.values {
		n += elements(p.teacher.Shape(v))
	}
	return n
}

// key is where the answers for an image are kept.
func (c *cached) key(x []float32) answerKey {
	k := answerKey{values: c.names}
	var h [2]maphash.Hash
	for i, seed := range c.seed {
		h[i].SetSeed(seed)
	}
	var b [256]byte
	for at := 0; at < len(x); at += 64 {
		part := b[:0]
		for _, v := range x[at:min(at+64, len(x))] {
			part = binary.LittleEndian.AppendUint32(part, math.Float32bits(v))
		}
		h[0].Write(part)
		h[1].Write(part)
	}
	k.image = [2]uint64{h[0].Sum64(), h[1].Sum64()}
	return k
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

// teach gives the teacher's answers for the n images of x; nil without a teacher.
func (w *worker) teach(e *engine, n int, x []float32) (*answers, error) {
	if e.teacher == nil {
		return nil, nil
	}
	p, c := e.plans[n], e.cache
	if c != nil && c.need > 0 && w.recall(c, p, n, x) {
		return &w.answers, nil
	}
	ask := func() (*runtime.State, error) { return runOn(w.teacher, p.teacher, e.teacher, n, x, nil) }
	if c != nil && c.need == 0 {
		all, err := c.together(c.key(x), e.step, func() ([]float32, error) {
			st, err := ask()
			if err != nil {
				return nil, err
			}
			return c.gather(st, p), nil
		})
		if err == nil {
			c.split(&w.answers, p, all)
		}
		return &w.answers, err
	}
	st, err := ask()
	if err != nil {
		return nil, err
	}
	a := &w.answers
	a.logits, a.taps = a.logits[:0], a.taps[:0]
	for _, v := range e.logits[1] {
		a.logits = append(a.logits, st.Value(v))
	}
	for _, t := range e.allTaps() {
		a.taps = append(a.taps, st.Value(t.t))
	}
	if c != nil && c.need > 0 {
		c.keep(st, w.keys)
	}
	return a, nil
}

// keep copies the answers for the images of the keys, while there is room.
func (c *cached) keep(st *runtime.State, keys []answerKey) {
	n := len(keys)
	for i, key := range keys {
		var all []float32
		for _, v := range c.values {
			x := st.Value(v)
			all = append(all, x[i*len(x)/n:(i+1)*len(x)/n]...)
		}
		c.mu.Lock()
		if size := 4 * int64(len(all)); c.kept[key] == nil && c.size+size <= c.limit {
			c.kept[key], c.size = all, c.size+size
		}
		c.mu.Unlock()
	}
}

// recall sets w.keys, and fills w.answers if the cache holds all n images of x.
func (w *worker) recall(c *cached, p *plan, n int, x []float32) bool {
	w.keys, w.kept = w.keys[:0], w.kept[:0]
	for i := range n {
		w.keys = append(w.keys, c.key(x[i*len(x)/n:(i+1)*len(x)/n]))
	}
	c.mu.Lock()
	for _, k := range w.keys {
		w.kept = append(w.kept, c.kept[k])
	}
	c.mu.Unlock()
	for _, k := range w.kept {
		if k == nil {
			return false
		}
	}
	size := c.numbers(p)
	if cap(w.recalled) < size {
		w.recalled = make([]float32, size)
	}
	all := w.recalled[:size]
	from, to := 0, 0
	for _, v := range c.values {
		size := elements(p.teacher.Shape(v)) / n
		for _, answer := range w.kept {
			to += copy(all[to:], answer[from:from+size])
		}
		from += size
	}
	c.split(&w.answers, p, all)
	return true
}

// split sets a to the answers for a shard, which lie one after the other in all.
func (c *cached) split(a *answers, p *plan, all []float32) {
	a.logits, a.taps = a.logits[:0], a.taps[:0]
	for k, v := range c.values {
		size := elements(p.teacher.Shape(v))
		if k < c.logits {
			a.logits = append(a.logits, all[:size])
		} else {
			a.taps = append(a.taps, all[:size])
		}
		all = all[size:]
	}
}
