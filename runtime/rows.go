package runtime

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
)

// rows is the part [lo, hi) of a tensor along its first dimension, sharing its
// data.
func rows(t *ir.Tensor, lo, hi int) *ir.Tensor {
	if lo == 0 && hi == t.Shape[0] {
		return t
	}
	shape := append([]int{hi - lo}, t.Shape[1:]...)
	n := size(t.Shape[1:])
	out, err := ir.Wrap(t.Elem, shape, cut(t.Raw(), lo*n, hi*n))
	if err != nil {
		panic("runtime: " + err.Error())
	}
	return out
}

func cut(data any, lo, hi int) any {
	switch d := data.(type) {
	case []float32:
		return d[lo:hi]
	case []float64:
		return d[lo:hi]
	case []int8:
		return d[lo:hi]
	case []int16:
		return d[lo:hi]
	case []int32:
		return d[lo:hi]
	case []int64:
		return d[lo:hi]
	case []uint8:
		return d[lo:hi]
	case []uint16:
		return d[lo:hi]
	case []uint32:
		return d[lo:hi]
	case []uint64:
		return d[lo:hi]
	case []bool:
		return d[lo:hi]
	case []string:
		return d[lo:hi]
	}
	panic(fmt.Sprintf("runtime: tensor data of type %T", data))
}

// setRows makes the rows [lo, hi) of t those of a graph input, until takeBack where they
// need not be copied.
func (s *State) setRows(v *ir.Value, t *ir.Tensor, lo, hi int) error {
	x := &s.p.values[s.p.inputN[v]]
	if x.elem != ir.Float32 || t.Elem != ir.Float32 {
		return s.SetInput(v, rows(t, lo, hi))
	}
	n := size(t.Shape[1:])
	id, data := s.p.inputN[v], t.F32()[lo*n:hi*n]
	if s.p.lent[id] && len(data) == x.n {
		s.v[id] = data
		return nil
	}
	copy(s.v[id], data)
	return nil
}

// place copies src to dst from element at on.
func place(dst, src any, at int) int {
	switch d := dst.(type) {
	case []float32:
		return copy(d[at:], src.([]float32))
	case []float64:
		return copy(d[at:], src.([]float64))
	case []int8:
		return copy(d[at:], src.([]int8))
	case []int16:
		return copy(d[at:], src.([]int16))
	case []int32:
		return copy(d[at:], src.([]int32))
	case []int64:
		return copy(d[at:], src.([]int64))
	case []uint8:
		return copy(d[at:], src.([]uint8))
	case []uint16:
		return copy(d[at:], src.([]uint16))
	case []uint32:
		return copy(d[at:], src.([]uint32))
	case []uint64:
		return copy(d[at:], src.([]uint64))
	case []bool:
		return copy(d[at:], src.([]bool))
	case []string:
		return copy(d[at:], src.([]string))
	}
	panic(fmt.Sprintf("runtime: tensor data of type %T", dst))
}
