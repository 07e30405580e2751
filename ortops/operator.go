//go:build ortops

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/runtime"
)

// operator is one node of a session: a graph of that node alone, with a program
// for each shape that comes along.
type operator struct {
	g      *ir.Graph
	inputs []int // of the node, that are not constant
	mu     sync.Mutex
	plans  []*program // the latest last
}

// program is the node at one shape of its inputs, with its free states.
type program struct {
	shapes [][]int
	shape  []int // of the result
	p      *runtime.Program
	mu     sync.Mutex
	free   []*runtime.State
}

const maxPrograms = 8

// newOperator copies the constants. Activations are what is not constant; all
// else must be.
func newOperator(name string, in [6]tensor) (*operator, error) {
	op := &operator{g: ir.New(name)}
	activations := []int{0}
	if strings.HasPrefix(name, "QMatMul") {
		activations = append(activations, 3)
	}
	var values []*ir.Value
	for i, t := range in {
		if slices.Contains(activations, i) {
			v := op.g.AddInput(fmt.Sprint("in", i), ir.Type{Elem: ir.Float32})
			values, op.inputs = append(values, v), append(op.inputs, i)
			continue
		}
		if t.data == nil {
			return nil, fmt.Errorf("input %d of %s is not constant: scales, zero points, weights and bias must be", i, name)
		}
		c, err := constant(t)
		if err != nil {
			return nil, fmt.Errorf("input %d of %s: %w", i, name, err)
		}
		values = append(values, op.g.AddConst(fmt.Sprint("const", i), c))
	}
	n := op.g.Add("", "y", nil, values...)
	n.Domain, n.Op = ir.Domain, name
	op.g.AddOutput(n.Out())
	return op, nil
}

func constant(t tensor) (*ir.Tensor, error) {
	n := 1
	for _, d := range t.shape {
		n *= d
	}
	switch e := ir.Elem(t.elem); e {
	case ir.Float32:
		return ir.Of(slices.Clone(unsafe.Slice((*float32)(t.data), n)), t.shape...), nil
	case ir.Uint8:
		return ir.Of(slices.Clone(unsafe.Slice((*uint8)(t.data), n)), t.shape...), nil
	case ir.Int8:
		return ir.Of(slices.Clone(unsafe.Slice((*int8)(t.data), n)), t.shape...), nil
	default:
		return nil, fmt.Errorf("the element type %v is not one of the packed operators", e)
	}
}

// plan finds or makes the program for inputs of these shapes.
func (op *operator) plan(in [6]tensor) (*program, error) {
	op.mu.Lock()
	defer op.mu.Unlock()
	for _, p := range slices.Backward(op.plans) {
		if slices.EqualFunc(p.shapes, op.inputs, func(shape []int, i int) bool { return slices.Equal(shape, in[i].shape) }) {
			return p, nil
		}
	}
	p := &program{}
	shapes := map[string][]int{}
	for k, i := range op.inputs {
		v := op.g.Inputs[k]
		v.Type = ir.TensorType(ir.Float32, ir.Known(in[i].shape...))
		shapes[v.Name] = in[i].shape
		p.shapes = append(p.shapes, in[i].shape)
	}
	op.g.Outputs[0].Type = ir.Type{}
	if _, err := ops.Infer(op.g); err != nil {
		return nil, err
	}
	var err error
	if p.p, err = runtime.Compile(op.g, runtime.Config{Shapes: shapes}); err != nil {
		return nil, err
	}
	p.shape = p.p.Shape(op.g.Outputs[0])
	if op.plans = append(op.plans, p); len(op.plans) > maxPrograms {
		op.plans = op.plans[1:]
	}
	return p, nil
}

// run computes the result into y.
func (op *operator) run(p *program, in [6]tensor, y []float32) error {
	st := p.take()
	defer p.give(st)
	for k, i := range op.inputs {
		x := st.Input(op.g.Inputs[k])
		if x == nil || len(x) != len(in[i].floats()) {
			return errors.New("the inputs changed their shape")
		}
		copy(x, in[i].floats())
	}
	if err := st.Forward(); err != nil {
		return err
	}
	copy(y, st.Value(op.g.Outputs[0]))
	return nil
}

func (p *program) take() *runtime.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		st := p.free[n-1]
		p.free = p.free[:n-1]
		return st
	}
	return p.p.NewState()
}

func (p *program) give(st *runtime.State) {
	p.mu.Lock()
	p.free = append(p.free, st)
	p.mu.Unlock()
}
