package runtime

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
)

// TestModelGradients checks the gradient of whole models as exported, along one
// random direction of all their weights, against differences of the float64
// oracle.
func TestModelGradients(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	for _, name := range []string{"swin-fmnist", "timm-deit-op11-dyn", "timm-swin-op14-dyn", "tv-swin-op17-dyn", "hf-vit-op17-dyn", "tv-vit-op17-dyn"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("..", "..", "shared", "models", name)
			if _, err := os.Stat(dir); err != nil {
				t.Skipf("the model is not here: %v", err)
			}
			g, err := onnxio.Load(filepath.Join(dir, "model.onnx"), onnxio.Options{})
			if err != nil {
				t.Fatal(err)
			}
			x, _, err := onnxio.ReadTensor(filepath.Join(dir, "test_data_set_0", "input_0.pb"))
			if err != nil {
				t.Fatal(err)
			}
			x = rows(x, 0, 1)
			b := newBench(1)
			b.g = g
			for _, v := range g.Consts() {
				if v.Const.Elem == ir.Float32 && len(v.Const.Shape) > 0 && v.Const.Len() > 1 {
					b.params = append(b.params, v)
				}
			}
			in := g.Inputs[0]
			p, err := Compile(g, Config{Shapes: map[string][]int{in.Name: x.Shape}, Train: true, Params: b.params})
			if err != nil {
				t.Fatal(err)
			}
			s := p.NewState()
			if err := s.SetInput(in, x); err != nil {
				t.Fatal(err)
			}
			if err := s.Forward(); err != nil {
				t.Fatal(err)
			}
			y := g.Outputs[0]
			r := b.floats(len(s.Value(y)), -1, 1)
			copy(s.Seed(y), r)
			grads := make([][]float32, len(b.params))
			for i, v := range b.params {
				grads[i] = make([]float32, v.Const.Len())
			}
			s.Backward(grads)
			dirs := make([][]float32, len(b.params))
			got, scale := 0.0, 0.0
			for i, g := range grads {
				dirs[i] = b.floats(len(g), -1, 1)
				for j, v := range g {
					got += float64(v) * float64(dirs[i][j])
					scale += math.Pow(float64(v)*float64(dirs[i][j]), 2)
				}
			}
			d, m := double(g)
			m[in].Type.Elem = ir.Float64
			data := make([]float64, x.Len())
			for i := range data {
				data[i] = x.Float(i)
			}
			const h = 1e-6
			want := 0.0
			for _, sign := range []float64{1, -1} {
				for i, v := range b.params {
					w := ir.Data[float64](m[v].Const)
					for j := range w {
						w[j] = v.Const.Float(j) + sign*h*float64(dirs[i][j])
					}
				}
				out, err := ops.EvalGraph(d, map[string]*ir.Tensor{in.Name: ir.Of(data, x.Shape...)})
				if err != nil {
					t.Fatal(err)
				}
				for i, w := range r {
					want += sign * out[y.Name].Float(i) * float64(w) / (2 * h)
				}
			}
			if math.Abs(got-want) > 1e-4*math.Sqrt(scale) {
				t.Errorf("slope %v, differences say %v (scale %v)", got, want, math.Sqrt(scale))
			}
		})
	}
}
