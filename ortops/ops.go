//go:build ortops

package main

// #include <stdlib.h>
// #include "ops.h"
import "C"

import (
	"fmt"
	"os"
	"runtime/cgo"
	"strconv"
	"unsafe"
)

func main() {}

// threads is the number of goroutines that share one operator.
var threads = func() int {
	n, err := strconv.Atoi(os.Getenv("QVITC_THREADS"))
	if err != nil || n < 1 {
		return 1
	}
	return n
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

//export qvitcShape
func qvitcShape(handle C.uintptr_t, in, out *C.qvitc_tensor) *C.char {
	return guarded(func() error {
		p, err := operatorOf(handle).plan(tensors(in))
		if err != nil {
			return err
		}
		out.rank = C.int32_t(len(p.shape))
		for i, d := range p.shape {
			out.dims[i] = C.int64_t(d)
		}
		return nil
	})
}

//export qvitcRun
func qvitcRun(handle C.uintptr_t, in, out *C.qvitc_tensor) *C.char {
	return guarded(func() error {
		op, t := operatorOf(handle), tensors(in)
		p, err := op.plan(t)
		if err != nil {
			return err
		}
		n := 1
		for _, d := range p.shape {
			n *= d
		}
		return op.run(p, t, unsafe.Slice((*float32)(out.data), n))
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
	for i, t := range unsafe.Slice(in, C.QVITC_MAX_INPUTS) {
		out[i] = tensor{data: unsafe.Pointer(t.data), elem: int(t.elem), shape: make([]int, t.rank)}
		for k := range out[i].shape {
			out[i].shape[k] = int(t.dims[k])
		}
	}
	return out
}

// floats is the data of a float32 tensor.
func (t tensor) floats() []float32 {
	n := 1
	for _, d := range t.shape {
		n *= d
	}
	return unsafe.Slice((*float32)(t.data), n)
}
