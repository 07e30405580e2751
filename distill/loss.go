package distill

import (
	"fmt"
	"math"
)

// Loss weighs the parts of the logit loss (method.md section 8):
//
//	Hard        CE(class head, label)
//	TeacherHard CE(last head, arg-max of the teacher's mean logits)
//	Soft        Tau² · KL(teacher ‖ student), the mean over the heads
//
// A model with one head uses it for all parts. An image without a label (-1) has
// no hard part; its distillation parts take over the weight, and TeacherHard
// then also trains the class head. Where an image was mixed of two, the label is
// the mixture of theirs. Without a teacher Hard trains every head.
type Loss struct {
	Hard, TeacherHard, Soft float64
	Tau                     float64 // temperature of Soft; 0 means 1
	Smoothing               float64 // part of the label that is spread over all classes, 0 to below 1
}

// DefaultLoss is half the labels and half the teacher's distribution.
var DefaultLoss = Loss{Hard: 0.5, Soft: 0.5, Tau: 1}

// Parts is a loss split into its parts. Total is the weighted sum; the others
// are unweighted means (Hard over labelled images only).
type Parts struct {
	Total, Hard, TeacherHard, Soft, DGD, Features float64
}

func (l Loss) check() error {
	for _, w := range []float64{l.Hard, l.TeacherHard, l.Soft} {
		if w < 0 || math.IsNaN(w) || math.IsInf(w, 0) {
			return fmt.Errorf("loss weight %v: want a number of at least 0", w)
		}
	}
	if l.Hard+l.TeacherHard+l.Soft == 0 {
		return fmt.Errorf("all loss weights are 0: nothing to train on")
	}
	if l.Tau < 0 || math.IsNaN(l.Tau) || math.IsInf(l.Tau, 0) {
		return fmt.Errorf("temperature %v: want a number above 0", l.Tau)
	}
	if !(l.Smoothing >= 0 && l.Smoothing < 1) {
		return fmt.Errorf("label smoothing %v: want a number of at least 0, below 1", l.Smoothing)
	}
	return nil
}

// weights gives the parts' weights for one image.
func (l Loss) weights(labelled bool) (hard, teacherHard, soft float64) {
	if labelled {
		return l.Hard, l.TeacherHard, l.Soft
	}
	rest := l.TeacherHard + l.Soft
	if rest == 0 {
		return 0, 0, 0
	}
	f := (l.Hard + rest) / rest
	return 0, l.TeacherHard * f, l.Soft * f
}

// real is what the losses compute on: float32 in training, float64 in the
// finite-difference tests.
type real interface{ float32 | float64 }

// lossSums gathers the parts of one shard.
type lossSums struct {
	total, hard, teacherHard, soft, dgd, features float64
	labelled                                      int
}

// target is what the label says: class a with the given share, class b with the
// rest. a is -1 when there is no label.
type target struct {
	a, b  int
	share float64
}

// onlyClass is the target of an image that is not mixed.
func onlyClass(label int) target { return target{a: label, b: label, share: 1} }

// logitLoss computes the loss of one image times w and adds its gradient to
// grad. student, teacher and grad hold one row of logits for each head; teacher
// may be empty when only Hard has weight.
func logitLoss[T real](l Loss, student, teacher [][]T, t target, w float64, grad [][]T, sum *lossSums, s *scratch) {
	label := t.a
	hard, teacherHard, soft := l.weights(label >= 0)
	last := len(student) - 1
	if label >= 0 {
		heads := 1
		if teacherHard+soft == 0 {
			heads = len(student)
		}
		var v float64
		for h := range heads {
			v += targetEntropy(student[h], t, l.Smoothing, w*hard/float64(heads), grad[h], s)
		}
		v /= float64(heads)
		sum.hard += v
		sum.labelled++
		sum.total += w * hard * v
	}
	if teacherHard > 0 {
		best := argMax(teacher)
		var v float64
		if label < 0 && last > 0 {
			v = (crossEntropy(student[0], best, w*teacherHard/2, grad[0], s) +
				crossEntropy(student[last], best, w*teacherHard/2, grad[last], s)) / 2
		} else {
			v = crossEntropy(student[last], best, w*teacherHard, grad[last], s)
		}
		sum.teacherHard += v
		sum.total += w * teacherHard * v
	}
	if soft > 0 {
		tau := l.Tau
		if tau == 0 {
			tau = 1
		}
		var v float64
		part := w * soft / float64(len(student))
		for h := range student {
			if len(teacher) == len(student) {
				v += softKL(student[h], teacher[h:h+1], tau, part, grad[h], s)
			} else {
				v += softKL(student[h], teacher, tau, part, grad[h], s)
			}
		}
		v /= float64(len(student))
		sum.soft += v
		sum.total += w * soft * v
	}
}

