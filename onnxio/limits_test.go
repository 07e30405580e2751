package onnxio

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
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
	depth := func(n int) *onnxpb.ModelProto {
		inner := &onnxpb.GraphProto{Name: ptr("g")}
		for range n {
			inner = &onnxpb.GraphProto{Name: ptr("g"), Node: []*onnxpb.NodeProto{{OpType: ptr("If"), Input: []string{"c"}, Output: []string{"o"},
				Attribute: []*onnxpb.AttributeProto{{Name: ptr("then_branch"), G: inner}}}}}
		}
		return &onnxpb.ModelProto{IrVersion: ptr(int64(8)), Graph: inner}
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
		{"sparse", 4096, func(n int) *onnxpb.ModelProto { return withSparse(4 * ((n + 3) / 4)) }, Limits{SparseDense: 4096}, "limit is 4096"},
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
		// The deepest message of depth(n) lies at 2+3n.
		for n, want := range map[int]bool{20: true, 21: false} {
			b := protoBytes(t, depth(n))
			err := scanWire(b, (&onnxpb.ModelProto{}).ProtoReflect().Descriptor(), Limits{}.withDefaults())
			if (err == nil) != want {
				t.Errorf("%d subgraphs: %v", n, err)
			}
		}
		b := protoBytes(t, depth(1))
		md := (&onnxpb.ModelProto{}).ProtoReflect().Descriptor()
		must(t, scanWire(b, md, Limits{Nesting: 5}.withDefaults()))
		if scanWire(b, md, Limits{Nesting: 4}.withDefaults()) == nil {
			t.Error("five messages deep passes a limit of four")
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

// Chains are read and written in time about linear in their size; a hundred
// times the time for ten times the nodes would be quadratic.
func TestLinearTime(t *testing.T) {
	if testing.Short() {
		t.Skip("timing")
	}
	unsorted := func(n int) *onnxpb.ModelProto {
		m := identityModel(n)
		slices.Reverse(m.Graph.Node)
		return m
	}
	for name, c := range map[string]struct {
		model func(int) *onnxpb.ModelProto
		n     int
	}{"chain": {identityModel, 3000}, "unsorted": {unsorted, 3000}} {
		cost := func(n int) time.Duration {
			b := protoBytes(t, c.model(n))
			best := time.Hour
			for range 3 {
				start := time.Now()
				g, err := Decode(b, Options{})
				must(t, err)
				_, err = Encode(g, WriteOptions{})
				must(t, err)
				best = min(best, time.Since(start))
			}
			return best
		}
		small, large := cost(c.n), cost(10*c.n)
		t.Logf("%s: %v for %d nodes, %v for %d", name, small, c.n, large, 10*c.n)
		if large > 60*small {
			t.Errorf("%s: ten times the nodes take %.0f times as long", name, float64(large)/float64(small))
		}
	}
}
