package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// Options of a Session.
type Options struct {
	// Threads is the number of batch shards that run at once; 0 means 1.
	Threads int
	// MaxMemory bounds the bytes of activations of all shards together; 0 means
	// DefaultMaxMemory. Batches are cut smaller to stay below it.
	MaxMemory int64
}

// DefaultMaxMemory is what a session may plan for activations, in bytes.
const DefaultMaxMemory = 8 << 30

// Session runs a graph on batches of any size. It compiles one program for each
// shape it meets and keeps the most recent ones. It is safe for use by several
// goroutines.
//
// A graph whose inputs and outputs all start with the same dimension (the batch)
// is run in shards of at most 32 images, one a thread; the shards do not depend
// on the number of threads, so neither do the results. A model exported with a
// fixed batch runs on its multiples.
type Session struct {
	g     *ir.Graph
	o     Options
	shard int  // images in a shard; 0: the graph is not cut
	fixed bool // the shard is the model's own batch

	mu    sync.Mutex
	plans map[string]*plan
	order []string // keys of plans, oldest first
}

// plan is one compiled shape and its free states.
type plan struct {
	once sync.Once
	p    *Program
	err  error
	mu   sync.Mutex
	free []*State
}

const (
	maxShard = 32
	maxPlans = 16
)

// NewSession prepares to run g, which must not change afterwards.
func NewSession(g *ir.Graph, o Options) (*Session, error) {
	o.Threads = max(1, o.Threads)
	s := &Session{g: g, o: o, plans: map[string]*plan{}}
	typed, _ := g.Clone()
	if _, err := ops.Infer(typed); err != nil {
		return nil, err
	}
	s.findBatch(typed)
	return s, nil
}

// findBatch looks for the dimension along which the graph can be cut.
func (s *Session) findBatch(g *ir.Graph) {
	var batch ir.Dim
	for i, v := range append(slices.Clone(g.Inputs), g.Outputs...) {
		if !v.Type.Ranked || len(v.Type.Shape) == 0 || v.Type.Elem.Bits() < 8 && v.Type.Elem != ir.String {
			return
		}
		d := v.Type.Shape[0]
		if i == 0 {
			batch = d
		}
		if !d.Same(batch) {
			return
		}
	}
	if len(g.Inputs) == 0 {
		return
	}
	s.shard = maxShard
	if batch.Known() {
		s.shard, s.fixed = int(batch.Size), true
	}
}

// Run computes the outputs by name. Inputs are by name too, each with the type
// and, but for symbolic dimensions, the shape of the graph input. A cancelled
// ctx stops between shards.
func (s *Session) Run(ctx context.Context, in map[string]*ir.Tensor) (map[string]*ir.Tensor, error) {
	if err := s.checkInputs(in); err != nil {
		return nil, err
	}
	n, shard := 1, 1
	if s.shard > 0 {
		n = in[s.g.Inputs[0].Name].Shape[0]
		shard = s.shard
		if s.fixed && (shard == 0 || n%shard != 0) {
			return nil, &ir.Error{Tensor: s.g.Inputs[0].Name, Msg: fmt.Sprintf("the model has a fixed batch of %d, given are %d", shard, n)}
		}
		shard = min(shard, max(1, n))
	}
	limit := s.o.MaxMemory
	if limit <= 0 {
		limit = DefaultMaxMemory
	}
	for {
		p, err := s.plan(in, shard)
		if err != nil {
			return nil, err
		}
		parallel := int64(min(s.o.Threads, (n+shard-1)/shard))
		if p.p.Memory()*parallel <= limit {
			break
		}
		if shard == 1 || s.fixed || s.shard == 0 {
			return nil, fmt.Errorf("running the model needs %d bytes of activations for each of %d threads, the limit is %d: raise the limit or use fewer threads", p.p.Memory(), parallel, limit)
		}
		shard = (shard + 1) / 2
	}
	return s.run(ctx, in, n, shard)
}

func (s *Session) run(ctx context.Context, in map[string]*ir.Tensor, n, shard int) (map[string]*ir.Tensor, error) {
	parts := (n + shard - 1) / shard
	results := make([][]*ir.Tensor, parts)
	err := Parallel(parts, s.o.Threads, func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		lo, hi := i*shard, min(n, (i+1)*shard)
		p, err := s.plan(in, hi-lo)
		if err != nil {
			return err
		}
		st := p.take()
		defer p.give(st)
		for _, v := range s.g.Inputs {
			t := in[v.Name]
			if s.shard > 0 {
				t = rows(t, lo, hi)
			}
			if err := st.SetInput(v, t); err != nil {
				return err
			}
		}
		if err := st.Forward(); err != nil {
			return err
		}
		for _, v := range s.g.Outputs {
			results[i] = append(results[i], st.Tensor(v).Clone())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := map[string]*ir.Tensor{}
	for k, v := range s.g.Outputs {
		t := results[0][k]
		if parts > 1 {
			t = stack(results, k)
		}
		out[v.Name] = t
	}
	return out, nil
}

func (s *Session) checkInputs(in map[string]*ir.Tensor) error {
	batch := -1
	for _, v := range s.g.Inputs {
		t := in[v.Name]
		if t == nil {
			return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("the graph input is missing; given are %q", slices.Sorted(maps.Keys(in)))}
		}
		if t.Elem != v.Type.Elem || (v.Type.Ranked && len(t.Shape) != len(v.Type.Shape)) {
			return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("the graph input is %v, given is %v%v", v.Type, t.Elem, t.Shape)}
		}
		for i, d := range v.Type.Shape {
			if d.Known() && int(d.Size) != t.Shape[i] && !(s.fixed && i == 0) {
				return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("the graph input is %v, given is %v%v", v.Type, t.Elem, t.Shape)}
			}
		}
		if s.shard > 0 {
			if batch >= 0 && batch != t.Shape[0] {
				return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("has a batch of %d, another input has %d", t.Shape[0], batch)}
			}
			batch = t.Shape[0]
		}
	}
	for name := range in {
		if !slices.ContainsFunc(s.g.Inputs, func(v *ir.Value) bool { return v.Name == name }) {
			return &ir.Error{Tensor: name, Msg: "is not an input of the graph"}
		}
	}
	if batch == 0 {
		return fmt.Errorf("the batch is empty")
	}
	return nil
}

// plan compiles, or finds, the program for inputs of these shapes with the batch
// replaced by shard.
func (s *Session) plan(in map[string]*ir.Tensor, shard int) (*plan, error) {
	shapes := map[string][]int{}
	var key strings.Builder
	for _, v := range s.g.Inputs {
		sh := slices.Clone(in[v.Name].Shape)
		if s.shard > 0 {
			sh[0] = shard
		}
		shapes[v.Name] = sh
		fmt.Fprint(&key, sh)
	}
	k := key.String()
	s.mu.Lock()
	p := s.plans[k]
	if p == nil {
		p = &plan{}
		s.plans[k] = p
		s.order = append(s.order, k)
		if len(s.order) > maxPlans {
			delete(s.plans, s.order[0])
			s.order = s.order[1:]
		}
	}
	s.mu.Unlock()
	p.once.Do(func() { p.p, p.err = Compile(s.g, Config{Shapes: shapes}) })
	return p, p.err
}

func (p *plan) take() *State {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		st := p.free[n-1]
		p.free = p.free[:n-1]
		return st
	}
	return p.p.NewState()
}

func (p *plan) give(st *State) {
	p.mu.Lock()
	p.free = append(p.free, st)
	p.mu.Unlock()
}
