//go:build ortops

package main

// #include "ops.h"
import "C"

import (
	"context"
	"fmt"
	"runtime/cgo"
	"unsafe"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/runtime"
)

// whole is a graph in one piece (qvitc export --whole).
type whole struct {
	g       *ir.Graph
	session *runtime.Session
}

// qvitcWhole makes the graph of an attribute and of its n constants.
//
//export qvitcWhole
func qvitcWhole(attribute unsafe.Pointer, size C.size_t, in *C.qvitc_tensor, n C.size_t, out *C.uintptr_t) *C.char {
	return guarded(func() error {
		constants := unsafe.Slice(in, int(n))
		w := &whole{}
		var err error
		w.g, err = onnxio.DecodeWhole(C.GoBytes(attribute, C.int(size)), func(i int) (*ir.Tensor, error) {
			if i >= len(constants) || constants[i].data == nil {
				return nil, fmt.Errorf("is not an initializer")
			}
			return constant(tensorOf(&constants[i]))
		})
		if err != nil {
			return err
		}
		if len(w.g.Inputs) != 1 || len(w.g.Outputs) != 1 {
			return fmt.Errorf("the graph has %d inputs and %d outputs, want one of each", len(w.g.Inputs), len(w.g.Outputs))
		}
		if w.session, err = runtime.NewSession(w.g, runtime.Options{Threads: most}); err == nil {
			*out = C.uintptr_t(cgo.NewHandle(w))
		}
		return err
	})
}

// qvitcAnswer runs the graph; result keeps what it gives until qvitcTake.
//
//export qvitcAnswer
func qvitcAnswer(handle C.uintptr_t, in, out *C.qvitc_tensor, result *C.uintptr_t) *C.char {
	return guarded(func() error {
		w := cgo.Handle(handle).Value().(*whole)
		x := tensorOf(in)
		got, err := w.session.Run(context.Background(), map[string]*ir.Tensor{w.g.Inputs[0].Name: ir.Of(x.floats(), x.shape...)})
		if err != nil {
			return err
		}
		y := got[w.g.Outputs[0].Name]
		out.rank = C.int32_t(len(y.Shape))
		for i, d := range y.Shape {
			out.dims[i] = C.int64_t(d)
		}
		*result = C.uintptr_t(cgo.NewHandle(y))
		return nil
	})
}

// qvitcTake copies a result, unless out has no data, and lets it go.
//
//export qvitcTake
func qvitcTake(result C.uintptr_t, out *C.qvitc_tensor) {
	h := cgo.Handle(result)
	if y := h.Value().(*ir.Tensor); out.data != nil {
		copy(unsafe.Slice((*float32)(out.data), y.Len()), y.F32())
	}
	h.Delete()
}
