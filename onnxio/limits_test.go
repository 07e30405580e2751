package onnxio

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Each limit holds at N and not at N+1; the message names the limit.
func TestLimits(t *testing.T) {
	withRank := func(n int) *onnxpb.ModelProto {
		m := identityModel(1)
		w := &onnxpb.TensorProto{Name: ptr("W"), DataType: ptr(int32(1)), RawData: make([]byte, 4)}
		for range n {
			w.Dims = append(w.Dims, 1)
		}
		m.Graph.Initializer = append(m.Graph.Initializer, w)
		return m
	}
	withTypeRank := func(n int) *onnxpb.ModelProto {
		m := identityModel(1)
		m.Graph.Input[0].Type = typeOut(ir.TensorType(ir.Float32, make(ir.Shape, n)))
		return m
	}
	withDim := func(n int) *onnxpb.ModelProto {
		m := identityModel(1)
		m.Graph.Input[0].Type = typeOut(ir.TensorType(ir.Float32, ir.Known(n)))
		return m
	}
	withName := func(n int) *onnxpb.ModelProto {
		m := identityModel(1)
		m.Graph.Node[0].Name = ptr(strings.Repeat("n", n))
		return m
	}
	withTensors := func(n int) *onnxpb.ModelProto {
		m := identityModel(1)
		for i := range n {
			m.Graph.Initializer = append(m.Graph.Initializer, &onnxpb.TensorProto{Name: ptr(fmt.Sprint("W", i)), DataType: ptr(int32(1)), RawData: make([]byte, 4)})
		}
		return m
	}
	withAttrs := func(n int) *onnxpb.ModelProto {
		m := identityModel(1)
		node := m.Graph.Node[0]
		node.Domain, node.OpType = ptr("custom"), ptr("Op")
		m.OpsetImport = append(m.OpsetImport, opsetID("custom", 1))
		for i := range n {
			a, _ := attrOut(fmt.Sprint("a", i), int64(0))
			node.Attribute = append(node.Attribute, a)
		}
		return m
	}
	withSparse := func(n int) *onnxpb.ModelProto {
		m := identityModel(1)
		m.Graph.SparseInitializer = []*onnxpb.SparseTensorProto{{Dims: []int64{int64(n / 4)},
			Values:  &onnxpb.TensorProto{Name: ptr("W"), DataType: ptr(int32(1)), Dims: []int64{1}, RawData: make([]byte, 4)},
			Indices: &onnxpb.TensorProto{DataType: ptr(int32(7)), Dims: []int64{1}, Int64Data: []int64{1}}}}
		return m
	}
	for _, c := range []struct {
		name  string
		limit int
		make  func(n int) *onnxpb.ModelProto
		lim   Limits
		words string
	}{
		{"rank", MaxRank, withRank, Limits{}, "limit is 16"},
		{"rank of a type", MaxRank, withTypeRank, Limits{}, "limit is 16"},
		{"dimension", MaxDim, withDim, Limits{}, "limit is 2147483647"},
		{"name", MaxNameBytes, withName, Limits{}, "names is 4096"},
		{"attributes", MaxNodeAttrs, withAttrs, Limits{}, "more than 256 attributes"},
		{"nodes", 50, identityModel, Limits{Nodes: 50}, "more than 50 nodes"},
		{"tensors", 50, withTensors, Limits{Tensors: 50}, "more than 50 tensors"},
		{"sparse", MaxSparseDense, func(n int) *onnxpb.ModelProto { return withSparse(4 * ((n + 3) / 4)) }, Limits{}, "limit is 67108864"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "dimension" && c.limit+1 < 0 {
				t.Skip("an int holds no larger dimension here")
			}
			if _, err := Decode(protoBytes(t, c.make(c.limit)), Options{Limits: c.lim}); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			_, err := Decode(protoBytes(t, c.make(c.limit+1)), Options{Limits: c.lim})
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("past the limit: want %q, have %v", c.words, err)
			}
		})
	}
	t.Run("nesting", func(t *testing.T) {
		for n, want := range map[int]bool{MaxNesting: true, MaxNesting + 1: false} {
			_, err := ReadModel(nested(n), Options{})
			if want && err != nil || !want && (err == nil || !strings.Contains(err.Error(), "nest deeper than 64")) {
				t.Errorf("%d messages in each other: %v", n, err)
			}
		}
	})
	t.Run("messages", func(t *testing.T) {
		b := protoBytes(t, identityModel(3))
		n := 0
		for n = 1; ; n++ {
			if _, err := ReadModel(b, Options{Limits: Limits{Messages: n}}); err == nil {
				break
			} else if !strings.Contains(err.Error(), "protobuf messages") {
				t.Fatal(err)
			}
		}
		if n != 11 { // the graph, an opset, three nodes, two values of three messages each
			t.Errorf("%d messages were counted", n)
		}
	})
	t.Run("file", func(t *testing.T) {
		b := protoBytes(t, identityModel(3))
		if _, err := ReadModel(b, Options{Limits: Limits{FileBytes: int64(len(b))}}); err != nil {
			t.Error(err)
		}
		if _, err := ReadModel(b, Options{Limits: Limits{FileBytes: int64(len(b)) - 1}}); err == nil || !strings.Contains(err.Error(), "limit is") {
			t.Error(err)
		}
	})
	t.Run("opset", func(t *testing.T) {
		for v, ok := range map[int]bool{MaxOpset: true, MaxOpset + 1: false, 0: false, -1: false} {
			m := identityModel(1)
			m.OpsetImport[0] = opsetID("", v)
			if _, err := Decode(protoBytes(t, m), Options{}); (err == nil) != ok {
				t.Errorf("opset %d: %v", v, err)
			}
		}
		for v, ok := range map[int]bool{MaxIR: true, MaxIR + 1: false, 0: false} {
			m := identityModel(1)
			m.IrVersion = proto.Int64(int64(v))
			if _, err := Decode(protoBytes(t, m), Options{}); (err == nil) != ok {
				t.Errorf("IR %d: %v", v, err)
			}
		}
	})
}

