package runtime_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/qvitc/qvitc/runtime"
	"github.com/qvitc/qvitc/zoo"
)

// images are n seeded images for the first input of g.
func images(g *ir.Graph, n int, seed uint64) *ir.Tensor {
	rng := rand.New(rand.NewPCG(seed, 1))
	shape := []int{n}
	size := n
	for _, d := range g.Inputs[0].Type.Shape[1:] {
		shape = append(shape, int(d.Size))
		size *= int(d.Size)
	}
	x := make([]float32, size)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return ir.Of(x, shape...)
}

// pack quantises a float graph as the plan says, on a few random images, and lowers
// it to packed operators as a file holds them.
func pack(t testing.TB, g *ir.Graph, plan passes.Plan, samples int) *ir.Graph {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := (&passes.Driver{}).Run(g, passes.Clean)
	check(err)
	_, err = (&passes.Driver{}).Run(g, passes.Quantize(plan))
	check(err)
	x := images(g, samples, 11)
	_, err = quantize.Calibrate(context.Background(), g, quantize.SliceBatches(x.F32(), x.Len()/samples, samples), quantize.CalibrateOptions{Method: quantize.MinMax, Weights: quantize.MinMax})
	check(err)
	packed, err := export.Packed(g)
	check(err)
	return packed
}

// trained is a small trained model of testdata.
func trained(t testing.TB, name string) *ir.Graph {
	t.Helper()
	g, err := onnxio.Load(filepath.Join("..", "testdata", "onnx", name+".onnx"), onnxio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// sameBytes runs g on a batch with and without fusing and wants the same outputs; it
// returns the operators of the fused steps.
func sameBytes(t testing.TB, g *ir.Graph, batch int) []string {
	t.Helper()
	x := images(g, batch, uint64(batch))
	var want [][]float32
	var fused []string
	for _, plain := range []bool{true, false} {
		p, err := runtime.Compile(g, runtime.Config{Batch: batch, NoFuse: plain})
		if err != nil {
			t.Fatal(err)
		}
		s := p.NewState()
		s.EnableProfile()
		if err := s.SetInput(g.Inputs[0], x); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second run must not see leftovers of the first
			if err := s.Forward(); err != nil {
				t.Fatal(err)
			}
		}
		for i, o := range g.Outputs {
			if plain {
				want = append(want, slices.Clone(s.Value(o)))
			} else if !slices.Equal(want[i], s.Value(o)) {
				t.Fatalf("batch %d: output %q differs from that of the plain steps", batch, o.Name)
			}
		}
		if !plain {
			for _, k := range s.Profile() {
				fused = append(fused, k.Op)
			}
		}
	}
	return fused
}

func TestFusedSameBytes(t *testing.T) {
	for _, name := range []string{"deit-fmnist", "swin-fmnist"} {
		for _, bits := range []int{4, 3, 2} {
			for _, irm := range []string{passes.IRMRescale, passes.IRMLayerNorm, passes.IRMOff} {
				t.Run(fmt.Sprintf("%s/w%da%d/%s", name, bits, bits, irm), func(t *testing.T) {
					if bits != 4 && (testing.Short() || irm != passes.IRMRescale) {
						t.Skip("short")
					}
					plan := passes.DefaultPlan(bits, bits)
					plan.IRM = irm
					g := pack(t, trained(t, name), plan, 8)
					for _, batch := range []int{1, 3, 32} {
						ops := sameBytes(t, g, batch)
						if batch == 1 && bits == 4 {
							t.Log(len(ops), ops)
						}
					}
				})
			}
		}
	}
}

// TestFusedFullSize compares one image of models of full size.
func TestFusedFullSize(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	for _, name := range []string{"deit-tiny", "swin-tiny"} {
		t.Run(name, func(t *testing.T) {
			sameBytes(t, fullSize(t, name, 4), 1)
		})
	}
}

// fullSize is a packed model of the zoo.
func fullSize(t testing.TB, name string, bits int) *ir.Graph {
	t.Helper()
	m, err := zoo.Preset(name)
	if err != nil {
		t.Fatal(err)
	}
	g, err := m.Graph(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	plan := passes.DefaultPlan(bits, bits)
	plan.IRM = passes.IRMRescale
	return pack(t, g, plan, 1)
}

// TestFusedExporters compares models of other exporters: separate projections of q,
// k and v, other spellings of windows, two heads. Every product must be fused.
func TestFusedExporters(t *testing.T) {
	for _, name := range []string{"hf-vit-op17-dyn", "tv-vit-op17-dyn", "tv-swin-op17-dyn", "timm-deit-distilled-2heads-op17-dyn", "timm-swin-op17-fixed"} {
		t.Run(name, func(t *testing.T) {
			g, _, _ := model(t, name)
			plan := passes.DefaultPlan(4, 4)
			plan.IRM = passes.IRMRescale
			for _, op := range sameBytes(t, pack(t, g, plan, 1), 1) {
				if op == "Softmax" || strings.HasPrefix(op, "QMatMul") || op == "Gelu" {
					t.Errorf("%s is left alone", op)
				}
			}
		})
	}
}
