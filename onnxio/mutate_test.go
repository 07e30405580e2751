package onnxio

import (
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var (
	mutants    = flag.Int("mutants", 10_000, "structured mutants to try")
	mutantSeed = flag.Uint64("mutantseed", 1, "seed of the structured mutants")
)

// Random well-formed messages that no exporter would write: fields dropped,
// doubled, swapped, retyped, renamed and rewired. Each is refused with a message
// or gives a graph that keeps its word, quickly.
//
//	go test ./onnxio -run StructuredMutants -mutants 1000000
func TestStructuredMutants(t *testing.T) {
	bases := [][]byte{tinyBytes(t)}
	for _, name := range []string{"if_captures", "loop_captures", "split2", "constant_kinds"} {
		b, err := os.ReadFile(filepath.Join("testdata/old-forms", name, "model.onnx"))
		must(t, err)
		bases = append(bases, b)
	}
	n := *mutants
	if testing.Short() {
		n /= 10
	}
	for i := range n {
		seed := *mutantSeed + uint64(i)
		r := rand.New(rand.NewPCG(seed, 7))
		m := &onnxpb.ModelProto{}
		must(t, proto.Unmarshal(bases[r.IntN(len(bases))], m))
		mu := mutator{r: r}
		mu.collect(m.ProtoReflect())
		for range 1 + r.IntN(3) {
			mu.change(mu.messages[r.IntN(len(mu.messages))])
		}
		b := protoBytes(t, m)
		try := func() time.Duration {
			start := time.Now()
			done := false
			defer func() {
				if !done || t.Failed() {
					t.Logf("-mutantseed %d -mutants 1", seed)
				}
			}()
			tryModel(t, b)
			done = true
			return time.Since(start)
		}
		if d := try(); d > 2*time.Second && try() > 2*time.Second { // once may be the machine
			t.Fatalf("-mutantseed %d -mutants 1 took %v", seed, d)
		}
	}
}

type mutator struct {
	r        *rand.Rand
	messages []protoreflect.Message
	names    []string
}

func (m *mutator) collect(msg protoreflect.Message) {
	m.messages = append(m.messages, msg)
	fields := msg.Descriptor().Fields() // not Range: its order is not fixed
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !msg.Has(fd) {
			continue
		}
		v := msg.Get(fd)
		switch {
		case fd.IsList():
			for j := range v.List().Len() {
				m.value(fd, v.List().Get(j))
			}
		default:
			m.value(fd, v)
		}
	}
}

func (m *mutator) value(fd protoreflect.FieldDescriptor, v protoreflect.Value) {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		m.collect(v.Message())
	case protoreflect.StringKind:
		m.names = append(m.names, v.String())
	}
}

// change edits one field of msg.
func (m *mutator) change(msg protoreflect.Message) {
	fields := msg.Descriptor().Fields()
	var set []protoreflect.FieldDescriptor
	for i := range fields.Len() {
		if fd := fields.Get(i); msg.Has(fd) {
			set = append(set, fd)
		}
	}
	if len(set) == 0 || m.r.IntN(8) == 0 { // a field that was not there
		if fd := fields.Get(m.r.IntN(fields.Len())); fd.Kind() != protoreflect.MessageKind {
			if fd.IsList() {
				msg.Mutable(fd).List().Append(m.scalar(fd))
			} else {
				msg.Set(fd, m.scalar(fd))
			}
		}
		return
	}
	fd := set[m.r.IntN(len(set))]
	if fd.IsList() {
		m.changeList(msg, fd)
		return
	}
	if fd.Kind() == protoreflect.MessageKind || m.r.IntN(4) == 0 {
		msg.Clear(fd)
		return
	}
	msg.Set(fd, m.scalar(fd))
}

func (m *mutator) changeList(msg protoreflect.Message, fd protoreflect.FieldDescriptor) {
	l := msg.Mutable(fd).List()
	i, j := m.r.IntN(l.Len()), m.r.IntN(l.Len())
	switch m.r.IntN(4) {
	case 0: // drop the last after swapping it with another
		swap(l, i, l.Len()-1)
		l.Truncate(l.Len() - 1)
	case 1:
		swap(l, i, j)
	case 2:
		if fd.Kind() == protoreflect.MessageKind {
			l.Append(protoreflect.ValueOfMessage(proto.Clone(l.Get(i).Message().Interface()).ProtoReflect()))
		} else {
			l.Append(l.Get(i))
		}
	case 3:
		if fd.Kind() == protoreflect.MessageKind {
			m.change(l.Get(i).Message())
		} else {
			l.Set(i, m.scalar(fd))
		}
	}
}

func swap(l protoreflect.List, i, j int) {
	a, b := l.Get(i), l.Get(j)
	l.Set(i, b)
	l.Set(j, a)
}

var oddInts = [...]int64{0, 1, -1, 2, 3, 7, 16, 17, 64, 255, 1 << 20, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64}

func (m *mutator) scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	n := oddInts[m.r.IntN(len(oddInts))]
	if m.r.IntN(2) == 0 {
		n = int64(m.r.IntN(30))
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		if m.r.IntN(6) == 0 {
			return protoreflect.ValueOfString("")
		}
		return protoreflect.ValueOfString(m.names[m.r.IntN(len(m.names))])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(make([]byte, m.r.IntN(64)))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n % 30))
	}
	return protoreflect.ValueOfInt64(n)
}