// scratch is the float64 working memory of one goroutine.
type scratch struct{ p, q []float64 }

func (s *scratch) rows(n int) (p, q []float64) {
	if cap(s.p) < n {
		s.p, s.q = make([]float64, n), make([]float64, n)
	}
	return s.p[:n], s.q[:n]
}

// crossEntropy is -log softmax(z)[label]; w times its gradient
// (softmax(z) - onehot) is added to grad.
func crossEntropy[T real](z []T, label int, w float64, grad []T, s *scratch) float64 {
	p, _ := s.rows(len(z))
	lse := softmax(z, 1, p)
	if w != 0 {
		for i := range p {
			d := p[i]
			if i == label {
				d--
			}
			grad[i] += T(w * d)
		}
	}
	return lse - float64(z[label])
}

// targetEntropy is the cross-entropy with a target that smoothing spreads:
// (1 - smooth)·(share·onehot(a) + (1 - share)·onehot(b)) + smooth/classes.
func targetEntropy[T real](z []T, t target, smooth, w float64, grad []T, s *scratch) float64 {
	if smooth == 0 && (t.share == 1 || t.a == t.b) {
		return crossEntropy(z, t.a, w, grad, s)
	}
	p, q := s.rows(len(z))
	lse := softmax(z, 1, p)
	for i := range q {
		q[i] = smooth / float64(len(z))
	}
	q[t.a] += (1 - smooth) * t.share
	q[t.b] += (1 - smooth) * (1 - t.share)
	var v float64
	for i := range p {
		v += q[i] * (lse - float64(z[i]))
		if w != 0 {
			grad[i] += T(w * (p[i] - q[i]))
		}
	}
	return v
}

// softKL is tau²·KL(softmax(t/tau) ‖ softmax(z/tau)), where t is the mean of the
// teacher's rows; w times its gradient, tau·(softmax(z/tau) - softmax(t/tau)),
// is added to grad.
func softKL[T real](z []T, teacher [][]T, tau, w float64, grad []T, s *scratch) float64 {
	p, q := s.rows(len(z))
	lse := softmax(z, tau, p)
	top := math.Inf(-1)
	for i := range q {
		var t float64
		for _, row := range teacher {
			t += float64(row[i])
		}
		q[i] = t / float64(len(teacher)) / tau
		top = max(top, q[i])
	}
	var sum float64
	for _, t := range q {
		sum += math.Exp(t - top)
	}
	lst := top + math.Log(sum)
	var kl float64
	for i, t := range q {
		pt := math.Exp(t - lst)
		kl += pt * ((t - lst) - (float64(z[i])/tau - lse))
		if w != 0 {
			grad[i] += T(w * tau * (p[i] - pt))
		}
	}
	return tau * tau * kl
}

// softmax fills p with softmax(z/tau) and gives log-sum-exp of z/tau.
func softmax[T real](z []T, tau float64, p []float64) float64 {
	top := math.Inf(-1)
	for i, x := range z {
		p[i] = float64(x) / tau
		top = max(top, p[i])
	}
	var sum float64
	for i := range p {
		p[i] = math.Exp(p[i] - top)
		sum += p[i]
	}
	lse := top + math.Log(sum)
	for i := range p {
		p[i] /= sum
	}
	return lse
}

// argMax is the first class with the largest mean logit over the heads.
func argMax[T real](heads [][]T) int {
	best, top := 0, math.Inf(-1)
	for i := range heads[0] {
		var z float64
		for _, h := range heads {
			z += float64(h[i])
		}
		if z > top {
			best, top = i, z
		}
	}
	return best
}
