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

// verify reads the sealed file back, holds its quantisers against the student's
// and its answers against those of g, the graph that was written, and of the
// student: every bit. At last it asks ONNX Runtime, where there is one.
func verify(ctx context.Context, file string, g *ir.Graph, o Options, res *Result) error {
	back, err := onnxio.Load(file, onnxio.Options{})
	if err != nil {
		return fmt.Errorf("the written file does not read back: %w", err)
	}
	student := o.Student
	if student != nil {
		if o.Format.WeightsOnly() {
			if student, err = weightsOnly(student); err != nil {
				return err
			}
		}
		if res.Layers, err = sameQuantisers(student, back); err != nil {
			return err
		}
	}
	if len(o.Samples) == 0 {
		return nil
	}
	if back, err = runnable(back, o.Format); err != nil {
		return err
	}
	if g, err = runnable(g, o.Format); err != nil {
		return err
	}
	var answers [3]map[string]*ir.Tensor // of the file, the graph written, the student
	sessions := make([]*runtime.Session, 0, 3)
	for _, one := range []*ir.Graph{back, g, student} {
		if one == nil {
			break
		}
		s, err := runtime.NewSession(one, runtime.Options{Threads: o.Threads})
		if err != nil {
			return fmt.Errorf("the written file does not run: %w", err)
		}
		sessions = append(sessions, s)
	}
	for _, in := range o.Samples {
		for i, s := range sessions {
			if answers[i], err = s.Run(ctx, in); err != nil {
				return fmt.Errorf("the written file does not run: %w", err)
			}
		}
		worst, rows, err := compareOutputs(g.Outputs, answers[1], answers[0])
		if err != nil {
			return err
		}
		if worst != 0 {
			return fmt.Errorf("%w: read back, it answers otherwise than the graph that was written, by up to %.3g", ErrMismatch, worst)
		}
		if student != nil {
			if worst, rows, err = compareOutputs(g.Outputs, answers[2], answers[0]); err != nil {
				return err
			}
			res.Samples += rows
			if !(worst <= res.MaxDiff) {
				res.MaxDiff = worst
			}
		}
		if o.ORT != nil {
			if err := o.ORT.check(ctx, file, g.Outputs, in, answers[0], res); err != nil {
				return err
			}
		}
	}
	if res.MaxDiff != 0 {
		return fmt.Errorf("%w: it answers otherwise than the student, by up to %.3g", ErrMismatch, res.MaxDiff)
	}
	if res.ORT != nil {
		if res.ORT.Noise, err = noise(ctx, back, o.Samples, o.Threads); err != nil {
			return err
		}
	}
	return res.ORT.verdict()
}

// weightsOnly is a copy of the student without quantisers of activations.
func weightsOnly(student *ir.Graph) (*ir.Graph, error) {
	g, _ := student.Clone()
	_, err := (&passes.Driver{}).Run(g, []passes.Pass{passes.WeightsOnly})
	return g, err
}

// runnable is the graph in the form that the runtime has kernels for: packed
// operators as they are, all others as FakeQuant.
func runnable(g *ir.Graph, f Format) (*ir.Graph, error) {
	if f == FormatPacked || f == "" {
		return g, nil
	}
	c, _ := g.Clone()
	_, err := Raise(c)
	return c, err
}

// sameQuantisers compares what a file holds with what the student is quantised
// with, codes, scales and zero points, exactly, and gives the number of weights.
func sameQuantisers(student, file *ir.Graph) (int, error) {
	back, _ := file.Clone()
	if _, err := Raise(back); err != nil {
		return 0, err
	}
	if _, err := passes.SameQuantisers(student, back); err != nil {
		return 0, fmt.Errorf("%w: %v", ErrMismatch, err)
	}
	list, err := passes.Quantisers(back)
	weights := 0
	for _, q := range list {
		if q.Weight {
			weights++
		}
	}
	return weights, err
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
