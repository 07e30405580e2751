package export_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/qvitc/qvitc/runtime"
)

// TestStudentHasTheBitsOfItsFile holds the logits of a student, compiled for
// training and for inference, against those of its packed graph: every bit.
func TestStudentHasTheBitsOfItsFile(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: calibrates whole models")
	}
	for _, model := range []string{"deit-fmnist", "swin-fmnist"} {
		path := filepath.Join("..", "testdata", "onnx", model+".onnx")
		if _, err := os.Stat(path); err != nil {
			t.Skipf("not in this checkout: %v", err)
		}
		for _, bits := range []int{4, 3, 2} {
			for _, irm := range []string{passes.IRMLayerNorm, passes.IRMRescale} {
				t.Run(fmt.Sprintf("%s-w%da%d-%s", model, bits, bits, irm), func(t *testing.T) {
					g, err := onnxio.Load(path, onnxio.Options{})
					if err != nil {
						t.Fatal(err)
					}
					sameBits(t, g, bits, irm)
				})
			}
		}
	}
}

// TestStudentHasTheBitsOfItsFileExporters does the same for graphs as exporters
// write them.
func TestStudentHasTheBitsOfItsFileExporters(t *testing.T) {
	root := filepath.Join("..", "..", "shared", "models")
	if _, err := os.Stat(root); err != nil {
		t.Skip("the exported models are not there")
	}
	for _, model := range []string{"timm-deit-op17-dyn", "timm-deit-op11-nofold-fixed", "timm-deit-distilled-2heads-op14-dyn",
		"timm-swin-op17-fixed", "tv-swin-op14-nofold-dyn", "tv-vit-op14-dyn", "tv-vit-op17-dyn", "hf-vit-op17-dyn"} {
		t.Run(model, func(t *testing.T) {
			g, err := onnxio.Load(filepath.Join(root, model, "model.onnx"), onnxio.Options{})
			if err != nil {
				t.Fatal(err)
			}
			sameBits(t, g, 3, passes.IRMRescale)
		})
	}
}

func sameBits(t *testing.T, g *ir.Graph, bits int, irm string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var d passes.Driver
	_, err := d.Run(g, passes.Clean)
	must(err)
	plan := passes.DefaultPlan(bits, bits)
	plan.IRM = irm
	_, err = d.Run(g, passes.Quantize(plan))
	must(err)
	n := 3
	if d := g.Inputs[0].Type.Shape[0]; d.Known() {
		n = int(d.Size)
	}
	shape := []int{n}
	for _, d := range g.Inputs[0].Type.Shape[1:] {
		shape = append(shape, int(d.Size))
	}
	x := make([]float32, n*shape[1]*shape[2]*shape[3])
	r := rand.New(rand.NewPCG(1, 2))
	for i := range x {
		x[i] = float32(math.Sin(float64(i)/37)) + 0.5*float32(r.NormFloat64())
	}
	_, err = quantize.Calibrate(context.Background(), g, func(i int) ([]float32, int, bool) { return x, n, i == 0 }, quantize.CalibrateOptions{})
	must(err)

	var params []*ir.Value
	for _, p := range distill.Params(g) {
		params = append(params, p.Value)
	}
	answer := func(g *ir.Graph, c runtime.Config) []float32 {
		c.Batch = n
		p, err := runtime.Compile(g, c)
		must(err)
		s := p.NewState()
		copy(s.Input(g.Inputs[0]), x)
		must(s.Forward())
		return s.Value(g.Outputs[0])
	}
	packed, err := export.Packed(g)
	must(err)
	want := answer(packed, runtime.Config{})
	for i, have := range [][]float32{answer(g, runtime.Config{}), answer(g, runtime.Config{Train: true, Params: params})} {
		if len(have) != len(want) {
			t.Fatalf("%d logits, the file has %d", len(have), len(want))
		}
		for k := range want {
			if math.Float32bits(have[k]) != math.Float32bits(want[k]) {
				t.Fatalf("logit %d of the student (form %d) is %v, of its file %v", k, i, have[k], want[k])
			}
		}
	}
}
