package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strconv"
	"math/rand"
	"time"

	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
	"github.com/qvitc/qvitc/runtime"
)

func main() {
	fast := os.Args[1] == "fast"
	n, _ := strconv.Atoi(os.Args[2])
	train := os.Args[1] != "teacher"
	g, err := onnxio.Load("/tmp/me/deit-tiny.onnx", onnxio.Options{})
	if err != nil { panic(err) }
	d := &passes.Driver{}
	if _, err := d.Run(g, passes.Clean); err != nil { panic(err) }
	if train {
		plan := passes.DefaultPlan(4, 4)
		plan.IRM = "rescale"
		if _, err := d.Run(g, passes.Quantize(plan)); err != nil { panic(err) }
		x := make([]float32, 2*3*224*224)
		for i := range x { x[i] = rand.Float32()*2 - 1 }
		if _, err = quantize.Calibrate(context.Background(), g, func(i int) ([]float32, int, bool) { return x, 2, i == 0 }, quantize.CalibrateOptions{Method: "minmax", Threads: 2}); err != nil { panic(err) }
	}
	var ps []*ir.Value
	cfg := runtime.Config{Batch: n, Train: train, FastBackward: fast}
	if train {
		for _, p := range distill.Params(g) { ps = append(ps, p.Value) }
		cfg.Params = ps
		for _, t := range passes.Taps(g) { cfg.Taps = append(cfg.Taps, t.Q, t.K) }
	}
	p, err := runtime.Compile(g, cfg)
	if err != nil { panic(err) }
	s := p.NewState()
	in := s.Input(g.Inputs[0])
	for i := range in { in[i] = rand.Float32()*2 - 1 }
	grads := make([][]float32, len(ps))
	for i, v := range ps { grads[i] = make([]float32, v.Const.Len()) }
	one := func() {
		if err := s.Forward(); err != nil { panic(err) }
		if !train { return }
		seed := s.Seed(g.Outputs[0])
		for i := range seed { seed[i] = float32(i%7-3) * 1e-3 }
		s.Backward(grads)
	}
	one()
	s.EnableProfile()
	iters := 8
	best := make([]runtime.StepTime, len(s.Profile()))
	var tot time.Duration = 1 << 60
	for range iters {
		s.EnableProfile()
		t := time.Now()
		one()
		if d := time.Since(t); d < tot { tot = d }
		for i, st := range s.Profile() {
			f := st.Nanos - st.Backward
			if best[i].Name == "" || f < best[i].Nanos { best[i].Nanos = f }
			if best[i].Name == "" || st.Backward < best[i].Backward { best[i].Backward = st.Backward }
			best[i].Name, best[i].Op = st.Name, st.Op
		}
	}
	fmt.Println("total best", tot, "images", n, "memory MB", p.Memory()>>20, "steps", p.Steps())
	if len(os.Args) > 3 {
		for i, b := range best {
			if i > 70 { break }
			fmt.Printf("%3d %-14s %-60.60s f %7.3f b %7.3f\n", i, b.Op, b.Name, float64(b.Nanos)/1e6, float64(b.Backward)/1e6)
		}
	}
	type row struct{ f, b float64; n int }
	m := map[string]*row{}
	var keys []string
	var all row
	for _, b := range best {
		r := m[b.Op]
		if r == nil { r = &row{}; m[b.Op] = r; keys = append(keys, b.Op) }
		r.f += float64(b.Nanos) / 1e6; r.b += float64(b.Backward) / 1e6; r.n++
		all.f += float64(b.Nanos) / 1e6; all.b += float64(b.Backward) / 1e6
	}
	sort.Slice(keys, func(i, j int) bool { return m[keys[i]].f+m[keys[i]].b > m[keys[j]].f+m[keys[j]].b })
	for _, k := range keys { fmt.Printf("%-20s n %4d f %8.2f b %8.2f\n", k, m[k].n, m[k].f, m[k].b) }
	fmt.Printf("%-20s        f %8.2f b %8.2f\n", "all", all.f, all.b)
}
