package onnxio

import (
	"fmt"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Every prefix of a model is an error or a graph that passed the checks.
func TestPrefixes(t *testing.T) {
	b := tinyBytes(t)
	for n := range len(b) {
		g, err := Decode(b[:n], Options{Name: "m.onnx"})
		if err != nil {
			checkMessage(t, err)
			continue
		}
		if err := g.Check(); err != nil {
			t.Fatalf("prefix of %d bytes: %v", n, err)
		}
	}
}

// Every byte of a model set to other values: an error or a checked graph. Some
// of them are written and read again.
func TestByteMutants(t *testing.T) {
	b := tinyBytes(t)
	m := append([]byte(nil), b...)
	for i := range b {
		if testing.Short() && i%7 != 0 {
			continue
		}
		for _, v := range [...]byte{0, 0xff, ^b[i], b[i] + 1} {
			m[i] = v
			if i%8 == 0 {
				tryModel(t, m)
			} else if _, err := Decode(m, Options{Name: "m.onnx"}); err != nil {
				checkMessage(t, err)
			}
		}
		m[i] = b[i]
	}
}

// tryModel holds what must be true of any bytes at all.
func tryModel(t testing.TB, b []byte) {
	g, err := Decode(b, Options{Name: "m.onnx"})
	if err != nil {
		checkMessage(t, err)
		return
	}
	if err := g.Check(); err != nil {
		t.Fatalf("accepted, but: %v", err)
	}
	w, err := Encode(g, WriteOptions{})
	if err != nil {
		t.Fatalf("accepted, but it cannot be written: %v", err)
	}
	h, err := Decode(w, Options{Name: "written.onnx"})
	if err != nil {
		t.Fatalf("what was written cannot be read: %v", err)
	}
	if again, err := Encode(h, WriteOptions{}); err != nil || string(again) != string(w) {
		t.Fatalf("written twice, two results (%v)", err)
	}
}

// Wire errors say where.
func TestWireErrors(t *testing.T) {
	nest := func(depth int) []byte { // If bodies within If bodies
		var b []byte
		for range depth {
			g := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), // GraphProto.node
				protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), // NodeProto.attribute
					protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), b))) // AttributeProto.g
			b = g
		}
		return protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), b)
	}
	for _, c := range []struct {
		name, want string
		b          []byte
	}{
		{"empty", "empty", nil},
		{"group", "wire type 3", []byte{15<<3 | 3, 0xff}},
		{"field 0", "invalid field number 0", []byte{0<<3 | 2, 0}},
		{"varint", "longer than 64 bits", []byte{1 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
		{"cut varint", "unexpected end of file at byte 2", []byte{1 << 3, 0x80}},
		{"wrong wire type", "ModelProto.graph", []byte{7 << 3, 1}},
		{"nesting", "nesting too deep", nest(1000)},
		{"zip", "zip", []byte("PK\x03\x04xxxxxxxxxx")},
		{"no graph", "no graph", []byte{1 << 3, 8}},
		{"inner length", "past the end of its message", append(protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType),
			[]byte{1<<3 | 2, 5}), 1, 8, 1, 8, 1, 8)},
	} {
		_, err := ReadModel(c.b, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, have %v", c.name, c.want, err)
		}
	}
}

// Fields that this schema does not know are kept in a Model.
func TestUnknownFieldsAreKept(t *testing.T) {
	b := append(tinyBytes(t), protowire.AppendVarint(protowire.AppendTag(nil, 500, protowire.VarintType), 7)...)
	m, err := ReadModel(b, Options{})
	must(t, err)
	got, err := m.Bytes()
	must(t, err)
	if string(got) != string(b) {
		t.Error("the bytes changed")
	}
}

func ptr[T any](v T) *T { return &v }

// identityModel is y = Identity(...Identity(x)).
func identityModel(n int) *onnxpb.ModelProto {
	f32 := &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: ptr(int32(1))}}}
	g := &onnxpb.GraphProto{Name: ptr("g"), Input: []*onnxpb.ValueInfoProto{{Name: ptr("v0"), Type: f32}},
		Output: []*onnxpb.ValueInfoProto{{Name: ptr(fmt.Sprintf("v%d", n)), Type: f32}}}
	for i := range n {
		g.Node = append(g.Node, &onnxpb.NodeProto{OpType: ptr("Identity"), Input: []string{fmt.Sprintf("v%d", i)}, Output: []string{fmt.Sprintf("v%d", i+1)}})
	}
	return &onnxpb.ModelProto{IrVersion: ptr(int64(8)), OpsetImport: []*onnxpb.OperatorSetIdProto{opsetID("", 17)}, Graph: g}
}

func protoBytes(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	must(t, err)
	return b
}
