package passes_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/passes"
)

const models = "../../shared/models"

// loadModel reads a model of the shared material, or skips.
func loadModel(t testing.TB, name string) *ir.Graph {
	t.Helper()
	path := filepath.Join(models, name, "model.onnx")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not there: the shared models are needed", path)
	}
	g, err := onnxio.Load(path, onnxio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func clean(t testing.TB, g *ir.Graph) *passes.Result {
	t.Helper()
	d := passes.Driver{Check: true, ReproDir: t.TempDir()}
	res, err := d.Run(g, passes.Clean)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestModels cleans every model and compares what was recognised with what the
// model is known to hold.
func TestModels(t *testing.T) {
	dirs, _ := filepath.Glob(models + "/*/model.onnx")
	if len(dirs) == 0 {
		t.Skip("the shared models are not there")
	}
	for _, path := range dirs {
		name := filepath.Base(filepath.Dir(path))
		t.Run(name, func(t *testing.T) {
			g := loadModel(t, name)
			before := g.Len()
			res := clean(t, g)
			rec := res.Step("recognise").Report
			row := fmt.Sprintf("%-38s %5d -> %4d  %s", name, before, g.Len(), strings.TrimSpace(rec.String()))
			t.Log(row)
			if len(rec.Notes) > 0 {
				t.Error("something was not recognised")
			}
			for key, want := range wantRoles(name) {
				if got := rec.Get(key); got != want {
					t.Errorf("%s: %d, want %d", key, got, want)
				}
			}
			for n := range g.Nodes() {
				for _, v := range n.Inputs {
					if v != nil && !v.IsConst() && v.Type.Elem == ir.Int64 && !n.Is("Concat") && !n.Is("Expand") && !n.Is("ConstantOfShape") {
						t.Errorf("shape arithmetic is left: %s reads %q", n.Op, v.Name)
					}
				}
			}
			taps := passes.Taps(g)
			if len(taps) != wantRoles(name)["blocks"] {
				t.Errorf("%d taps", len(taps))
			}
			blocks := passes.Blocks(g)
			if len(blocks) != wantRoles(name)["blocks"] {
				t.Errorf("outputs of %d blocks", len(blocks))
			}
			for _, v := range blocks {
				if !v.Def.Is("Add") || v.Type.Rank() < 3 {
					t.Errorf("block output %q %v of %s", v.Name, v.Type, v.Def.Op)
				}
			}
			for _, tap := range taps {
				if tap.Heads*tap.Dim == 0 || tap.Q.Type.Rank() != 4 || tap.K.Type.Rank() != 4 || tap.V.Type.Rank() != 4 {
					t.Errorf("block %d: heads %d, dim %d, q %v, k %v, v %v", tap.Block, tap.Heads, tap.Dim, tap.Q.Type, tap.K.Type, tap.V.Type)
				}
			}
		})
	}
}

// wantRoles is what a model holds, from its description.
func wantRoles(name string) map[string]int {
	blocks, merges, norms := 3, 0, 7
	switch {
	case strings.Contains(name, "swin"):
		blocks, merges, norms = 4, 1, 11
	case name == "deit-fmnist":
		blocks, norms = 6, 13
	case name == "vit-tiny-in1k":
		blocks, norms = 12, 25
	}
	heads := 1
	if strings.Contains(name, "distilled") {
		heads = 2
	}
	w := map[string]int{
		"blocks": blocks, "scores": blocks, "probs": blocks, "context": blocks, "proj": blocks, "fc1": blocks, "fc2": blocks,
		"act": blocks, "merge": merges, "norm": norms, "head": heads, "patch_embed": 1, "qkv": blocks, "q": 0, "k": 0, "v": 0,
	}
	if strings.HasPrefix(name, "hf-") {
		w["qkv"], w["q"], w["k"], w["v"] = 0, blocks, blocks, blocks
	}
	return w
}

// TestModelsKeepTheirOutputs runs the small models through the oracle after
// Clean and compares with the outputs stored beside them.
func TestModelsKeepTheirOutputs(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	dirs, _ := filepath.Glob(models + "/*/model.onnx")
	if len(dirs) == 0 {
		t.Skip("the shared models are not there")
	}
	worst, where := 0.0, ""
	for _, path := range dirs {
		name := filepath.Base(filepath.Dir(path))
		if name == "vit-tiny-in1k" {
			continue // minutes in the oracle
		}
		t.Run(name, func(t *testing.T) {
			g := loadModel(t, name)
			clean(t, g)
			if d := storedDiff(t, name, g); d > worst {
				worst, where = d, name
			}
		})
	}
	t.Logf("worst: %.3g of the allowance in %s", worst, where)
}

// storedDiff evaluates g on the stored input and gives the largest difference
// from the stored outputs as a part of 1e-7 + 1e-3|want|.
func storedDiff(t *testing.T, name string, g *ir.Graph) float64 {
	t.Helper()
	set := filepath.Join(models, name, "test_data_set_0")
	x, _, err := onnxio.ReadTensor(filepath.Join(set, "input_0.pb"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := ops.EvalGraph(g, map[string]*ir.Tensor{g.Inputs[0].Name: x})
	if err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	for i, v := range g.Outputs {
		want, _, err := onnxio.ReadTensor(filepath.Join(set, fmt.Sprintf("output_%d.pb", i)))
		if err != nil {
			t.Fatal(err)
		}
		got := out[v.Name]
		if got == nil || got.Len() != want.Len() {
			t.Fatalf("output %q: %v, want %v", v.Name, got, want.Type())
		}
		for k := range want.Len() {
			d := math.Abs(got.Float(k)-want.Float(k)) / (1e-7 + 1e-3*math.Abs(want.Float(k)))
			worst = max(worst, d)
		}
	}
	if worst > 1 {
		t.Errorf("outputs differ: %.3g of the allowance", worst)
	}
	return worst
}
