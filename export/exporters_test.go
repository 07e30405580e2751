package export

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/qvitc/qvitc/runtime"
)

// TestSameWeightsSameAnswers: one set of weights as different exports write it
// (opset 11, 14, 17, folded or not, fixed or dynamic batch) gives the same
// logits in float and, compressed on the same images, the same low-bit logits.
func TestSameWeightsSameAnswers(t *testing.T) {
	root := filepath.Join("..", "..", "shared", "models")
	if _, err := os.Stat(root); err != nil {
		t.Skip("the exported models are not there")
	}
	for _, pattern := range []string{"timm-deit-op*", "timm-swin-op*", "tv-vit-op*", "tv-swin-op*", "hf-vit-op*", "timm-deit-distilled-op*"} {
		t.Run(pattern, func(t *testing.T) {
			dirs, err := filepath.Glob(filepath.Join(root, pattern))
			if err != nil || len(dirs) < 2 {
				t.Fatalf("%v, %v", dirs, err)
			}
			var float, low []float32
			for i, dir := range dirs {
				f, l := compressed(t, filepath.Join(dir, "model.onnx"))
				if i == 0 {
					float, low = f, l
					continue
				}
				if d := farthest(f, float); d > 1e-5 {
					t.Errorf("%s: float logits differ by %g from those of %s", filepath.Base(dir), d, filepath.Base(dirs[0]))
				}
				if d := farthest(l, low); d > 1e-5 {
					t.Errorf("%s: low-bit logits differ by %g from those of %s", filepath.Base(dir), d, filepath.Base(dirs[0]))
				}
			}
		})
	}
}

// compressed gives the float and the packed W4A4 logits of one image.
func compressed(t *testing.T, path string) (float, low []float32) {
	t.Helper()
	g, err := onnxio.Load(path, onnxio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := g.Inputs[0]
	if d := in.Type.Shape[0]; d.Sym != "" {
		if err := ops.Subst(g, map[string]int{d.Sym: 1}); err != nil {
			t.Fatal(err)
		}
	}
	d := passes.Driver{Check: true}
	if _, err := d.Run(g, passes.Clean); err != nil {
		t.Fatal(err)
	}
	student, _ := g.Clone()
	plan := passes.DefaultPlan(4, 4)
	plan.IRM = passes.IRMRescale
	if _, err := d.Run(student, passes.Quantize(plan)); err != nil {
		t.Fatal(err)
	}
	shape, _ := in.Type.Shape.Ints()
	images := randomTensor(rand.New(rand.NewPCG(5, 5)), 0.1, 8, shape[1], shape[2], shape[3])
	per := images.Len() / 8
	if _, err := quantize.Calibrate(context.Background(), student, quantize.SliceBatches(images.F32(), per, 1), quantize.CalibrateOptions{}); err != nil {
		t.Fatal(err)
	}
	packed, err := Packed(student)
	if err != nil {
		t.Fatal(err)
	}
	one := ir.Of(images.F32()[:per], shape...)
	return logits(t, g, one), logits(t, packed, one)
}

func logits(t *testing.T, g *ir.Graph, x *ir.Tensor) []float32 {
	t.Helper()
	s, err := runtime.NewSession(g, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Run(context.Background(), map[string]*ir.Tensor{g.Inputs[0].Name: x})
	if err != nil {
		t.Fatal(err)
	}
	return out[g.Outputs[0].Name].F32()
}

// farthest is the largest difference relative to the largest value.
func farthest(a, b []float32) float64 {
	var d, scale float64
	for i := range a {
		d = max(d, math.Abs(float64(a[i]-b[i])))
		scale = max(scale, math.Abs(float64(b[i])))
	}
	return d / scale
}
