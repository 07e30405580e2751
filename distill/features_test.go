package distill

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestFeatureLoss holds the loss to its definition and the gradient to differences.
func TestFeatureLoss(t *testing.T) {
	if l := featureLoss([]float64{3, 4, 1}, []float64{1, 2, 2}, 0, nil); l != 1 {
		t.Errorf("loss %v, want (4+4+1)/(1+4+4)", l)
	}
	if l := featureLoss([]float64{1, 2}, []float64{0, 0}, 1, []float64{0, 0}); l != 0 {
		t.Errorf("loss %v beside a teacher of zeros", l)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for n := 1; n < 21; n++ {
		x, y, g := randoms(r, n, 1), randoms(r, n, 2), make([]float64, n)
		featureLoss(x, y, 0.7, g)
		checkGradient(t, "features", x, g, func() float64 { return 0.7 * featureLoss(x, y, 0, nil) })
		g32 := make([]float32, n)
		featureLoss(f32(x), f32(y), 0.7, g32)
		for i, v := range g32 {
			if d := math.Abs(float64(v) - g[i]); d > 1e-5*(1+math.Abs(g[i])) {
				t.Errorf("float32 gradient %v, float64 %v", v, g[i])
			}
		}
	}
}

// TestFeatures trains with nothing but the distance of the features: it falls, the same
// way on any number of threads, and is the mean that an evaluation by hand gives.
func TestFeatures(t *testing.T) {
	var want string
	for _, threads := range []int{1, 2, 8} {
		j := tinyJob(t, Options{Epochs: 6, LR: 1e-2, Threads: threads, Features: 100, Loss: &Loss{Soft: 1e-6}})
		var first, last Parts
		j.Progress = func(s Step) {
			if s.Step == 1 {
				first = s.Loss
			}
			last = s.Recent
		}
		if _, err := Train(context.Background(), j); err != nil {
			t.Fatal(err)
		}
		if !(first.Features > 0.02 && last.Features < 0.9*first.Features) {
			t.Errorf("the distance goes from %v to %v", first.Features, last.Features)
		}
		if d := first.Total - 100*first.Features; math.Abs(d) > 1e-4*first.Total {
			t.Errorf("total %v beside a distance of %v", first.Total, first.Features)
		}
		h := hash(j.Student)
		if want == "" {
			want = h
		}
		if h != want {
			t.Errorf("%d threads give other bytes", threads)
		}
	}
}

func TestFeatureRefusals(t *testing.T) {
	for _, c := range []struct {
		change func(*Job)
		want   string
	}{
		{func(j *Job) { j.Features = nil }, "nothing to compare"},
		{func(j *Job) { j.Features[0].Teacher = nil }, "feature 0"},
		{func(j *Job) { j.Features[0].Teacher = j.Teacher.Value("q") }, `"o2"`},
		{func(j *Job) { j.Teacher = nil }, "needs a teacher"},
		{func(j *Job) { j.Options.Features = math.Inf(1) }, "weight of the features"},
	} {
		j := tinyJob(t, Options{Features: 1})
		c.change(&j)
		if _, err := Train(context.Background(), j); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one about %s", err, c.want)
		}
	}
}
