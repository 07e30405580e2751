package runtime

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// State is the memory of one run of a Program: activations, gradients, scratch.
// It belongs to one goroutine; several States of one Program may run at once.
// After NewState, Forward and Backward allocate nothing (the kernels' packing
// scratch grows during the first call).
type State struct {
	p    *Program
	v    [][]float32 // data by value
	g    [][]float32 // gradients by value; nil where there is none
	t    []*ir.Tensor
	w    kernel.Workspace
	u8   []uint8
	i8   []int8
	i16  []int16
	i32  []int32
	f64  []float64
	tmp  []float32
	set  []bool // non-float inputs that have been given, by value
	prof []StepTime

	operands []*kernel.Operand
	on       bool

	hands []hand          // scratch of the fused steps, one a thread
	heads [][]*packedHead // by attention step and matrix
	team  *team           // nil: the State works alone
	crew  *team           // the team of earlier runs

	arena []float32
	home  [][]float32 // first places of values that have a second one
	moved bool        // some values are at their second place
}

// NewState allocates a State. Parameters and other constants are not copied.
func (p *Program) NewState() *State {
	p.packWeights(1)
	s := &State{
		p: p,
		v: make([][]float32, len(p.values)), g: make([][]float32, len(p.values)),
		t: make([]*ir.Tensor, len(p.values)), set: make([]bool, len(p.values)),
		u8: make([]uint8, p.u8), i8: make([]int8, p.i8), i16: make([]int16, p.i16), i32: make([]int32, p.i32),
		f64: make([]float64, p.f64), tmp: make([]float32, p.tmp),
		hands: make([]hand, 1), heads: make([][]*packedHead, p.slots),
	}
	for _, o := range p.operands {
		s.operands = append(s.operands, kernel.NewOperand(nil, o.bits, o.abits, o.n, o.k))
	}
	s.hands[0] = p.hand.make()
	arena := make([]float32, p.floats)
	for i := range p.values {
		x := &p.values[i]
		switch x.kind {
		case constant:
			s.t[i] = x.tens
			s.v[i] = x.tens.F32()
		case inArena, temporary, asCodes:
			if n := x.floats(); x.start <= x.end {
				s.v[i] = arena[x.at : x.at+n : x.at+n]
			}
		}
		if x.grad && x.root == i && x.gstart >= 0 && x.param < 0 {
			s.g[i] = arena[x.gpos : x.gpos+x.n : x.gpos+x.n]
		}
	}
	for i := range p.values {
		x := &p.values[i]
		if x.kind == viewOf {
			if d := s.v[x.root]; d != nil {
				s.v[i] = d[x.off : x.off+x.n]
			}
			if g := s.g[x.root]; g != nil {
				s.g[i] = g[x.off : x.off+x.n]
			}
		}
		if s.t[i] == nil && x.elem == ir.Float32 && x.kind != temporary && s.v[i] != nil {
			s.t[i], _ = ir.Wrap(ir.Float32, x.shape, s.v[i])
		}
	}
	for _, k := range p.steps {
		if k, ok := k.(interface{ prepare(*State) }); ok {
			k.prepare(s)
		}
	}
	s.arena, s.home = arena, slices.Clone(s.v)
	return s
}

// u is a value of unsigned codes.
func (s *State) u(id int) []uint8 { return kernel.AsUnsigned(s.v[id])[:s.p.values[id].n] }

// s is a value of signed codes.
func (s *State) s(id int) []int8 { return kernel.AsSigned(s.v[id])[:s.p.values[id].n] }

// Program gives the program that the state runs.
func (s *State) Program() *Program { return s.p }

// Input is the buffer of a float32 graph input: write it before Forward. It
// keeps its content until it is written again. Nil for other values.
func (s *State) Input(v *ir.Value) []float32 {
	id, ok := s.p.inputN[v]
	if !ok || s.p.values[id].elem != ir.Float32 {
		return nil
	}
	return s.v[id]
}

// SetInput copies a tensor into a graph input of any element type; shape and
// type must be the planned ones.
func (s *State) SetInput(v *ir.Value, t *ir.Tensor) error {
	id, ok := s.p.inputN[v]
	if !ok {
		return &ir.Error{Tensor: v.Name, Msg: "is not an input of the graph"}
	}
	x := &s.p.values[id]
	if t.Elem != x.elem || !equalInts(t.Shape, x.shape) {
		return &ir.Error{Tensor: v.Name, Msg: fmt.Sprintf("the graph input is %v%v, given is %v%v", x.elem, x.shape, t.Elem, t.Shape)}
	}
	if x.elem == ir.Float32 {
		copy(s.v[id], t.F32())
		return nil
	}
	s.t[id], s.set[id] = t, true
	return nil
}

