package distill

import (
	"fmt"
	"slices"

	"github.com/qvitc/qvitc/ir"
)

// FeaturePair is where Options.Features compares student and teacher: values of the
// same shape [images, ...], such as the outputs of a block (passes.Blocks).
type FeaturePair struct{ Student, Teacher *ir.Value }

// featureLoss is the squared distance of the student's x from the teacher's y for one
// image, as part of the teacher's own square,
//
//	‖x - y‖² / ‖y‖²
//
// and adds w times its gradient 2·(x - y)/‖y‖² to dx, unless that is nil. A teacher of
// nothing but zeros gives 0.
func featureLoss[T real](x, y []T, w float64, dx []T) float64 {
	var distance, square [4]float64 // sums that do not wait for one another
	for i, v := range y {
		d := float64(x[i]) - float64(v)
		distance[i%4] += d * d
		square[i%4] += float64(v) * float64(v)
	}
	n := square[0] + square[1] + square[2] + square[3]
	if n == 0 {
		return 0
	}
	if dx != nil {
		f := T(2 * w / n)
		for i, v := range y {
			dx[i] += f * (x[i] - v)
		}
	}
	return (distance[0] + distance[1] + distance[2] + distance[3]) / n
}

// featureTaps checks what Options.Features compares.
func featureTaps(j *Job) (out []tap, err error) {
	if len(j.Features) == 0 {
		return nil, fmt.Errorf("the distillation of features is on, but no blocks were recognised in the model: nothing to compare")
	}
	for i, f := range j.Features {
		if f.Student == nil || f.Teacher == nil {
			return nil, fmt.Errorf("feature %d: a value of student and teacher is needed", i)
		}
		out = append(out, tap{f.Student, f.Teacher})
	}
	return out, nil
}

// measureFeatures checks that student and teacher give the same shapes for n images.
func (p *plan) measureFeatures(e *engine, n int) error {
	for _, t := range e.features {
		s, u := p.student.Shape(t.s), p.teacher.Shape(t.t)
		if !slices.Equal(s, u) || elements(s)%n != 0 {
			return fmt.Errorf("features of the student, tensor %s %v, and of the teacher, tensor %s %v, cannot be compared: want equal shapes [images, ...]",
				ir.Quote(t.s.Name), s, ir.Quote(t.t.Name), u)
		}
	}
	return nil
}

// featureLoss adds the distances of a shard of n images; weight is that of one image in
// the batch.
func (w *worker) featureLoss(lambda float64, n int, x, y, seed []float32, weight float64, sum *lossSums) {
	per := len(x) / n
	for i := range n {
		var d []float32
		if seed != nil {
			d = seed[i*per:][:per]
		}
		l := featureLoss(x[i*per:][:per], y[i*per:][:per], lambda*weight, d)
		sum.total += lambda * weight * l
		sum.features += weight * l
	}
}
