//go:build ortops

package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/runtime"
)

// plan is an operator at one shape of its activations, cut into parts along the
// first dimension that is not 1. What belongs to a part is contiguous.
type plan struct {
	shapes [][]int // of the activations
	shape  []int   // of the result
	parts  []*part
}

// part computes a stretch of the result from stretches of the activations.
type part struct {
	program *program
	from    []int // first element of each activation
	to      int   // first element of the result
	skip    int   // elements of the result that the part before has computed
}

// program is the graph of the node alone at the shape of a part, with free states.
type program struct {
	g           *ir.Graph
	p           *runtime.Program
	activations []int
	mu          sync.Mutex
	free        []*state
}

// state is a runtime.State with memory for a result that is not used whole.
type state struct {
	*runtime.State
	scratch []float32
}

// leastRows is the fewest rows of a linear layer that are worth a part: each part
// unpacks the weights once.
const leastRows = 32

func newPlan(op *operator, shapes [][]int) (*plan, error) {
	p := &plan{shapes: shapes}
	linear := len(shapes) == 1
	work := slices.Clone(shapes)
	if linear && len(shapes[0]) > 1 { // rows, whatever their shape
		k := shapes[0][len(shapes[0])-1]
		work[0] = []int{elements(shapes[0][:len(shapes[0])-1]), k}
	}
	rank := 0
	for _, s := range work {
		rank = max(rank, len(s))
	}
	axis, size := -1, 1 // counted from the end: shapes broadcast
	for d := rank; d > 1; d-- {
		if d == 2 && !linear {
			break // the matrix itself
		}
		for _, s := range work {
			if d <= len(s) {
				size = max(size, s[len(s)-d])
			}
		}
		if size > 1 {
			axis = d
			break
		}
	}
	pieces := min(most, size)
	if linear {
		pieces = min(pieces, size/leastRows)
	}
	var err error
	if p.shape, err = resultShape(op, shapes); err != nil {
		return nil, err
	}
	if axis < 0 || pieces < 2 {
		whole, err := newProgram(op, shapes, 0, 0, 0)
		p.parts = []*part{{program: whole, from: make([]int, len(shapes))}}
		return p, err
	}
	length := (size + pieces - 1) / pieces
	made := map[int]*program{}
	for lo := 0; lo < size; lo += length {
		at := min(lo, size-length) // the last part goes back to be as long as the others
		row := elements(p.shape) / size
		piece := &part{from: make([]int, len(work)), to: at * row, skip: (lo - at) * row}
		cut := make([][]int, len(work))
		for k, s := range work {
			cut[k] = slices.Clone(s)
			if d := len(s) - axis; d >= 0 && s[d] == size {
				cut[k][d] = length
				piece.from[k] = at * elements(s) / size
			}
		}
		key := at // scales a head differ
		if linear {
			key = 0
		}
		if made[key] == nil {
			if made[key], err = newProgram(op, cut, axis, at, at+length); err != nil {
				return nil, err
			}
		}
		piece.program = made[key]
		p.parts = append(p.parts, piece)
	}
	return p, nil
}

// resultShape is the shape of the result for activations of these shapes.
func resultShape(op *operator, shapes [][]int) ([]int, error) {
	g := graphOf(op, shapes, 0, 0, 0)
	if _, err := ops.Infer(g); err != nil {
		return nil, err
	}
	dims, ok := g.Outputs[0].Type.Shape.Ints()
	if !ok {
		return nil, fmt.Errorf("the shape of %s is not known for inputs of %v", op.name, shapes)
	}
	return dims, nil
}

// graphOf makes the graph of the node for activations of these shapes. Of
// constants that vary along the axis (from the end; 0: none) it takes the part lo
// to hi.
func graphOf(op *operator, shapes [][]int, axis, lo, hi int) *ir.Graph {
	g := ir.New(op.name)
	var values []*ir.Value
	for i, c := range op.constants {
		if k := slices.Index(op.activations, i); k >= 0 {
			values = append(values, g.AddInput(fmt.Sprint("in", i), ir.TensorType(ir.Float32, ir.Known(shapes[k]...))))
			continue
		}
		if at := len(c.Shape) - axis; len(shapes) > 1 && axis > 0 && at >= 0 && at < len(c.Shape) && c.Shape[at] > 1 {
			per := c.Len() / c.Shape[at]
			shape := slices.Clone(c.Shape)
			shape[at] = hi - lo
			c = ir.Of(c.F32()[lo*per:hi*per], shape...)
		}
		values = append(values, g.AddConst(fmt.Sprint("const", i), c))
	}
	n := g.Add("", "y", nil, values...)
	n.Domain, n.Op = ir.Domain, op.name
	g.AddOutput(n.Out())
	return g
}

// newProgram compiles graphOf.
func newProgram(op *operator, shapes [][]int, axis, lo, hi int) (*program, error) {
	pr := &program{g: graphOf(op, shapes, axis, lo, hi), activations: op.activations}
	if _, err := ops.Infer(pr.g); err != nil {
		return nil, err
	}
	named := map[string][]int{}
	for k, v := range pr.g.Inputs {
		named[v.Name] = shapes[k]
	}
	var err error
	pr.p, err = runtime.Compile(pr.g, runtime.Config{Shapes: named})
	return pr, err
}

// run computes the part's stretch of y.
func (p *part) run(in [6]tensor, y []float32) error {
	pr := p.program
	st := pr.take()
	defer pr.give(st)
	for k, i := range pr.activations {
		v := pr.g.Inputs[k]
		n := elements(pr.p.Shape(v))
		data := in[i].floats()
		if p.from[k]+n > len(data) {
			return errors.New("an input is shorter than its shape")
		}
		if data = data[p.from[k] : p.from[k]+n]; !st.Bind(v, data) {
			copy(st.Input(v), data)
		}
	}
	out := pr.g.Outputs[0]
	n := elements(pr.p.Shape(out))
	y = y[p.to : p.to+n]
	if n == 0 {
		return nil
	}
	target := y
	if p.skip > 0 { // the part before may be writing there
		if st.scratch == nil {
			st.scratch = make([]float32, n)
		}
		target = st.scratch
	}
	if !st.Bind(out, target) {
		target = st.Value(out)
	}
	if err := st.Forward(); err != nil {
		return err
	}
	if p.skip > 0 || &target[0] != &y[0] {
		copy(y[p.skip:], target[p.skip:])
	}
	return nil
}

func (p *program) take() *state {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		st := p.free[n-1]
		p.free = p.free[:n-1]
		return st
	}
	return &state{State: p.p.NewState()}
}

func (p *program) give(st *state) {
	p.mu.Lock()
	p.free = append(p.free, st)
	p.mu.Unlock()
}