// Value is the data of an output, tap or input, valid until the next Forward.
// It is nil for a value that the program does not hold or that is not float32.
func (s *State) Value(v *ir.Value) []float32 {
	id, ok := s.p.byIR[v]
	if !ok {
		return nil
	}
	return s.v[id]
}

// Tensor is Value as a tensor, of any element type. It shares the state's
// memory.
func (s *State) Tensor(v *ir.Value) *ir.Tensor {
	id, ok := s.p.byIR[v]
	if !ok {
		return nil
	}
	return s.t[id]
}

// Seed is the gradient dLoss/dv of an output or tap. Forward clears it; add to
// it, then call Backward. It is nil when no parameter can influence v.
func (s *State) Seed(v *ir.Value) []float32 {
	id, ok := s.p.byIR[v]
	if !ok || !s.p.values[id].seed {
		return nil
	}
	return s.g[id]
}

// Forward runs the graph on the inputs. Errors name the node. A panic of a
// kernel, which would be a bug here, comes back as an error too: states run on
// goroutines that nobody else could guard.
func (s *State) Forward() error { return s.forward(context.Background()) }

// forward stops between two steps when ctx is done.
func (s *State) forward(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error while running the graph: %v", r)
		}
	}()
	for _, v := range s.p.inputs {
		if id := s.p.inputN[v]; s.p.values[id].kind == asTensor && !s.set[id] {
			return &ir.Error{Tensor: v.Name, Msg: "the graph input has not been set"}
		}
	}
	s.settle()
	if s.on {
		return s.timedForward(ctx)
	}
	if s.team != nil {
		return s.team.run(ctx)
	}
	for _, st := range s.p.steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := st.forward(s); err != nil {
			return err
		}
	}
	s.clearSeeds()
	return nil
}

func (s *State) clearSeeds() {
	for _, id := range s.p.seeds {
		clear(s.g[id])
	}
}

// Backward writes dLoss/dParams[i] to grads[i], which has the length of
// Config.Params[i]. It must follow a Forward and may be called once for it. It
// panics when the program was not compiled for training or a length is wrong.
func (s *State) Backward(grads [][]float32) {
	p := s.p
	if !p.train {
		panic("runtime: Backward of a program compiled without Train")
	}
	if len(grads) != len(p.params) {
		panic(fmt.Sprintf("runtime: Backward needs %d gradients, got %d", len(p.params), len(grads)))
	}
	for i, id := range p.params {
		if len(grads[i]) != p.values[id].n {
			panic(fmt.Sprintf("runtime: gradient %d has %d elements, parameter %q has %d", i, len(grads[i]), p.values[id].name, p.values[id].n))
		}
		s.g[id] = grads[i]
	}
	for i := range p.values {
		if x := &p.values[i]; x.kind == viewOf && p.values[x.root].param >= 0 {
			s.g[i] = s.g[x.root][x.off : x.off+x.n]
		}
	}
	for _, c := range p.unreached {
		clear(s.g[c.root][c.lo:c.hi])
	}
	for i := range p.back {
		b := &p.back[i]
		if s.on {
			s.timedBackward(b)
			continue
		}
		s.runBack(b)
	}
}

func (s *State) runBack(b *backStep) {
	for _, c := range b.clear {
		clear(s.g[c.root][c.lo:c.hi])
	}
	for i := range b.again {
		r := &b.again[i]
		s.relocate(r.moved)
		if err := r.step.forward(s); err != nil {
			panic(err) // the same step has run on the same data
		}
	}
	b.step.backward(s)
}

// StepTime is the time that one step took since profiling was switched on.
type StepTime struct {
	Name, Op string
	Nanos    int64 // forward and backward together
	Backward int64 // backward alone
}

// EnableProfile starts measuring each step; times start at zero.
func (s *State) EnableProfile() {
	s.on = true
	s.prof = make([]StepTime, len(s.p.steps))
	for i, st := range s.p.steps {
		b := st.plan()
		s.prof[i] = StepTime{Name: b.name, Op: b.op}
	}
}

// Profile gives the time of each step in order of execution; nil unless
// EnableProfile was called.
func (s *State) Profile() []StepTime { return s.prof }

func (s *State) timedForward(ctx context.Context) error {
	for i, st := range s.p.steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		t := time.Now()
		if err := st.forward(s); err != nil {
			return err
		}
		s.prof[i].Nanos += time.Since(t).Nanoseconds()
	}
	s.clearSeeds()
	return nil
}

func (s *State) timedBackward(b *backStep) {
	t := time.Now()
	s.runBack(b)
	d := time.Since(t).Nanoseconds()
	s.prof[b.index].Nanos += d
	s.prof[b.index].Backward += d
}

func equalInts(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
