package runtime_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/runtime"
)

// model loads a model of the shared material with its stored input and output.
func model(t testing.TB, name string) (g *ir.Graph, in, out *ir.Tensor) {
	t.Helper()
	dir := filepath.Join("..", "..", "shared", "models", name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the model %s is not here: %v", name, err)
	}
	g, err := onnxio.Load(filepath.Join(dir, "model.onnx"), onnxio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	read := func(file string) *ir.Tensor {
		x, _, err := onnxio.ReadTensor(filepath.Join(dir, "test_data_set_0", file))
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	return g, read("input_0.pb"), read("output_0.pb")
}

// TestModels runs real models against their stored outputs, made by the
// framework that exported them.
func TestModels(t *testing.T) {
	for _, name := range []string{"deit-fmnist", "swin-fmnist", "timm-deit-op17-dyn", "timm-swin-op17-dyn", "hf-vit-op17-dyn", "tv-swin-op17-dyn"} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "deit-fmnist" {
				t.Skip("short")
			}
			g, in, want := model(t, name)
			p, err := runtime.Compile(g, runtime.Config{Shapes: map[string][]int{g.Inputs[0].Name: in.Shape}})
			if err != nil {
				t.Fatal(err)
			}
			s := p.NewState()
			if err := s.SetInput(g.Inputs[0], in); err != nil {
				t.Fatal(err)
			}
			if err := s.Forward(); err != nil {
				t.Fatal(err)
			}
			got := s.Value(g.Outputs[0])
			worst := 0.0
			for i, v := range got {
				w := want.Float(i)
				d := math.Abs(float64(v) - w)
				worst = max(worst, d)
				if !(d <= 1e-7+1e-3*math.Abs(w)) {
					t.Fatalf("logit %d is %v, stored is %v", i, v, w)
				}
			}
			n := testing.AllocsPerRun(1, func() {
				if err := s.Forward(); err != nil {
					t.Fatal(err)
				}
			})
			if n != 0 {
				t.Errorf("Forward allocates %v times", n)
			}
			t.Logf("largest difference %.3g over %d logits; %d steps, %.1f MB", worst, len(got), p.Steps(), float64(p.Memory())/1e6)
		})
	}
}
