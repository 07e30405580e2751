package onnxio

import (
	"fmt"
	"io"

	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"google.golang.org/protobuf/proto"
)

// ReadTensor reads a file that holds one TensorProto (.pb), as the inputs and
// outputs of ONNX test folders do, and gives the tensor and its name.
func ReadTensor(path string) (*ir.Tensor, string, error) {
	b, err := readFile(path, MaxFileBytes, nil)
	if err != nil {
		return nil, "", &ir.Error{File: path, Err: err}
	}
	return DecodeTensor(b, Options{Name: path, Dir: dirOf(path)})
}

// DecodeTensor is ReadTensor of bytes.
func DecodeTensor(b []byte, o Options) (*ir.Tensor, string, error) {
	d := &decoder{file: o.Name, opts: o, lim: o.Limits.withDefaults()}
	defer d.close()
	p := &onnxpb.TensorProto{}
	if int64(len(b)) > d.lim.FileBytes {
		return nil, "", d.named(fmt.Errorf("the file has %d bytes, the limit is %d", len(b), d.lim.FileBytes))
	}
	if err := scanWire(b, p.ProtoReflect().Descriptor(), d.lim); err != nil {
		return nil, "", d.named(fmt.Errorf("not a TensorProto: %w", err))
	}
	if err := proto.Unmarshal(b, p); err != nil {
		return nil, "", d.named(fmt.Errorf("not a TensorProto: %w", err))
	}
	t, err := d.tensor(p)
	if err != nil {
		return nil, "", d.named(err)
	}
	return t, p.GetName(), nil
}

// EncodeTensor gives the bytes of a TensorProto.
func EncodeTensor(t *ir.Tensor, name string) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(tensorOut(name, t))
}

// WriteTensor writes a TensorProto file (.pb).
func WriteTensor(path string, t *ir.Tensor, name string) error {
	b, err := EncodeTensor(t, name)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}
