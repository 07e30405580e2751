package quantize

import (
	"context"
	"math"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// Two heads of constant mean 2 and 0 and of deviation 1 and 3.
const staticGraph = `graph "g" {
  input %x: f32[batch,2,3,2]
  const %scale: f32[1,2,1,1] = [1, 3]
  const %shift: f32[1,2,1,1] = [2, 0]
  const %mean: f32[2,1,1] = [0, 0]
  const %spread: f32[2,1,1] = [1, 1]
  const %gamma: f32[2,1,2] = fill(1)
  const %beta: f32[2,1,2] = fill(0)
  const %s: f32[2] = [0, 0]
  %scaled: f32[batch,2,3,2] = Mul(%x, %scale)
  %q: f32[batch,2,3,2] = Add(%scaled, %shift)
  %c: f32[batch,2,3,2] = Sub(%q, %mean)
  %n: f32[batch,2,3,2] = Div(%c, %spread)
  %m: f32[batch,2,3,2] = Mul(%n, %gamma)
  %r: f32[batch,2,3,2] = Add(%m, %beta) @irm_q(0)
  %y: f32[batch,2,3,2] = ai.qvitc::FakeQuant(%r, %s) {axis=1, bits=4, signed=1}
  output %y
}
`

func TestStaticIRMIsCalibrated(t *testing.T) {
	x := make([]float32, 4*2*3*2)
	for i := range x {
		x[i] = float32(1 - 2*(i%2))
	}
	for _, threads := range []int{1, 3} {
		g, err := ir.Parse(staticGraph, ir.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Calibrate(context.Background(), g, SliceBatches(x, 12, 2), CalibrateOptions{Threads: threads}); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string][]float32{"mean": {2, 0}, "spread": {1, 3}, "gamma": {1, 1, 3, 3}, "beta": {2, 2, 0, 0}} {
			for i, v := range g.Value(name).Const.F32() {
				if math.Abs(float64(v-want[i])) > 1e-5 {
					t.Errorf("%s %v, want %v", name, g.Value(name).Const.F32(), want)
				}
			}
		}
	}
	// on failure nothing changes
	g, _ := ir.Parse(staticGraph, ir.ParseOptions{})
	x[3] = float32(math.NaN())
	if _, err := Calibrate(context.Background(), g, SliceBatches(x, 12, 2), CalibrateOptions{}); err == nil || g.Value("spread").Const.F32()[1] != 1 {
		t.Errorf("%v, spread %v", err, g.Value("spread").Const.F32())
	}
}
