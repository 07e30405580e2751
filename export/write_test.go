package export

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
)

// student is a two-layer network of quantised products with an odd width, so
// that weight rows need padding at every bit width.
const student = `graph "student" {
  input %x: f32[batch,5]
  const %w1: f32[5,6] = rand(1)
  const %s1: f32[6] = [0.2, 0.15, 0.1, 0.2, 0.3, 0.25]
  const %b1: f32[6] = rand(2)
  const %w2: f32[6,3] = rand(3)
  const %s2: f32[3] = [0.25, 0.2, 0.3]
  const %xs: f32[] = [0.2]
  const %hs: f32[] = [0.1]
  const %hz: f32[] = [-3]
  %q1: f32[5,6] = ai.qvitc::FakeQuant(%w1, %s1) {axis=1, bits=BITS, signed=1}
  %qx: f32[batch,5] = ai.qvitc::FakeQuant(%x, %xs) {bits=4, signed=1}
  %m1: f32[batch,6] = MatMul(%qx, %q1) #"fc1"
  %h: f32[batch,6] = Add(%m1, %b1)
  %q2: f32[6,3] = ai.qvitc::FakeQuant(%w2, %s2) {axis=1, bits=BITS, signed=1}
  %qh: f32[batch,6] = ai.qvitc::FakeQuant(%h, %hs, %hz) {bits=4, signed=1}
  %logits: f32[batch,3] = MatMul(%qh, %q2) #"fc2"
  output %logits
}
`

func parseStudent(t *testing.T, bits string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse(strings.ReplaceAll(student, "BITS", bits), ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ops.Infer(g); err != nil {
		t.Fatal(err)
	}
	return g
}

func samples(n int) []map[string]*ir.Tensor {
	return []map[string]*ir.Tensor{{"x": randomTensor(rand.New(rand.NewPCG(3, 3)), 0.2, n, 5)}}
}

func TestWriteReadsBackAndRuns(t *testing.T) {
	for _, bits := range []string{"2", "3", "4", "8"} {
		s := parseStudent(t, bits)
		before := s.String()
		g, err := Packed(s)
		if err != nil {
			t.Fatal(err)
		}
		if s.String() != before {
			t.Error("Packed changed the student")
		}
		path := filepath.Join(t.TempDir(), "m.onnx")
		res, err := Write(context.Background(), path, g, Options{Student: s, Samples: samples(40)})
		if err != nil {
			t.Fatal(err)
		}
		if res.MaxDiff != 0 || res.Samples != 40 {
			t.Errorf("w%s: largest difference %g on %d rows", bits, res.MaxDiff, res.Samples)
		}
		first, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		back, err := onnxio.Load(path, onnxio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(back.Functions) == 0 {
			t.Error("the function bodies are lost")
		}
		again, err := onnxio.Encode(back, onnxio.WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != string(first) {
			t.Errorf("w%s: write, read, write gives other bytes", bits)
		}
	}
}

func TestWriteWithholdsAMismatch(t *testing.T) {
	s := parseStudent(t, "4")
	g, err := Packed(s)
	if err != nil {
		t.Fatal(err)
	}
	s.Value("b1").Const.F32()[0] += 50 // the file now computes something else
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	o := Options{Student: s, Samples: samples(40)}
	if _, err := Write(context.Background(), path, g, o); !errors.Is(err, ErrMismatch) {
		t.Fatalf("got %v, want ErrMismatch", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Error("the old file is gone")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files are left, want the old one", len(left))
	}
	s.Value("w2").Const.F32()[0] += 1 // and other weights, which needs no sample to show
	if _, err := Write(context.Background(), path, g, Options{Student: s}); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), `layer "fc2", input 1: code 0`) {
		t.Errorf("other weights: %v", err)
	}
	o.Force = true
	if _, err := Write(context.Background(), path, g, o); err != nil {
		t.Errorf("forced: %v", err)
	}
}

func TestWriteExternalData(t *testing.T) {
	big := strings.NewReplacer("[5,6]", "[5,2000]", "[6]", "[2000]", "[6,3]", "[2000,3]", "batch,6", "batch,2000",
		"[0.2, 0.15, 0.1, 0.2, 0.3, 0.25]", "fill(0.2)").Replace(strings.ReplaceAll(student, "BITS", "4"))
	s, err := ir.Parse(big, ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := Packed(s)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	o := Options{Student: s, Samples: samples(8), Write: onnxio.WriteOptions{External: true}}
	res, err := Write(context.Background(), path, g, o)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if st, err := os.Stat(path); err != nil || len(files) != 2 || res.Bytes <= st.Size() {
		t.Errorf("files %v, %d bytes in all, %v", files, res.Bytes, err)
	}
	// a mismatch takes the data file back
	for i, w := range s.Value("w2").Const.F32() {
		s.Value("w2").Const.F32()[i] = -w
	}
	other := filepath.Join(t.TempDir(), "m.onnx")
	if _, err := Write(context.Background(), other, g, o); !errors.Is(err, ErrMismatch) {
		t.Fatalf("got %v, want ErrMismatch", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(other)); len(left) != 0 {
		t.Errorf("%d files are left", len(left))
	}
}

func TestPackedRefusesUncalibrated(t *testing.T) {
	s := parseStudent(t, "4")
	s.Value("xs").Const.F32()[0] = 0
	if _, err := Packed(s); err == nil {
		t.Error("an uncalibrated student was packed")
	}
}
