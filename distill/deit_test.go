package distill

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/quantize"
)

// TestDeiT trains a 2-bit student of the trained model in testdata for a few
// steps, with one thread and with two: the same bytes, and closer to the teacher
// on images it was not trained on.
func TestDeiT(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: trains a real model")
	}
	model, images := filepath.Join("..", "testdata", "onnx", "deit-fmnist.onnx"), filepath.Join("..", "testdata", "fashion-mnist")
	for _, p := range []string{model, images} {
		if _, err := os.Stat(p); err != nil {
			t.Skipf("not in this checkout: %v", err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	teacher, err := onnxio.Load(model, onnxio.Options{})
	must(err)
	var d passes.Driver
	_, err = d.Run(teacher, passes.Clean)
	must(err)
	student, _ := teacher.Clone()
	plan := passes.DefaultPlan(2, 2)
	plan.IRM = passes.IRMRescale
	_, err = d.Run(student, passes.Quantize(plan))
	must(err)

	set, err := dataset.Open(images, dataset.OpenOptions{})
	must(err)
	shape := dataset.Shape{C: 1, H: 28, W: 28}
	prep, err := dataset.Resolve("auto", set, shape)
	must(err)
	loader := func(split string, n, batch int, shuffle bool) *dataset.Loader {
		s, err := set.Split(split)
		must(err)
		l, err := dataset.NewLoader(s.Take(n, 1), prep, shape, dataset.LoaderOptions{Batch: batch, Shuffle: shuffle, DropLast: shuffle, Seed: 1})
		must(err)
		return l
	}
	train, eval := loader(dataset.Train, 1000, 40, true), loader(dataset.Eval, 500, 100, false)
	_, err = quantize.Calibrate(ctx, student, func(i int) ([]float32, int, bool) {
		if i == 2 {
			return nil, 0, false
		}
		b, err := train.Batch(0, i)
		must(err)
		return b.X, b.N, true
	}, quantize.CalibrateOptions{})
	must(err)
	want, err := Evaluate(ctx, teacher, eval, EvalOptions{})
	must(err)
	if want.Top1 < 0.85 {
		t.Errorf("the teacher's top-1 is %.3f", want.Top1)
	}
	agreement := func(g *ir.Graph) float64 {
		e, err := Evaluate(ctx, g, eval, EvalOptions{})
		must(err)
		part, _, err := Agreement(want, e)
		must(err)
		return part
	}
	before := agreement(student)
	hashes := map[string]bool{}
	var after float64
	for _, threads := range []int{1, 2} {
		s, m := student.Clone()
		j := Job{Student: s, Teacher: teacher, Data: train, Options: Options{Epochs: 1, Threads: threads, DGD: DGD{Mode: DGDPaper, Lambda: 1, TeacherNorm: true}}}
		te := passes.Taps(teacher)
		for i, a := range passes.Taps(student) {
			j.Taps = append(j.Taps, TapPair{m[a.Q], m[a.K], te[i].Q, te[i].K})
		}
		r, err := Train(ctx, j)
		must(err)
		t.Logf("%d threads: %d parameters with %d numbers, %.0f images/s", threads, r.Params, r.Elements, r.ImagesPerSec)
		hashes[hash(s)] = true
		after = agreement(s)
	}
	if len(hashes) != 1 {
		t.Error("one and two threads give other bytes")
	}
	t.Logf("agreement with the teacher %.3f before, %.3f after", before, after)
	if !(after > before+0.02) {
		t.Errorf("agreement with the teacher %.3f before, %.3f after", before, after)
	}
}
