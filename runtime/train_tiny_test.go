package runtime_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"

	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/qvitc/qvitc/runtime"
)

// tiny loads a ViT-Tiny (192 wide, 12 blocks, 197 tokens) as the student of a
// compression, or as it is for 32 bits.
func tiny(tb testing.TB, bits int) (g *ir.Graph, params []*ir.Value) {
	tb.Helper()
	path := filepath.Join("..", "..", "shared", "models", "vit-tiny-in1k", "model.onnx")
	if _, err := os.Stat(path); err != nil {
		tb.Skip("the model is not there")
	}
	g, err := onnxio.Load(path, onnxio.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	d := passes.Driver{}
	if _, err := d.Run(g, passes.Clean); err != nil {
		tb.Fatal(err)
	}
	if bits < 32 {
		plan := passes.DefaultPlan(bits, bits)
		plan.IRM = passes.IRMLayerNorm
		if _, err := d.Run(g, passes.Quantize(plan)); err != nil {
			tb.Fatal(err)
		}
		x := picture(1)
		_, err := quantize.Calibrate(context.Background(), g, func(i int) ([]float32, int, bool) { return x, 1, i == 0 }, quantize.CalibrateOptions{})
		if err != nil {
			tb.Fatal(err)
		}
	}
	for _, p := range distill.Params(g) {
		params = append(params, p.Value)
	}
	return g, params
}

// picture is n images of waves.
func picture(n int) []float32 {
	x := make([]float32, n*3*224*224)
	for i := range x {
		x[i] = float32(math.Sin(float64(i)/911) + 0.3*math.Sin(float64(i)/7))
	}
	return x
}

// BenchmarkTrainStepTiny is forward and backward of a batch of 8 on two threads,
// cut in two as package distill does.
func BenchmarkTrainStepTiny(b *testing.B) {
	for _, bits := range []int{32, 4} {
		b.Run(fmt.Sprintf("bits=%d", bits), func(b *testing.B) {
			g, params := tiny(b, bits)
			const shards, images = 2, 4
			p, err := runtime.Compile(g, runtime.Config{Batch: images, Train: true, Params: params})
			if err != nil {
				b.Fatal(err)
			}
			x := picture(images)
			var states [shards]*runtime.State
			var grads [shards][][]float32
			for i := range states {
				states[i] = p.NewState()
				copy(states[i].Input(g.Inputs[0]), x)
				for _, v := range params {
					grads[i] = append(grads[i], make([]float32, v.Const.Len()))
				}
			}
			step := func() {
				err := runtime.Parallel(shards, shards, func(i int) error {
					s := states[i]
					if err := s.Forward(); err != nil {
						return err
					}
					seed := s.Seed(g.Outputs[0])
					for k := range seed {
						seed[k] = float32(k%10)/10 - 0.45
					}
					s.Backward(grads[i])
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			step()
			best := time.Hour
			for b.Loop() {
				t := time.Now()
				step()
				best = min(best, time.Since(t))
			}
			b.ReportMetric(shards*images/best.Seconds(), "best-img/s")
			b.ReportMetric(float64(shards*p.Memory())/1e6, "MB")
			states[0].EnableProfile()
			step()
			logProfile(b, states[0].Profile(), 1)
		})
	}
}

// logProfile prints the time by operator.
func logProfile(b *testing.B, profile []runtime.StepTime, rounds float64) {
	type entry struct{ f, b int64 }
	byOp := map[string]*entry{}
	var total int64
	for _, st := range profile {
		e := byOp[st.Op]
		if e == nil {
			e = &entry{}
			byOp[st.Op] = e
		}
		e.f += st.Nanos - st.Backward
		e.b += st.Backward
		total += st.Nanos
	}
	var names []string
	for n := range byOp {
		names = append(names, n)
	}
	sort.Slice(names, func(i, j int) bool { return byOp[names[i]].f+byOp[names[i]].b > byOp[names[j]].f+byOp[names[j]].b })
	for _, n := range names {
		b.Logf("%-20s forward %6.2f ms  backward %6.2f ms", n, float64(byOp[n].f)/rounds/1e6, float64(byOp[n].b)/rounds/1e6)
	}
	b.Logf("sum %.2f ms", float64(total)/rounds/1e6)
}
