package runtime

import (
	"context"
	"fmt"
	"maps"
	goruntime "runtime"
	"slices"
	"sync/atomic"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

// Options of a Session.
type Options struct {
	// Threads is the number of goroutines that one Run works with: on batch shards
	// where there are several, else inside one image. 0 means 1. The result does
	// not depend on it.
	Threads int
	// MaxMemory bounds the bytes of one Run: packed weights and the activations of
	// all shards that run at once; 0 means DefaultMaxMemory. Batches are cut smaller
	// to stay below it, and a Run that cannot is refused before it takes any memory.
	MaxMemory int64
	// Release lets the Session drop the packed weights of the graph as soon as it
	// has stored them in the form of its kernels: the graph then serves this
	// Session only.
	Release bool
}

// DefaultMaxMemory is what a session may plan for one Run, in bytes.
const DefaultMaxMemory = 8 << 30

// Session runs a graph on batches of any size. It compiles one program for each
// shape it meets and keeps the most recent ones. It is safe for use by several
// goroutines and needs no closing.
//
// A graph whose inputs and outputs all start with the same dimension (the batch)
// is run in shards of at most 32 images, one a thread; the shards do not depend
// on the number of threads, so neither do the results. A model exported with a
// fixed batch runs on its multiples.
//
// A graph whose shapes depend on the content of small integer inputs (a target
// shape, axes, bounds) is compiled for the content it is given.
type Session struct {
	g     *ir.Graph
	o     Options
	shard int  // images in a shard; 0: the graph is not cut
	fixed bool // the shard is the model's own batch

	weights weightStore
	running atomic.Int64 // Runs going on
	plans   planCache
	bound   boundCache
}

const maxShard = 32

// NewSession prepares to run g, which must not change afterwards.
func NewSession(g *ir.Graph, o Options) (*Session, error) {
	o.Threads = max(1, o.Threads)
	s := &Session{g: g, o: o}
	typed, _ := g.Shadow()
	if _, err := ops.Infer(typed); err != nil {
		return nil, err
	}
	s.findBatch(typed)
	return s, nil
}

// Graph is the graph that the session runs: for the names and types of its inputs
// and outputs, and its metadata.
func (s *Session) Graph() *ir.Graph { return s.g }

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
// ctx stops between steps.
func (s *Session) Run(ctx context.Context, in map[string]*ir.Tensor) (map[string]*ir.Tensor, error) {
	if err := s.checkInputs(in); err != nil {
		return nil, err
	}
	if b := s.bound.known(s, in); b != nil {
		return b.Run(ctx, b.left(in))
	}
	out := map[string]*ir.Tensor{}
	err := s.run(ctx, in, out)
	if err != nil && ctx.Err() == nil {
		// The shapes may depend on the content of inputs.
		if b := s.bound.try(s, in); b != nil {
			out, err := b.Run(ctx, b.left(in))
			if err == nil {
				s.bound.needed.Store(true)
			}
			return out, err
		}
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RunInto is Run with the outputs written to the tensors of out, which holds one of
// the right type and shape for each output, by name. After the first calls with a
// shape it allocates nothing where the batch is one shard or Threads is 1.
func (s *Session) RunInto(ctx context.Context, in, out map[string]*ir.Tensor) error {
	if err := s.checkInputs(in); err != nil {
		return err
	}
	for _, v := range s.g.Outputs {
		if out[v.Name] == nil {
			return &ir.Error{Tensor: v.Name, Msg: "there is no tensor for the output"}
		}
	}
	return s.run(ctx, in, out)
}

// run does the work; outputs that are missing in out are made.
func (s *Session) run(ctx context.Context, in, out map[string]*ir.Tensor) error {
	n := 1
	if s.shard > 0 {
		n = in[s.g.Inputs[0].Name].Shape[0]
		if s.fixed && (s.shard == 0 || n%s.shard != 0) {
			return &ir.Error{Tensor: s.g.Inputs[0].Name, Msg: fmt.Sprintf("the model has a fixed batch of %d, given are %d", s.shard, n)}
		}
	}
	shard, first, err := s.cut(in, n)
	if err != nil {
		return err
	}
	if err := s.outputs(first.p, out, n, shard); err != nil {
		return err
	}
	running := s.running.Add(1)
	defer s.running.Add(-1)
	if n <= shard || s.o.Threads == 1 {
		lanes, helpers := s.lanes(n, shard), 0
		if first.p.lanes > 1 {
			helpers = max(0, min(s.o.Threads-int(running), goruntime.GOMAXPROCS(0)-1))
		}
		for lo := 0; lo < n; lo += shard {
			if err := s.runShard(ctx, in, out, lo, min(n, lo+shard), lanes, helpers); err != nil {
				return err
			}
		}
		return nil
	}
	return Parallel((n+shard-1)/shard, s.o.Threads, func(i int) error {
		return s.runShard(ctx, in, out, i*shard, min(n, (i+1)*shard), 1, 0)
	})
}

// lanes is the number of lanes that a team shares a shard by: the shards of n images go
// to one goroutine each where there are several.
func (s *Session) lanes(n, shard int) int {
	if n <= shard {
		return s.o.Threads
	}
	return 1
}

// shardMemory is the size that the activations of a shard of fused steps should stay
// below: about the second-level cache.
const shardMemory = 2 << 20

// cut chooses how many of n images go into a shard and plans it.
func (s *Session) cut(in map[string]*ir.Tensor, n int) (int, *plan, error) {
	shard := 1
	if s.shard > 0 {
		shard = min(s.shard, max(1, n))
	}
	if shard > 1 && !s.fixed {
		one, err := s.plan(in, 1, 1)
		if err != nil {
			return 0, nil, err
		}
		if len(one.p.linears) > 0 {
			shard = int(max(1, min(int64(shard), shardMemory/max(1, one.p.Memory()))))
		}
	}
	limit := s.o.MaxMemory
	if limit <= 0 {
		limit = DefaultMaxMemory
	}
	for {
		p, err := s.plan(in, shard, s.lanes(n, shard))
		if err != nil {
			return 0, nil, err
		}
		parallel := int64(min(s.o.Threads, (n+shard-1)/shard))
		need := p.p.WeightMemory() + p.p.Memory()*parallel
		if parallel == 1 {
			need += p.p.hand.bytes() * int64(s.o.Threads-1)
		}
		if need <= limit {
			return shard, p, nil
		}
		if shard == 1 || s.fixed || s.shard == 0 {
			return 0, nil, fmt.Errorf("running the model needs %d bytes (packed weights %d, activations %d for each of %d threads), the limit is %d: raise the limit or use fewer threads", need, p.p.WeightMemory(), p.p.Memory(), parallel, limit)
		}
		shard = (shard + 1) / 2
	}
}

// outputs makes the tensors that are missing and checks those given.
func (s *Session) outputs(p *Program, out map[string]*ir.Tensor, n, shard int) error {
	for _, v := range s.g.Outputs {
		x := &p.values[p.byIR[v]]
		cut := s.shard > 0 && len(x.shape) > 0
		t := out[v.Name]
		if t == nil {
			shape := slices.Clone(x.shape)
			if cut {
				shape[0] = n
			}
			made, err := ir.NewTensor(x.elem, shape...)
			if err != nil {
				return &ir.Error{Tensor: v.Name, Msg: err.Error()}
			}
			out[v.Name] = made
			continue
		}
		ok := t.Elem == x.elem && len(t.Shape) == len(x.shape)
		for i := 0; ok && i < len(x.shape); i++ {
			want := x.shape[i]
			if cut && i == 0 {
				want = n
			}
			ok = t.Shape[i] == want
		}
		if !ok {
			return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("the output of %d images is %v%v each %d, the tensor given is %v%v", n, x.elem, x.shape, shard, t.Elem, t.Shape)}
		}
	}
	return nil
}

// runShard runs the images lo .. hi-1.
func (s *Session) runShard(ctx context.Context, in, out map[string]*ir.Tensor, lo, hi, lanes, helpers int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := s.plan(in, hi-lo, lanes)
	if err != nil {
		return err
	}
	st := p.take(s.o)
	defer p.give(st, s.o)
	defer st.takeBack()
	for _, v := range s.g.Inputs {
		t := in[v.Name]
		if s.shard > 0 {
			err = st.setRows(v, t, lo, hi)
		} else {
			err = st.SetInput(v, t)
		}
		if err != nil {
			return err
		}
	}
	if helpers > 0 {
		st.gather(helpers)
		defer st.dismiss()
	}
	if err := st.forward(ctx); err != nil {
		return err
	}
	for _, v := range s.g.Outputs {
		t, got := out[v.Name], st.Tensor(v)
		at := 0
		if s.shard > 0 && len(got.Shape) > 0 {
			at = lo * size(got.Shape[1:])
		}
		if got.Elem == ir.Float32 {
			copy(t.F32()[at:], got.F32())
		} else {
			place(t.Raw(), got.Raw(), at)
		}
	}
	return nil
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
	if len(in) != len(s.g.Inputs) {
		for name := range maps.Keys(in) {
			if !slices.ContainsFunc(s.g.Inputs, func(v *ir.Value) bool { return v.Name == name }) {
				return &ir.Error{Tensor: name, Msg: "is not an input of the graph"}
			}
		}
	}
	if batch == 0 {
		return fmt.Errorf("the batch is empty")
	}
	return nil
}
