package onnxio

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// scanWire walks the bytes of a message before anything is allocated for them:
// every field number, wire type and length is right, messages nest no deeper
// than the limit, and there are no more nodes, tensors, attributes and messages
// than the limits allow. It keeps its own stack and never recurses.
func scanWire(b []byte, root protoreflect.MessageDescriptor, lim Limits) error {
	s := wireScan{b: b, lim: lim, stack: []frame{{shape: shapeOf(root), end: len(b)}}}
	for len(s.stack) > 0 {
		f := &s.stack[len(s.stack)-1]
		if s.pos == f.end {
			s.stack = s.stack[:len(s.stack)-1]
			continue
		}
		if err := s.field(f); err != nil {
			return err
		}
	}
	return nil
}

type wireScan struct {
	b                        []byte
	pos                      int
	lim                      Limits
	stack                    []frame
	nodes, tensors, messages int
}

type frame struct {
	shape *wireShape
	end   int
	attrs int
}

func (s *wireScan) field(f *frame) error {
	start := s.pos
	tag, err := s.varint(f)
	if err != nil {
		return err
	}
	num, typ := protowire.DecodeTag(tag)
	if num < protowire.MinValidNumber {
		return fmt.Errorf("damaged: invalid field number %d at byte %d", tag>>3, start)
	}
	want, known := f.shape.fields[num]
	if known && !want.accepts(typ) {
		return fmt.Errorf("damaged: %s at byte %d has wire type %d, want %d", want.label, start, typ, want.wire)
	}
	switch typ {
	case protowire.VarintType:
		_, err = s.varint(f)
		return err
	case protowire.Fixed32Type:
		return s.skip(f, 4)
	case protowire.Fixed64Type:
		return s.skip(f, 8)
	case protowire.BytesType:
	default:
		return fmt.Errorf("damaged: wire type %d of %s at byte %d does not occur in ONNX", typ, f.shape.fieldName(num), start)
	}
	size, err := s.varint(f)
	if err != nil {
		return err
	}
	if size > uint64(f.end-s.pos) {
		what, end := "the file", len(s.b)
		if size <= uint64(len(s.b)-s.pos) {
			what, end = "its message", f.end
		}
		return fmt.Errorf("truncated or damaged: %s at byte %d is %d bytes long, past the end of %s at byte %d",
			f.shape.fieldName(num), start, size, what, end)
	}
	end := s.pos + int(size)
	switch {
	case want.message != nil:
		return s.enter(f, want, start, end)
	case want.name && int64(size) > int64(s.lim.NameBytes):
		return fmt.Errorf("%s at byte %d is %d bytes long; the limit for names is %d", want.label, start, size, s.lim.NameBytes)
	}
	s.pos = end
	return nil
}

func (s *wireScan) varint(f *frame) (uint64, error) {
	v, n := protowire.ConsumeVarint(s.b[s.pos:f.end])
	switch {
	case n > 0:
		s.pos += n
		return v, nil
	case f.end-s.pos < binary.MaxVarintLen64:
		return 0, s.cut(f)
	}
	return 0, fmt.Errorf("damaged: a number at byte %d is longer than 64 bits", s.pos)
}

func (s *wireScan) skip(f *frame, n int) error {
	if f.end-s.pos < n {
		return s.cut(f)
	}
	s.pos += n
	return nil
}

func (s *wireScan) cut(f *frame) error {
	if f.end == len(s.b) {
		return fmt.Errorf("truncated: unexpected end of file at byte %d", f.end)
	}
	return fmt.Errorf("damaged: a field at byte %d runs past the end of its %s at byte %d", s.pos, f.shape.name, f.end)
}

func (s *wireScan) enter(f *frame, want wireField, start, end int) error {
	if len(s.stack) >= s.lim.Nesting {
		return fmt.Errorf("messages nest deeper than %d at byte %d: nesting too deep", s.lim.Nesting, start)
	}
	if s.messages++; s.messages > s.lim.Messages {
		return fmt.Errorf("more than %d protobuf messages", s.lim.Messages)
	}
	switch want.message.name {
	case "NodeProto":
		if s.nodes++; s.nodes > s.lim.Nodes {
			return fmt.Errorf("more than %d nodes", s.lim.Nodes)
		}
	case "TensorProto":
		if s.tensors++; s.tensors > s.lim.Tensors {
			return fmt.Errorf("more than %d tensors", s.lim.Tensors)
		}
	case "AttributeProto":
		if f.attrs++; f.attrs > s.lim.NodeAttrs {
			return fmt.Errorf("the node at byte %d has more than %d attributes", start, s.lim.NodeAttrs)
		}
	}
	s.stack = append(s.stack, frame{shape: want.message, end: end})
	return nil
}

// wireShape is what the scan needs to know of a message.
type wireShape struct {
	name   string
	fields map[protowire.Number]wireField
}

type wireField struct {
	label   string
	wire    protowire.Type
	packed  bool // a repeated scalar: may come packed in bytes
	name    bool // a string that names something
	message *wireShape
}

func (w wireField) accepts(t protowire.Type) bool {
	return t == w.wire || w.packed && t == protowire.BytesType
}

func (w *wireShape) fieldName(num protowire.Number) string {
	if f, ok := w.fields[num]; ok {
		return f.label
	}
	return fmt.Sprintf("field %d of %s", num, w.name)
}

var modelShapes = sync.OnceValue(func() map[protoreflect.FullName]*wireShape {
	m := map[protoreflect.FullName]*wireShape{}
	buildShape((&onnxpb.ModelProto{}).ProtoReflect().Descriptor(), m)
	return m
})

func shapeOf(d protoreflect.MessageDescriptor) *wireShape { return modelShapes()[d.FullName()] }

func buildShape(d protoreflect.MessageDescriptor, m map[protoreflect.FullName]*wireShape) *wireShape {
	if s := m[d.FullName()]; s != nil {
		return s
	}
	s := &wireShape{name: string(d.Name()), fields: map[protowire.Number]wireField{}}
	m[d.FullName()] = s
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		f := wireField{label: string(d.Name()) + "." + string(fd.Name())}
		switch fd.Kind() {
		case protoreflect.MessageKind:
			f.wire, f.message = protowire.BytesType, buildShape(fd.Message(), m)
		case protoreflect.StringKind:
			f.wire, f.name = protowire.BytesType, isName(fd)
		case protoreflect.BytesKind:
			f.wire = protowire.BytesType
		case protoreflect.FloatKind:
			f.wire, f.packed = protowire.Fixed32Type, fd.IsList()
		case protoreflect.DoubleKind:
			f.wire, f.packed = protowire.Fixed64Type, fd.IsList()
		default:
			f.wire, f.packed = protowire.VarintType, fd.IsList()
		}
		s.fields[fd.Number()] = f
	}
	return s
}

// isName tells names from free text, which may be long.
func isName(fd protoreflect.FieldDescriptor) bool {
	return fd.Name() != "doc_string" && fd.Parent().Name() != "StringStringEntryProto"
}
