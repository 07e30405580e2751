package quantize

import (
	"context"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// TestVisitorPanic wants the panic of a worker back as an error.
func TestVisitorPanic(t *testing.T) {
	g, err := ir.Parse(`graph "g" {
  input %x: f32[batch,2]
  %y: f32[batch,2] = Relu(%x)
  output %y
}
`, ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFloatGraph(g)
	if err != nil {
		t.Fatal(err)
	}
	bad := []func(view) error{func(view) error { panic("no room") }}
	_, err = f.run(context.Background(), nil, SliceBatches([]float32{1, 2, 3, 4}, 2, 1), runOptions{}, bad)
	if err == nil || !strings.Contains(err.Error(), "internal error") || !strings.Contains(err.Error(), "no room") {
		t.Errorf("got %v", err)
	}
}
