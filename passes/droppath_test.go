package passes_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/passes"
)

// Every model gets two skippable branches in each block but the first, and
// with ones in the new inputs its function stays.
func TestInsertDropPath(t *testing.T) {
	dirs, _ := filepath.Glob(models + "/*/model.onnx")
	if len(dirs) == 0 {
		t.Skip("the shared models are not there")
	}
	for _, path := range dirs {
		name := filepath.Base(filepath.Dir(path))
		t.Run(name, func(t *testing.T) {
			g := loadModel(t, name)
			clean(t, g)
			plain, _ := g.Clone()
			paths, err := passes.InsertDropPath(g, 0.2)
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Check(); err != nil {
				t.Fatal(err)
			}
			blocks := wantRoles(name)["blocks"]
			if len(paths) != 2*(blocks-1) || len(g.Inputs) != 1+len(paths) {
				t.Fatalf("%d branches of %d blocks", len(paths), blocks)
			}
			for i, p := range paths {
				if want := 0.2 * float64(p.Block) / float64(blocks-1); p.Rate != want || g.Inputs[i+1] != p.Input {
					t.Errorf("branch %d of block %d: rate %v, want %v", i, p.Block, p.Rate, want)
				}
				if s := p.Input.Type.Shape; !s[0].Same(g.Inputs[0].Type.Shape[0]) || len(s) < 3 {
					t.Errorf("branch %d: input of shape %v", i, s)
				}
			}
			if !strings.HasSuffix(name, "op17-dyn") || name == "vit-tiny-in1k" || testing.Short() {
				return
			}
			x := image(plain, 1)
			for _, p := range paths {
				dims := make([]int, len(p.Input.Type.Shape))
				for i := range dims {
					dims[i] = 1
				}
				x[p.Input.Name] = ir.Of([]float32{1}, dims...)
			}
			if d := difference(t, plain, g, x); d > 1e-6 {
				t.Errorf("with all branches taken the function changes by %g", d)
			}
			x[paths[0].Input.Name].F32()[0] = 0
			if d := difference(t, plain, g, x); d < 1e-6 {
				t.Error("a skipped branch changes nothing")
			}
		})
	}
}

func TestInsertDropPathRefusals(t *testing.T) {
	g, err := ir.Parse("graph \"g\" {\n  input %x: f32[b,4]\n  const %w: f32[4,3] = rand(1)\n  %y = MatMul(%x, %w)\n  output %y\n}", ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	clean(t, g)
	if _, err := passes.InsertDropPath(g, 0.1); err == nil || !strings.Contains(err.Error(), "no residual branch") {
		t.Errorf("a graph without blocks: %v", err)
	}
	if _, err := passes.InsertDropPath(g, 1); err == nil {
		t.Error("rate 1 is taken")
	}
}
