package quantize

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// irmGraph has one IRM of the form layernorm on two heads whose tokens have the
// deviations 1 and 3: each row of x is (a, -a), its head 1 row (3a, -3a).
const irmGraph = `graph "g" {
  input %x: f32[batch,2,3,2]
  const %scale: f32[1,2,1,1] = [1, 3]
  const %gamma: GAMMA = fill(1)
  const %beta: f32[2] = [0, 0]
  const %s: f32[2] = [0, 0]
  %q: f32[batch,2,3,2] = Mul(%x, %scale)
  NORM
  %y: f32[batch,2,3,2] = ai.qvitc::FakeQuant(%n, %s) {axis=1, bits=4, signed=1}
  output %y
}
`

func TestInitIRMKeepsTheMeanDeviation(t *testing.T) {
	x := make([]float32, 4*2*3*2)
	for i := range x {
		x[i] = float32(1 - 2*(i%2))
	}
	for _, c := range []struct {
		gamma, norm string
		want        []float32
	}{
		{"f32[2]", "%n: f32[batch,2,3,2] = LayerNormalization(%q, %gamma, %beta) {axis=-1, epsilon=1e-05f} @irm_q(0)", []float32{2, 2}},
		{"f32[2,1,2]", `const %one: f32[2] = [1, 1]
  %l: f32[batch,2,3,2] = LayerNormalization(%q, %one, %beta) {axis=-1, epsilon=1e-05f}
  %m: f32[batch,2,3,2] = Mul(%l, %gamma)
  %n: f32[batch,2,3,2] = Add(%m, %beta) @irm_q(0)`, []float32{1, 1, 3, 3}},
	} {
		g, err := ir.Parse(strings.NewReplacer("GAMMA", c.gamma, "NORM", c.norm).Replace(irmGraph), ir.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Calibrate(context.Background(), g, SliceBatches(x, 12, 2), CalibrateOptions{}); err != nil {
			t.Fatal(err)
		}
		got := g.Value("gamma").Const.F32()
		for i, w := range c.want {
			if math.Abs(float64(got[i]-w)) > 1e-3 {
				t.Errorf("%s: gamma %v, want %v", c.gamma, got, c.want)
				break
			}
		}
		for _, s := range g.Value("s").Const.F32() {
			if !(s > 0) {
				t.Errorf("scales %v", g.Value("s").Const.F32())
			}
		}
	}
}

func TestCalibrateRestoresGammaOnFailure(t *testing.T) {
	g, err := ir.Parse(strings.NewReplacer("GAMMA", "f32[2]", "NORM",
		"%n: f32[batch,2,3,2] = LayerNormalization(%q, %gamma, %beta) {axis=-1} @irm_q(0)").Replace(irmGraph), ir.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before := g.String()
	x := []float32{1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, float32(math.NaN())}
	if _, err := Calibrate(context.Background(), g, SliceBatches(x, 12, 1), CalibrateOptions{}); err == nil {
		t.Fatal("NaN was accepted")
	}
	if g.String() != before {
		t.Error("a failed calibration changed the graph")
	}
}
