package main

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/qvitc/qvitc/ir"
)

// namedTensor is one array of an .npz file.
type namedTensor struct {
	name   string
	tensor *ir.Tensor
}

// writeNPZ writes float32, int32 and int64 arrays in NumPy's .npz form, stored
// without compression and without time stamps: the same arrays, the same bytes.
func writeNPZ(w io.Writer, arrays []namedTensor) error {
	z := zip.NewWriter(w)
	for _, a := range arrays {
		f, err := z.CreateHeader(&zip.FileHeader{Name: a.name + ".npy", Method: zip.Store})
		if err != nil {
			return err
		}
		if err := writeNPY(f, a.tensor); err != nil {
			return fmt.Errorf("array %q: %w", a.name, err)
		}
	}
	return z.Close()
}

func writeNPY(w io.Writer, t *ir.Tensor) error {
	kinds := map[ir.Elem]string{ir.Float32: "<f4", ir.Float64: "<f8", ir.Int32: "<i4", ir.Int64: "<i8", ir.Uint8: "|u1"}
	kind, ok := kinds[t.Elem]
	if !ok {
		return fmt.Errorf("element type %v cannot be written as NPY", t.Elem)
	}
	dims := make([]string, len(t.Shape))
	for i, d := range t.Shape {
		dims[i] = fmt.Sprint(d) + ","
	}
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", kind, strings.Join(dims, " "))
	pad := 64 - (10+len(header)+1)%64
	header += strings.Repeat(" ", pad%64) + "\n"
	if _, err := fmt.Fprintf(w, "\x93NUMPY\x01\x00%c%c%s", len(header)&255, len(header)>>8, header); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, t.Raw())
}