// nested is a model whose deepest message lies depth deep, itself being the first.
func nested(depth int) []byte {
	fields := []protowire.Number{7, 1, 5, 6} // ModelProto.graph, then GraphProto.node, NodeProto.attribute, AttributeProto.g in turn
	var b []byte
	for i := depth - 2; i >= 0; i-- {
		f := fields[0]
		if i > 0 {
			f = fields[1+(i-1)%3]
		}
		b = protowire.AppendBytes(protowire.AppendTag(nil, f, protowire.BytesType), b)
	}
	return b
}

// The counts that memory does not let a test reach in a whole model are held
// at their default size by the scan alone, which comes before anything is made.
func TestCountLimits(t *testing.T) {
	message := func(f protowire.Number, body []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, f, protowire.BytesType), body)
	}
	text := func(f protowire.Number, s string) []byte { return message(f, []byte(s)) }
	for _, c := range []struct {
		name  string
		limit int
		graph protowire.Number // the field of GraphProto that is repeated
		body  []byte
		words string
	}{
		{"nodes", MaxNodes, 1, append(text(1, "v"), text(4, "Identity")...), "more than 1000000 nodes"},
		{"tensors", MaxTensors, 5, append(text(8, "W"), text(9, "12345678")...), "more than 1000000 tensors"},
		{"messages", MaxMessages - 1, 16, append(text(1, "k"), text(2, "v")...), "more than 8000000 protobuf messages"},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := message(c.graph, c.body)
			model := func(n int) []byte { return message(7, bytes.Repeat(one, n)) }
			scan := func(b []byte) error {
				return scanWire(b, (&onnxpb.ModelProto{}).ProtoReflect().Descriptor(), Limits{}.withDefaults())
			}
			if err := scan(model(c.limit)); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			if err := scan(model(c.limit + 1)); err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("past the limit: want %q, have %v", c.words, err)
			}
		})
	}
}

// Empty fields cost up to a hundred times their bytes: refused before they do.
func TestEmptyFields(t *testing.T) {
	message := func(f protowire.Number, body []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, f, protowire.BytesType), body)
	}
	many := func(f protowire.Number) []byte { return bytes.Repeat(message(f, nil), 2_000_000) }
	for name, b := range map[string][]byte{
		"nodes": message(7, many(1)), "initializers": message(7, many(5)), "inputs": message(7, many(11)), "outputs": message(7, many(12)),
		"declared values": message(7, many(13)), "sparse initializers": message(7, many(15)), "functions": many(25), "opsets": many(8),
		"inputs of a node": message(7, message(1, many(1))), "outputs of a node": message(7, message(1, many(2))),
		"attributes": message(7, message(1, many(5))), "inputs of a function": message(25, many(4)),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(b, Options{})
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "empty fields") && !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
			t.Errorf("%s: took %d bytes", name, n)
		}
	}
}

// A file at the limit is looked at before memory is taken for it, and one past
// the limit is not looked at. The files are holes: they take no disk.
func TestFileLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	claim := protowire.AppendVarint([]byte{7<<3 | 2}, MaxFileBytes-6) // a graph that is the whole file
	for _, c := range []struct {
		name  string
		start []byte
		size  int64
		words string
	}{
		{"zeros at the limit", nil, MaxFileBytes, "invalid field number 0 at byte 0"},
		{"a graph of zeros at the limit", claim, MaxFileBytes, "invalid field number 0 at byte 6"},
		{"a graph longer than its file", claim, MaxFileBytes - 1, "past the end of the file"},
		{"gzip at the limit", []byte{0x1f, 0x8b}, MaxFileBytes, "gzip"},
		{"past the limit", claim, MaxFileBytes + 1, "the limit is 2147483647"},
	} {
		must(t, f.Truncate(0))
		must(t, f.Truncate(c.size))
		_, err = f.WriteAt(c.start, 0)
		must(t, err)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Load(path, Options{})
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: want %q, have %v", c.name, c.words, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
			t.Errorf("%s: took %d bytes", c.name, n)
		}
	}
}

// A scan of the file says what a scan of its bytes says.
func TestScanFile(t *testing.T) {
	b := tinyBytes(t)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 3000 {
		m := bytes.Clone(b)
		if i > 0 {
			m[r.IntN(len(m))] = byte(r.Uint32())
			m = m[:len(m)-r.IntN(2)*r.IntN(len(m))]
		}
		want := scanWire(m, (&onnxpb.ModelProto{}).ProtoReflect().Descriptor(), Limits{}.withDefaults())
		if want != nil {
			want = wireError(m, want)
		}
		got := scanFile(bytes.NewReader(m), int64(len(m)), Limits{}.withDefaults())
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("mutant %d: %v, from the file %v", i, want, got)
		}
	}
}
