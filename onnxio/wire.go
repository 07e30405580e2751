package onnxio

import (
	"encoding/binary"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"sync"

	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// scanWire walks the bytes of a message before anything is allocated for them:
// every field number, wire type and length is right, messages nest no deeper
// than the limit, and there are no more nodes, tensors, attributes and messages
// than the limits allow. It keeps its own stack and never recurses.
func scanWire(b []byte, root protoreflect.MessageDescriptor, lim Limits) error {
	s := wireScan{b: b, size: len(b), lim: lim}
	return s.scan(root)
}

// scanFile is scanWire of a model file of the given size that has not been read
// yet. It reads tags and lengths only, so that a large file that is no model is
// refused without the memory to hold it.
func scanFile(src io.ReaderAt, size int64, lim Limits) error {
	s := wireScan{src: src, size: int(size), lim: lim}
	if err := s.scan((&onnxpb.ModelProto{}).ProtoReflect().Descriptor()); err != nil {
		head := make([]byte, min(size, 512))
		if _, e := src.ReadAt(head, 0); e != nil {
			return plainError(e)
		}
		return wireError(head, err)
	}
	return nil
}

func (s *wireScan) scan(root protoreflect.MessageDescriptor) error {
	s.stack = []frame{{shape: shapeOf(root), end: s.size}}
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
	b                        []byte      // all bytes, or the part of src that was read last
	src                      io.ReaderAt // nil: b is all
	at, size                 int         // where b starts; length of the whole
	pos                      int
	lim                      Limits
	stack                    []frame
	nodes, tensors, messages int
	memory                   int64 // of the messages once parsed, without their contents
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
		what, end := "the file", s.size
		if size <= uint64(s.size-s.pos) {
			what, end = "its message", f.end
		}
		return fmt.Errorf("truncated or damaged: %s at byte %d is %d bytes long, past the end of %s at byte %d",
			f.shape.fieldName(num), start, size, what, end)
	}
	end := s.pos + int(size)
	switch {
	case want.message != nil:
		return s.enter(f, want, start, end)
	case want.list:
		if s.memory += listItem; s.memory > bombFrom && s.memory/bombRatio > int64(s.size) {
			return s.bomb(start)
		}
	}
	if want.name && int64(size) > int64(s.lim.NameBytes) {
		return fmt.Errorf("%s at byte %d is %d bytes long; the limit for names is %d", want.label, start, size, s.lim.NameBytes)
	}
	s.pos = end
	return nil
}

// rest gives the next bytes of the frame, at least ten of them where it has ten.
func (s *wireScan) rest(f *frame) ([]byte, error) {
	if s.src == nil {
		return s.b[s.pos:f.end], nil
	}
	need := min(f.end-s.pos, binary.MaxVarintLen64)
	if s.pos < s.at || s.pos+need > s.at+len(s.b) {
		if s.b == nil {
			s.b = make([]byte, 64<<10)
		}
		s.b = s.b[:min(cap(s.b), s.size-s.pos)]
		s.at = s.pos
		if n, err := s.src.ReadAt(s.b, int64(s.pos)); n < len(s.b) {
			return nil, fmt.Errorf("reading: %w", plainError(err))
		}
	}
	return s.b[s.pos-s.at : min(f.end-s.at, len(s.b))], nil
}

func (s *wireScan) varint(f *frame) (uint64, error) {
	rest, err := s.rest(f)
	if err != nil {
		return 0, err
	}
	v, n := protowire.ConsumeVarint(rest)
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
	if f.end == s.size {
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
	if s.memory += want.message.size; s.memory > bombFrom && s.memory/bombRatio > int64(s.size) {
		return s.bomb(start)
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

// A file of many empty messages or strings takes up to a hundred times its size
// once it is parsed; what models hold takes less than half of bombRatio.
const (
	bombFrom  = 64 << 20
	bombRatio = 25
	listItem  = 64 // of a string in a list, which grows by doubling
)

func (s *wireScan) bomb(at int) error {
	return fmt.Errorf("the file is made of empty fields up to byte %d and would take more than %d times its size in memory", at, bombRatio)
}

// wireShape is what the scan needs to know of a message.
type wireShape struct {
	name   string
	size   int64 // bytes of its Go form when empty
	fields map[protowire.Number]wireField
}

type wireField struct {
	label   string
	wire    protowire.Type
	packed  bool // a repeated scalar: may come packed in bytes
	name    bool // a string that names something
	list    bool // one of a list of strings
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
	if mt, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName()); err == nil {
		s.size = int64(reflect.TypeOf(mt.Zero().Interface()).Elem().Size()) * (64 / strconv.IntSize) // the same verdict on every machine
	}
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		f := wireField{label: string(d.Name()) + "." + string(fd.Name())}
		switch fd.Kind() {
		case protoreflect.MessageKind:
			f.wire, f.message = protowire.BytesType, buildShape(fd.Message(), m)
		case protoreflect.StringKind:
			f.wire, f.name = protowire.BytesType, isName(fd)
			f.list = fd.IsList()
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
