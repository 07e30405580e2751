package distill_test

import (
	"context"
	"fmt"
	"log"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/ir"
)

// points is a data set of numbers between -1 and 1 without labels.
type points struct{}

func (points) Batches() int { return 50 }

func (points) Batch(epoch, i int) (*dataset.Batch, error) {
	b := &dataset.Batch{N: 32}
	for k := range b.N {
		b.X = append(b.X, float32((k*37+i*11)%64)/32-1, float32((k*13+i*29)%64)/32-1)
		b.Labels = append(b.Labels, -1)
	}
	return b, nil
}

// A linear classifier whose weights were rounded to 2 bits learns to answer as
// the float one does.
func Example() {
	teacher, err := ir.Parse(`graph "teacher" {
  input %x: f32[batch,2]
  const %w: f32[2,2] = [1, -0.55, 0.3, 0.8]
  %y: f32[batch,2] = MatMul(%x, %w)
  output %y
}
`, ir.ParseOptions{})
	if err != nil {
		log.Fatal(err)
	}
	student, err := ir.Parse(`graph "student" {
  input %x: f32[batch,2]
  const %w: f32[2,2] = [1, -0.55, 0.3, 0.8]
  const %s: f32[2] = [2, 2]
  %q: f32[2,2] = ai.qvitc::FakeQuant(%w, %s) {axis=1, bits=2, signed=1}
  %y: f32[batch,2] = MatMul(%x, %q)
  output %y
}
`, ir.ParseOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range distill.Params(student) {
		fmt.Println(p.Kind, p.Name, p.Value.Const.Shape)
	}
	agreement := func() float64 {
		a, err := distill.Evaluate(context.Background(), teacher, points{}, distill.EvalOptions{})
		if err != nil {
			log.Fatal(err)
		}
		b, err := distill.Evaluate(context.Background(), student, points{}, distill.EvalOptions{})
		if err != nil {
			log.Fatal(err)
		}
		part, _, _ := distill.Agreement(a, b)
		return part
	}
	before := agreement()
	r, err := distill.Train(context.Background(), distill.Job{
		Student: student, Teacher: teacher, Data: points{},
		Options: distill.Options{Epochs: 10, LR: 0.01, Loss: &distill.Loss{Soft: 1}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Steps, "steps; agreement grew:", agreement() > before+0.1)
	// Output:
	// scale s [2]
	// weight w [2 2]
	// 500 steps; agreement grew: true
}
