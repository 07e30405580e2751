package export

import (
	"context"
	"fmt"
	"math"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/runtime"
)

// verify reads the sealed file back, holds its weights against the student's
// and its answers against those of g, the graph that was written, and of the
// student: every bit.
func verify(ctx context.Context, file string, g *ir.Graph, o Options, res *Result) error {
	back, err := onnxio.Load(file, onnxio.Options{})
	if err != nil {
		return fmt.Errorf("the written file does not read back: %w", err)
	}
	if o.Student != nil {
		if res.Layers, err = sameWeights(o.Student, back); err != nil {
			return err
		}
	}
	if len(o.Samples) == 0 {
		return nil
	}
	ours, err := runtime.NewSession(back, runtime.Options{Threads: o.Threads})
	if err != nil {
		return fmt.Errorf("the written file does not run: %w", err)
	}
	written, err := runtime.NewSession(g, runtime.Options{Threads: o.Threads})
	if err != nil {
		return err
	}
	var student *runtime.Session
	if o.Student != nil {
		if student, err = runtime.NewSession(o.Student, runtime.Options{Threads: o.Threads}); err != nil {
			return err
		}
	}
	for _, in := range o.Samples {
		got, err := ours.Run(ctx, in)
		if err != nil {
			return fmt.Errorf("the written file does not run: %w", err)
		}
		want, err := written.Run(ctx, in)
		if err != nil {
			return err
		}
		worst, rows, err := compareOutputs(g.Outputs, want, got)
		if err != nil {
			return err
		}
		if worst != 0 {
			return fmt.Errorf("%w: read back, it answers otherwise than the graph that was written, by up to %.3g", ErrMismatch, worst)
		}
		if student == nil {
			continue
		}
		if want, err = student.Run(ctx, in); err != nil {
			return err
		}
		if worst, rows, err = compareOutputs(g.Outputs, want, got); err != nil {
			return err
		}
		res.Samples += rows
		if !(worst <= res.MaxDiff) {
			res.MaxDiff = worst
		}
	}
	if res.MaxDiff != 0 {
		return fmt.Errorf("%w: it answers otherwise than the trained student, by up to %.3g", ErrMismatch, res.MaxDiff)
	}
	return nil
}

// compareOutputs gives the largest difference of the outputs, NaN where only one
// of two numbers is NaN, and the number of their rows.
func compareOutputs(outputs []*ir.Value, want, got map[string]*ir.Tensor) (worst float64, rows int, err error) {
	for _, v := range outputs {
		w, h := want[v.Name], got[v.Name]
		if w == nil || h == nil || h.Type().String() != w.Type().String() || len(w.Shape) == 0 || w.Elem != ir.Float32 {
			return 0, 0, fmt.Errorf("output %s of the written file: have %v, want %v", ir.Quote(v.Name), typeOf(h), typeOf(w))
		}
		if width := w.Shape[len(w.Shape)-1]; width > 0 {
			rows += w.Len() / width
		}
		for i, x := range w.F32() {
			y := h.F32()[i]
			if math.Float32bits(x) == math.Float32bits(y) {
				continue
			}
			if d := math.Abs(float64(x) - float64(y)); !(d <= worst) {
				worst = d
			}
		}
	}
	return worst, rows, nil
}

func typeOf(t *ir.Tensor) string {
	if t == nil {
		return "nothing"
	}
	return t.Type().String()
}

// sameWeights compares every packed linear layer of the file with the quantised
// layer of the student that has its name: codes, scales, zero point, exactly. It
// gives the number of layers compared.
func sameWeights(student, file *ir.Graph) (int, error) {
	layers := map[string][]*ir.Node{}
	for n := range student.Nodes() {
		if n.Is("MatMul") && n.Inputs[1].Def.IsOwn("FakeQuant") && n.Inputs[1].Def.Inputs[0].IsConst() && n.Inputs[0].Def.IsOwn("FakeQuant") {
			name := passes.LayerName(n)
			layers[name] = append(layers[name], n)
		}
	}
	compared := 0
	for n := range file.Nodes() {
		var w, a int
		if n.Domain != ir.Domain || !scan(n.Op, "QLinearW%dA%d", &w, &a) {
			continue
		}
		if len(layers[n.Name]) == 0 {
			return compared, fmt.Errorf("%w: the student has no layer %s", ErrMismatch, ir.Quote(n.Name))
		}
		of := layers[n.Name][0]
		layers[n.Name] = layers[n.Name][1:]
		if err := sameLayer(of, n, w, a); err != nil {
			return compared, fmt.Errorf("%w: layer %s: %v", ErrMismatch, ir.Quote(n.Name), err)
		}
		compared++
	}
	return compared, nil
}

func sameLayer(student, packed *ir.Node, w, a int) error {
	wq, xq := student.Inputs[1].Def, student.Inputs[0].Def
	weight := wq.Inputs[0].Const
	k, n := weight.Shape[0], weight.Shape[1]
	codes, err := passes.UnpackWeights(packed.Input(1).Const, k, w)
	if err != nil {
		return err
	}
	scales := wq.Inputs[1].Const.F32()
	at := func(j int) float32 { return scales[j%len(scales)] }
	low, high := -float64(int(1)<<(w-1)), float64(int(1)<<(w-1)-1)
	for j := range n {
		if packed.Input(2).Const.F32()[j] != at(j) {
			return fmt.Errorf("weight scale %d is %g, the student's %g", j, packed.Input(2).Const.F32()[j], at(j))
		}
		for i := range k {
			q := min(max(math.RoundToEven(float64(weight.F32()[i*n+j]/at(j))), low), high)
			if float64(codes[j*k+i]) != q {
				return fmt.Errorf("code %d,%d is %d, the student's %g", j, i, codes[j*k+i], q)
			}
		}
	}
	if have, want := packed.Input(3).Const.F32()[0], xq.Inputs[1].Const.F32()[0]; have != want {
		return fmt.Errorf("input scale %g, the student's %g", have, want)
	}
	zero := 0.0
	if z := xq.Input(2); z != nil {
		zero = math.RoundToEven(z.Const.Float(0))
	}
	if xq.Attrs.Int("signed", 0) != 0 {
		zero += float64(int(1) << (a - 1))
	}
	if have := packed.Input(4).Const.Int(0); float64(have) != zero {
		return fmt.Errorf("zero point %d, the student's %g", have, zero)
	}
	return nil
}
