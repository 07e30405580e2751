package qvitc_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/qvitc/qvitc"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
)

// A quantised model gives the same answers from whichever form it was written in;
// nbits, which holds weights only, those of its weights alone.
func TestLoadFormats(t *testing.T) {
	const prep = "mean=0.2856 std=0.3533 resize=28 crop=28"
	g, err := onnxio.Load("testdata/onnx/deit-fmnist.onnx", onnxio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&passes.Driver{}).Run(g, append(slices.Clone(passes.Clean), passes.Quantize(passes.DefaultPlan(3, 4))...)); err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 4*28*28)
	for i := range x {
		x[i] = float32(i*i%97)/24 - 2
	}
	_, err = quantize.Calibrate(t.Context(), g, func(i int) ([]float32, int, bool) { return x, 4, i == 0 }, quantize.CalibrateOptions{Method: "minmax"})
	if err != nil {
		t.Fatal(err)
	}
	classify := func(student *ir.Graph, to export.Target, whole bool) []qvitc.Class {
		t.Helper()
		b, err := export.Build(student, to)
		if err != nil {
			t.Fatal(err)
		}
		b.Write.Whole = whole
		path := filepath.Join(t.TempDir(), "m.onnx")
		if err := onnxio.Save(path, b.Graph, b.Write); err != nil {
			t.Fatal(err)
		}
		m, err := qvitc.Load(path, qvitc.Options{Preprocess: prep})
		if err != nil {
			t.Fatalf("%v: %v", to, err)
		}
		c, err := m.Classify(context.Background(), trousers(), 10)
		if err != nil {
			t.Fatalf("%v: %v", to, err)
		}
		return c
	}
	want := classify(g, export.Target{}, false)
	for _, to := range []export.Target{{Format: export.FormatQDQ}, {Format: export.FormatQDQ, Opset: 25}, {Format: export.FormatQCDQ8}, {Format: export.FormatQONNX}} {
		if got := classify(g, to, false); !slices.Equal(got, want) {
			t.Errorf("%v: %v, packed says %v", to, got, want)
		}
	}
	if got := classify(g, export.Target{}, true); !slices.Equal(got, want) {
		t.Errorf("whole: %v, packed says %v", got, want)
	}
	nbits := classify(g, export.Target{Format: export.FormatNBits}, false)
	if _, err := (&passes.Driver{}).Run(g, []passes.Pass{passes.WeightsOnly}); err != nil {
		t.Fatal(err)
	}
	for _, to := range []export.Target{{}, {Format: export.FormatQDQ}, {Format: export.FormatQCDQ8}} {
		if got := classify(g, to, false); !slices.Equal(got, nbits) {
			t.Errorf("weights alone as %v: %v, nbits says %v", to, got, nbits)
		}
	}
}
