package runtime

import (
	"slices"
	"sync"

	"github.com/qvitc/qvitc/internal/kernel"
	"github.com/qvitc/qvitc/ir"
)

// Config says how a graph is to be compiled.
type Config struct {
	// Batch replaces the first symbolic dimension of every graph input that
	// Shapes does not name. Symbolic dimensions of the same name get the same
	// size everywhere. Where the first graph input has a fixed shape, its first
	// dimension must be Batch (0 takes it as it is).
	Batch int

	// Shapes gives whole shapes of graph inputs by name.
	Shapes map[string][]int

	// Train plans Backward: activations that the gradients need are kept, and
	// Outputs and Taps get a Seed.
	Train bool

	// Params are float32 constants of the graph that may change between calls
	// of Forward (in place, in Value.Const). Nothing that depends on them is
	// computed at compile time. With Train they are the gradients' targets.
	Params []*ir.Value

	// Taps are values other than the graph outputs that State.Value can read
	// after Forward.
	Taps []*ir.Value

	// NoFuse runs every packed operator by itself, with float32 activations
	// between operators. Without it, and without Train, chains of them become
	// fused integer steps that hand codes on. Both give the same bytes.
	NoFuse bool

	// KeepCodes keeps the codes of every quantised operand for State.Codes, in memory of
	// its own. The steps and their results are the same.
	KeepCodes bool

	// MaxMemory bounds, with Train, the bytes of one State (Program.Memory): as
	// many segments of the graph as it takes run forward a second time during
	// Backward rather than keep what the gradients need. The gradients are the same, bit for bit. A limit that
	// cannot be met is an error. 0 means no limit.
	MaxMemory int64

	// FastBackward multiplies the gradients of quantised products as 16-bit
	// integers by codes: about half the time, a relative error of about 3e-4.
	FastBackward bool

	floatProducts bool // quantised products multiply in float: a reference for tests

	folding int64        // bytes that constants may take which are computed while compiling; 0: 32 MiB
	lanes   int          // that a team shares one State by; 0 or 1: no team
	weights *weightStore // packed weights shared by programs; nil: the program's own
}

// Program is a graph compiled at fixed shapes: a list of steps and one memory
// plan. It is immutable and may be shared; States made from it carry the data.
type Program struct {
	steps     []step
	back      []backStep // in the order of execution
	unreached []piece    // of the parameters' gradients, written by no step
	values    []value
	byIR      map[*ir.Value]int // the caller's values; see valueOf
	inputs    []*ir.Value
	output    []*ir.Value
	inputN    map[*ir.Value]int
	params    []int // value of Config.Params[i]
	seeds     []int
	train     bool

	floats                     int // arena length in float32
	u8, i8, i16, i32, f64, tmp int // longest scratch of each kind that a step asks for

	operands []operandShape // right-hand sides that products pack

	hand    handSize // scratch of each thread of the fused steps
	slots   int      // attention steps
	sites   []codeSite
	lanes   int // 1: States have no team
	linears []*packedLinear

	stretches []stretch // what a team goes through
	lent      []bool    // by value: inputs that need not be copied
	ready     sync.Once // their weights are packed

	weightBytes int64
	evaluated   int64 // bytes beside the arena that steps by ops.Eval take

	recomputed, segments int // see Recomputed
}

// valueKind says where a value's data lives.
type valueKind uint8

const (
	inArena   valueKind = iota // float32 in the State's arena
	constant                   // Value.Const of the caller's graph, or folded
	viewOf                     // part of another value: root, off
	asTensor                   // another element type: an *ir.Tensor of the State
	temporary                  // nameless float32 scratch of one step
	asCodes                    // bytes in the State's arena: codes of a quantiser
	ghost                      // a gradient without data: see codes.go
)

// value is what the plan knows about one tensor.
type value struct {
	name  string
	elem  ir.Elem
	shape []int
	n     int // elements
	ld    int // of codes: bytes from row to row
	kind  valueKind
	root  int // value that owns the memory; itself when not a view
	off   int // offset in the root, in elements
	tens  *ir.Tensor
	param int // index in Config.Params, or -1
	life  life

	start, end         int  // time of the root's first write and last read
	at                 int  // offset in the arena
	start2, end2, at2  int  // the same of its second life, see recompute.go; end2 < 0: none
	gstart, gend, gpos int  // the same of the root's gradient; gstart < 0: none
	grad               bool // parameters influence it (noted on roots)
	seed               bool // the caller may give a gradient
}

// life says how long a temporary lives.
type life uint8

const (
	inForward  life = iota // within the step's forward
	inBackward             // within the step's backward
	untilBack              // from the step's forward to its backward
)

// Inputs lists the caller's graph inputs that State.Input accepts.
func (p *Program) Inputs() []*ir.Value { return slices.Clone(p.inputs) }

// Outputs lists the caller's graph outputs.
func (p *Program) Outputs() []*ir.Value { return slices.Clone(p.output) }

// Shape is the shape of an input, output or tap; nil for a value that the
// program does not hold.
func (p *Program) Shape(v *ir.Value) []int {
	id, ok := p.byIR[v]
	if !ok {
		return nil
	}
	return slices.Clone(p.values[id].shape)
}

// Elem is the element type of an input, output or tap.
func (p *Program) Elem(v *ir.Value) ir.Elem {
	id, ok := p.byIR[v]
	if !ok {
		return ir.Undefined
	}
	return p.values[id].elem
}

// Memory is the number of bytes that one State takes beside the packing scratch
// of the kernels.
func (p *Program) Memory() int64 {
	n := 4*int64(p.floats) + int64(p.u8) + int64(p.i8) + 2*int64(p.i16) + 4*int64(p.i32) + 8*int64(p.f64) + 4*int64(p.tmp) + p.hand.bytes() + p.evaluated
	for _, o := range p.operands {
		n += int64(kernel.OperandBytes(o.bits, o.abits, o.n, o.k))
	}
	return n
}

// Steps is the number of steps of one Forward.
func (p *Program) Steps() int { return len(p.steps) }

// size is the number of elements of a shape known to be valid.
func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// rowMajor gives the strides of a dense tensor.
func rowMajor(shape []int) []int {
	st := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		st[i] = n
		n *= shape[i]
	}
	return st
}
