//go:build ortops

package main

// #include <stdlib.h>
// #include "ops.h"
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"runtime/cgo"
	"strconv"
	"unsafe"
)

func main() {}

// most is the number of parts that an operator is cut into, for the threads of the
// session to share.
var most = func() int {
	if n, err := strconv.Atoi(os.Getenv("QVITC_THREADS")); err == nil && n >= 1 {
		return n
	}
	return runtime.NumCPU()
}()

// guarded gives an error, or a panic, as text that C frees.
func guarded(fn func() error) (text *C.char) {
	defer func() {
		if r := recover(); r != nil {
			text = C.CString(fmt.Sprintf("qvitc: internal error: %v", r))
		}
	}()
	if err := fn(); err != nil {
		return C.CString("qvitc: " + err.Error())
	}
	return nil
}

//export qvitcCreate
func qvitcCreate(name *C.char, in *C.qvitc_tensor, out *C.uintptr_t) *C.char {
	return guarded(func() error {
		op, err := newOperator(C.GoString(name), tensors(in))
		if err == nil {
			*out = C.uintptr_t(cgo.NewHandle(op))
		}
		return err
	})
}

//export qvitcDestroy
func qvitcDestroy(handle C.uintptr_t) { cgo.Handle(handle).Delete() }

// qvitcPlan gives the shape of the result and the number of parts.
//
//export qvitcPlan
func qvitcPlan(handle C.uintptr_t, in, out *C.qvitc_tensor, parts *C.int32_t) *C.char {
	return guarded(func() error {
		p, err := operatorOf(handle).plan(tensors(in))
		if err != nil {
			return err
		}
		out.rank = C.int32_t(len(p.shape))
		for i, d := range p.shape {
			out.dims[i] = C.int64_t(d)
		}
		*parts = C.int32_t(len(p.parts))
		return nil
	})
}

// qvitcPart computes one part of the result.
//
//export qvitcPart
func qvitcPart(handle C.uintptr_t, in, out *C.qvitc_tensor, i C.int32_t) *C.char {
	return guarded(func() error {
		t := tensors(in)
		p, err := operatorOf(handle).plan(t)
		if err != nil {
			return err
		}
		return p.parts[i].run(t, unsafe.Slice((*float32)(out.data), elements(p.shape)))
	})
}

func operatorOf(handle C.uintptr_t) *operator { return cgo.Handle(handle).Value().(*operator) }

// tensor is an input as ONNX Runtime holds it; nil data where it is not known.
type tensor struct {
	data  unsafe.Pointer
	elem  int // of ONNXTensorElementDataType, which are ONNX's numbers
	shape []int
}

func tensors(in *C.qvitc_tensor) (out [C.QVITC_MAX_INPUTS]tensor) {
	all := unsafe.Slice(in, C.QVITC_MAX_INPUTS)
	for i := range all {
		out[i] = tensorOf(&all[i])
	}
	return out
}

func tensorOf(t *C.qvitc_tensor) tensor {
	out := tensor{data: unsafe.Pointer(t.data), elem: int(t.elem), shape: make([]int, t.rank)}
	for k := range out.shape {
		out.shape[k] = int(t.dims[k])
	}
	return out
}

// floats is the data of a float32 tensor.
func (t tensor) floats() []float32 { return unsafe.Slice((*float32)(t.data), elements(t.shape)) }

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
