//go:build ortops

package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/qvitc/qvitc/ir"
)

// operator is one node of a session: its constants, and a plan for each shape of
// activations that comes along.
type operator struct {
	name        string
	activations []int         // inputs that are not constant
	constants   [6]*ir.Tensor // the other inputs
	mu          sync.Mutex
	plans       []*plan // the latest last
}

const maxPlans = 8

// newOperator copies the constants. Activations are what is not constant; all
// else must be.
func newOperator(name string, in [6]tensor) (*operator, error) {
	op := &operator{name: name, activations: []int{0}}
	if strings.HasPrefix(name, "QMatMul") {
		op.activations = append(op.activations, 3)
	}
	for i, t := range in {
		if slices.Contains(op.activations, i) {
			continue
		}
		if t.data == nil {
			return nil, fmt.Errorf("input %d of %s is not constant: scales, zero points, weights and bias must be", i, name)
		}
		var err error
		if op.constants[i], err = constant(t); err != nil {
			return nil, fmt.Errorf("input %d of %s: %w", i, name, err)
		}
	}
	return op, nil
}

func constant(t tensor) (*ir.Tensor, error) {
	n := elements(t.shape)
	switch e := ir.Elem(t.elem); e {
	case ir.Float32:
		return ir.Of(slices.Clone(unsafe.Slice((*float32)(t.data), n)), t.shape...), nil
	case ir.Uint8:
		return ir.Of(slices.Clone(unsafe.Slice((*uint8)(t.data), n)), t.shape...), nil
	case ir.Int8:
		return ir.Of(slices.Clone(unsafe.Slice((*int8)(t.data), n)), t.shape...), nil
	case ir.Int64:
		return ir.Of(slices.Clone(unsafe.Slice((*int64)(t.data), n)), t.shape...), nil
	case ir.Int32:
		return ir.Of(slices.Clone(unsafe.Slice((*int32)(t.data), n)), t.shape...), nil
	default:
		return nil, fmt.Errorf("the element type %v is not supported here", e)
	}
}

// plan finds or makes the plan for inputs of these shapes.
func (op *operator) plan(in [6]tensor) (*plan, error) {
	op.mu.Lock()
	defer op.mu.Unlock()
	for _, p := range slices.Backward(op.plans) {
		if slices.EqualFunc(p.shapes, op.activations, func(shape []int, i int) bool { return slices.Equal(shape, in[i].shape) }) {
			return p, nil
		}
	}
	var shapes [][]int
	for _, i := range op.activations {
		shapes = append(shapes, in[i].shape)
	}
	p, err := newPlan(op, shapes)
	if err != nil {
		return nil, err
	}
	if op.plans = append(op.plans, p); len(op.plans) > maxPlans {
		op.plans = op.plans[1:]
	}
	return p, nil
}
