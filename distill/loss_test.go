package distill

import (
	"math"
	"math/rand/v2"
	"testing"
)

func randoms(r *rand.Rand, n int, scale float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = r.NormFloat64() * scale
	}
	return out
}

// checkGradient compares grad with central differences of f at x.
func checkGradient(t *testing.T, name string, x, grad []float64, f func() float64) {
	t.Helper()
	const h = 1e-5
	for i := range x {
		old := x[i]
		x[i] = old + h
		up := f()
		x[i] = old - h
		down := f()
		x[i] = old
		want := (up - down) / (2 * h)
		if math.Abs(want-grad[i]) > 1e-7+1e-5*math.Abs(want) {
			t.Fatalf("%s: gradient %d is %.10g, finite difference %.10g", name, i, grad[i], want)
		}
	}
}

func TestLogitLossGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	losses := []Loss{{Hard: 1}, {TeacherHard: 1}, {Soft: 1}, {Soft: 0.7, Tau: 3}, {Hard: 0.5, TeacherHard: 0.5}, {Hard: 0.5, Soft: 0.3, TeacherHard: 0.2, Tau: 2}}
	for _, l := range losses {
		for _, heads := range [][2]int{{1, 1}, {2, 2}, {2, 1}, {1, 2}} {
			for _, label := range []int{3, -1} {
				const classes = 7
				z, teacher := randoms(r, heads[0]*classes, 2), randoms(r, heads[1]*classes, 2)
				rows := func(d []float64) (out [][]float64) {
					for i := 0; i < len(d); i += classes {
						out = append(out, d[i:i+classes])
					}
					return out
				}
				grad := make([]float64, len(z))
				var s scratch
				var sum lossSums
				logitLoss(l, rows(z), rows(teacher), onlyClass(label), 0.25, rows(grad), &sum, &s)
				checkGradient(t, "logits", z, grad, func() float64 {
					var sum lossSums
					logitLoss(l, rows(z), rows(teacher), onlyClass(label), 0.25, rows(make([]float64, len(z))), &sum, &s)
					return sum.total
				})
				if label < 0 && (sum.hard != 0 || sum.labelled != 0) {
					t.Errorf("unlabelled image has a hard loss: %+v", sum)
				}
			}
		}
	}
}

// Labels that are mixed and smoothed have the loss of their mixture.
func TestSoftLabels(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const classes = 5
	mixed := target{a: 1, b: 4, share: 0.7}
	for _, l := range []Loss{{Hard: 1}, {Hard: 1, Smoothing: 0.1}, {Hard: 0.4, Soft: 0.6, Smoothing: 0.3}} {
		for _, tg := range []target{mixed, onlyClass(2)} {
			z, teacher := randoms(r, 2*classes, 2), randoms(r, classes, 2)
			rows := func(d []float64) [][]float64 { return [][]float64{d[:classes], d[classes:]} }
			grad := make([]float64, len(z))
			var s scratch
			var sum lossSums
			logitLoss(l, rows(z), [][]float64{teacher}, tg, 0.5, rows(grad), &sum, &s)
			checkGradient(t, "logits", z, grad, func() float64 {
				var sum lossSums
				logitLoss(l, rows(z), [][]float64{teacher}, tg, 0.5, rows(make([]float64, len(z))), &sum, &s)
				return sum.total
			})
			var want float64
			heads := [][]float64{z[:classes], z[classes:]}
			if l.Soft > 0 {
				heads = heads[:1] // a teacher trains the other
			}
			for _, h := range heads {
				for k := range classes {
					q := l.Smoothing / classes
					if k == tg.a {
						q += (1 - l.Smoothing) * tg.share
					}
					if k == tg.b {
						q += (1 - l.Smoothing) * (1 - tg.share)
					}
					want += q * crossEntropy(h, k, 0, nil, &s) / float64(len(heads))
				}
			}
			if math.Abs(sum.hard-want) > 1e-12 {
				t.Errorf("%+v %+v: loss %v, want %v", l, tg, sum.hard, want)
			}
		}
	}
	if err := (Loss{Hard: 1, Smoothing: 1}).check(); err == nil {
		t.Error("smoothing 1 is taken")
	}
}

func TestLossKnownValues(t *testing.T) {
	var s scratch
	grad := make([]float64, 2)
	if got := crossEntropy([]float64{0, 0}, 1, 1, grad, &s); math.Abs(got-math.Ln2) > 1e-15 || grad[0] != 0.5 || grad[1] != -0.5 {
		t.Errorf("CE of two equal logits: %v %v", got, grad)
	}
	clear(grad)
	// teacher (3/4, 1/4), student (1/2, 1/2): KL = 3/4 ln(3/2) + 1/4 ln(1/2)
	want := 0.75*math.Log(1.5) + 0.25*math.Log(0.5)
	if got := softKL([]float64{5, 5}, [][]float64{{math.Log(3), 0}}, 1, 1, grad, &s); math.Abs(got-want) > 1e-15 || math.Abs(grad[0]+0.25) > 1e-15 {
		t.Errorf("KL: %v, want %v; %v", got, want, grad)
	}
	if got := softKL([]float64{1e4, -1e4, 3}, [][]float64{{1e4, -1e4, 3}}, 2, 0, nil, &s); math.Abs(got) > 1e-12 {
		t.Errorf("KL of equal logits: %v", got)
	}
	if got := argMax([][]float64{{1, 3, 3}, {2, 0, 0}}); got != 0 {
		t.Errorf("first of equal means: class %d", got)
	}
}

func TestUnlabelledTakesOverWeight(t *testing.T) {
	h, th, so := Loss{Hard: 0.5, TeacherHard: 0.2, Soft: 0.3}.weights(false)
	if h != 0 || math.Abs(th-0.4) > 1e-15 || math.Abs(so-0.6) > 1e-15 {
		t.Errorf("weights %v %v %v", h, th, so)
	}
}
