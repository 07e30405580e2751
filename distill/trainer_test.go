package distill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/ir"
)

func TestTrainLowersTheLoss(t *testing.T) {
	soft := &Loss{Soft: 1}
	for _, o := range []Options{
		{Epochs: 20, LR: 5e-3, Loss: soft},
		{Epochs: 20, LR: 5e-3, Loss: soft, DGD: DGD{Mode: DGDPaper, Lambda: 0.5, TeacherNorm: true}},
		{Epochs: 20, LR: 5e-3, Loss: soft, Optimiser: AdamW, WeightDecay: 1e-4, WarmUp: 0.1, GradScale: true, Damping: 1e-3, EMA: 0.9, Outlier: 8},
		{Epochs: 20, LR: 5e-3, Loss: soft, Optimiser: LAMB},
	} {
		j := tinyJob(t, o)
		var first, last Parts
		j.Progress = func(s Step) {
			if s.Step == 10 {
				first = s.Recent
			}
			last = s.Recent
		}
		r, err := Train(context.Background(), j)
		if err != nil {
			t.Fatal(err)
		}
		if r.Steps != 200 || r.Updates+r.Skipped != 200 || r.ImagesPerSec <= 0 {
			t.Errorf("%+v", r)
		}
		if !(last.Soft < 0.75*first.Soft) {
			t.Errorf("%+v: soft loss from %.4f to %.4f", o, first.Soft, last.Soft)
		}
		if o.DGD.on() && !(last.DGD < first.DGD) {
			t.Errorf("DGD from %.4f to %.4f", first.DGD, last.DGD)
		}
	}
}

// TestEngineGradient compares the engine's gradient of a float student with
// central differences of its loss, DGD included.
func TestEngineGradient(t *testing.T) {
	te := tinyTeacher(t)
	s := tinyTeacher(t)
	for _, p := range Params(s) {
		for i := range p.Data {
			p.Data[i] *= 1.2 + 0.1*float32(i%3)
		}
	}
	j := Job{Student: s, Teacher: te, Data: tinyData{batch: 5, batches: 1}, Taps: []TapPair{{s.Value("q"), s.Value("k"), te.Value("q"), te.Value("k")}}}
	j.Options = Options{Loss: &Loss{Hard: 0.3, TeacherHard: 0.3, Soft: 0.4, Tau: 2}, DGD: DGD{Mode: DGDPaper, Lambda: 2}, Threads: 2}
	tr, err := newTrainer(&j)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := j.Data.Batch(0, 0)
	loss := func() float64 {
		p, err := tr.eng.run(b)
		if err != nil {
			t.Fatal(err)
		}
		return p.Total
	}
	loss()
	grads := zeros(tr.params)
	for i := range grads {
		copy(grads[i], tr.eng.total[i])
	}
	for i, p := range tr.params {
		for k := range p.Data {
			const h = 1e-2
			old := p.Data[k]
			p.Data[k] = old + h
			up := loss()
			p.Data[k] = old - h
			down := loss()
			p.Data[k] = old
			if want := (up - down) / (2 * h); math.Abs(want-float64(grads[i][k])) > 2e-3*(1+math.Abs(want)) {
				t.Errorf("%s[%d]: gradient %v, finite difference %v", p.Name, k, grads[i][k], want)
			}
		}
	}
}

func train(t *testing.T, j Job) *Result {
	t.Helper()
	r, err := Train(context.Background(), j)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSameBytesForAnyThreads trains with 1, 2, 3 and 8 goroutines and
// GOMAXPROCS 1, 2, 8.
func TestSameBytesForAnyThreads(t *testing.T) {
	o := Options{Epochs: 1.5, LR: 5e-3, DGD: DGD{Mode: DGDRowwise, Lambda: 1}, Shards: 5}
	want := ""
	for _, procs := range []int{1, 2, 8} {
		old := runtime.GOMAXPROCS(procs)
		for _, threads := range []int{0, 1, 3} {
			o.Threads = threads
			j := tinyJob(t, o)
			r := train(t, j)
			got := hash(j.Student) + fmt.Sprint(r.Loss)
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("GOMAXPROCS %d, %d threads: other bytes", procs, threads)
			}
		}
		runtime.GOMAXPROCS(old)
	}
}

// TestResumeAtEveryStep interrupts a run of 30 steps after each of its steps and
// resumes it with another number of threads.
func TestResumeAtEveryStep(t *testing.T) {
	o := Options{Epochs: 3, LR: 5e-3, DGD: DGD{Mode: DGDPaper, Lambda: 1}, EMA: 0.9, Outlier: 3, Damping: 1e-3, CheckpointEvery: 4}
	whole := tinyJob(t, o)
	wantResult := train(t, whole)
	want := hash(whole.Student)
	for stop := 1; stop < 30; stop++ {
		o.Checkpoint = filepath.Join(t.TempDir(), "run.ckpt")
		o.Threads = 1 + stop%3
		j := tinyJob(t, o)
		ctx, cancel := context.WithCancel(context.Background())
		j.Progress = func(s Step) {
			if s.Step == stop {
				cancel()
			}
		}
		r, err := Train(ctx, j)
		if !errors.Is(err, ErrInterrupted) || r.Steps != stop || !strings.HasSuffix(r.Checkpoint, fmt.Sprintf("%08d", stop)) {
			t.Fatalf("stop after %d: %v, %+v", stop, err, r)
		}
		o.Resume, o.Threads = true, 2
		j = tinyJob(t, o)
		if r = train(t, j); r.From != stop || r.Steps != 30 {
			t.Fatalf("resumed from %d, want %d", r.From, stop)
		}
		if got := hash(j.Student); got != want || r.Loss != wantResult.Loss || r.Updates != wantResult.Updates {
			t.Fatalf("resumed at step %d: other bytes, loss %v and %v", stop, r.Loss, wantResult.Loss)
		}
		again := tinyJob(t, o) // the run is finished: nothing left to do
		if r = train(t, again); r.From != 30 || hash(again.Student) != want {
			t.Fatalf("resume of a finished run: from %d", r.From)
		}
	}
}

func TestResumeRefusesAnotherRun(t *testing.T) {
	o := Options{Epochs: 0.5, Checkpoint: filepath.Join(t.TempDir(), "run.ckpt"), CheckpointEvery: 2}
	train(t, tinyJob(t, o))
	found, _ := Checkpoints(o.Checkpoint)
	if len(found) != 2 {
		t.Fatalf("checkpoints: %v", found)
	}
	o.Resume = true
	other := o
	other.LR = 2e-3
	_, err := Train(context.Background(), tinyJob(t, other))
	if err == nil || !strings.Contains(err.Error(), "other options") {
		t.Errorf("other learning rate: %v", err)
	}
	j := tinyJob(t, o)
	j.Student.Value("logits").Def.Attrs["alpha"] = float32(0.5)
	if _, err = Train(context.Background(), j); err == nil || !strings.Contains(err.Error(), "another model") {
		t.Errorf("other model: %v", err)
	}
	b, _ := os.ReadFile(found[0])
	b[len(b)-50] ^= 1
	os.WriteFile(found[0], b, 0o600)
	j = tinyJob(t, o)
	var said []string
	j.Notify = func(s string) { said = append(said, s) }
	if r := train(t, j); r.From != 4 || len(said) != 1 || !strings.Contains(said[0], filepath.Base(found[0])) {
		t.Errorf("damaged newest: from %d, said %q", r.From, said)
	}
	found, _ = Checkpoints(o.Checkpoint)
	for _, file := range found { // as a version with another format has left them
		b, _ := os.ReadFile(file)
		os.WriteFile(file, bytes.Replace(b, []byte(`"version":1`), []byte(`"version":7`), 1), 0o600)
	}
	j = tinyJob(t, o)
	said = nil
	j.Notify = func(s string) { said = append(said, s) }
	_, err = Train(context.Background(), j)
	var e *ir.Error
	if want := fmt.Sprintf("cannot resume from %q: it has format version 7, this version of qvitc reads 1", found[0]); len(said) > 0 || !errors.As(err, &e) || err.Error() != want || !strings.Contains(e.Hint, "start again without --resume") {
		t.Errorf("another format: %v, said %q", err, said)
	}
	o.Checkpoint = filepath.Join(t.TempDir(), "new.ckpt")
	j = tinyJob(t, o)
	said = nil
	j.Notify = func(s string) { said = append(said, s) }
	if r := train(t, j); r.From != 0 || len(said) != 1 {
		t.Errorf("no checkpoint: %+v %q", r, said)
	}
}

// sourceFunc changes a batch of tinyData.
type sourceFunc struct {
	tinyData
	change func(i int, b *dataset.Batch) error
}

func (s sourceFunc) Batch(epoch, i int) (*dataset.Batch, error) {
	b, _ := s.tinyData.Batch(epoch, i)
	return b, s.change(i, b)
}

func TestFaults(t *testing.T) {
	nan := float32(math.NaN())
	base := Options{Epochs: 1, CheckpointEvery: 1}
	for _, c := range []struct {
		name  string
		set   func(*Job)
		step  int
		words []string
	}{
		{"NaN in a weight", func(j *Job) { j.Student.Value("wk").Const.F32()[7] = nan }, 0, []string{"element 7", `"wk"`, "NaN"}},
		{"uncalibrated scale", func(j *Job) { j.Student.Value("sk").Const.F32()[1] = 0 }, 0, []string{`"sk"`, "calibrate", "kq"}},
		{"NaN in a teacher weight", func(j *Job) { j.Teacher.Value("wv").Const.F32()[0] = nan }, 0, []string{"teacher", "element 0", `"wv"`, "NaN"}},
		{"NaN in an image", func(j *Job) {
			j.Data = sourceFunc{j.Data.(tinyData), func(i int, b *dataset.Batch) error {
				if i == 3 {
					b.X[24*5+2] = nan
				}
				return nil
			}}
		}, 3, []string{"step 3", "image 5", "NaN"}},
		{"huge image", func(j *Job) {
			j.Data = sourceFunc{j.Data.(tinyData), func(i int, b *dataset.Batch) error {
				if i == 4 {
					b.X[0] = 3e38
				}
				return nil
			}}
		}, 4, []string{"step 4", "teacher", "tensor"}}, // the student's quantisers clip it
		{"infinity that only a quantiser reads", func(j *Job) {
			gain := j.Student.Value("gq").Const.F32()
			j.Progress = func(s Step) {
				if s.Step == 3 {
					gain[1] = 3.4e38
				}
			}
		}, 3, []string{"step 3", `"qn"`, "LayerNormalization", "Inf"}},
		{"learning rate 1e6", func(j *Job) { j.Options.LR, j.Options.MinLR, j.Options.Epochs = 1e30, 1e30, 5 }, -1, []string{"step ", "learning rate"}},
		{"label out of range", func(j *Job) { j.Data = tinyData{batch: 4, batches: 2, labels: func(int) int32 { return 3 }} }, 0, []string{"label 3", "0 to 2"}},
		{"data error", func(j *Job) {
			j.Data = sourceFunc{j.Data.(tinyData), func(i int, b *dataset.Batch) error {
				if i == 2 {
					return errors.New("disk gone")
				}
				return nil
			}}
		}, 2, []string{"step 2", "disk gone"}},
		{"no teacher", func(j *Job) { j.Teacher = nil }, 0, []string{"teacher"}},
		{"no taps", func(j *Job) { j.Options.DGD, j.Taps = DGD{Mode: DGDPaper, Lambda: 1}, nil }, 0, []string{"DGD", "attention"}},
		{"taps that do not fit", func(j *Job) {
			j.Options.DGD, j.Taps[0].TeacherK = DGD{Mode: DGDPaper, Lambda: 1}, j.Teacher.Value("kt")
		}, 0, []string{"DGD", `"kn"`, `"kt"`}},
		{"no batch", func(j *Job) { j.Data = tinyData{batch: 4} }, 0, []string{"no batch"}},
		{"image of another size", func(j *Job) {
			j.Data = sourceFunc{j.Data.(tinyData), func(i int, b *dataset.Batch) error { b.X = b.X[:len(b.X)/2]; return nil }}
		}, 0, []string{`"x"`, "156 numbers"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := base
			dir := t.TempDir()
			o.Checkpoint = filepath.Join(dir, "c")
			j := tinyJob(t, o)
			c.set(&j)
			_, err := Train(context.Background(), j)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("message %q does not name %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("message of several lines: %q", err)
			}
			files, _ := Checkpoints(o.Checkpoint)
			if c.step > 1 && len(files) == 0 {
				t.Error("the checkpoint before is gone")
			}
			for _, f := range files {
				ck, err := readFile(f)
				if err != nil {
					t.Error(err)
					continue
				}
				for _, p := range ck.tensors[0] {
					for _, x := range p {
						if !finite(float64(x)) {
							t.Fatalf("%s holds %v", f, x)
						}
					}
				}
			}
		})
	}
}

func TestOutlierIsSkipped(t *testing.T) {
	j := tinyJob(t, Options{Epochs: 1, Outlier: 6, Loss: &Loss{Hard: 1}})
	j.Teacher = nil
	j.Data = sourceFunc{tinyData{batch: 16, batches: 60, labels: func(i int) int32 { return int32(i % 3) }}, func(i int, b *dataset.Batch) error {
		if i == 50 {
			for k := range b.X {
				b.X[k] *= 1e4
			}
		}
		return nil
	}}
	j.Student = tinyTeacher(t) // no quantiser clips the outlier
	var said []string
	j.Notify = func(s string) { said = append(said, s) }
	r := train(t, j)
	if r.Skipped != 1 || r.Updates+r.Skipped != 60 || len(said) != r.Skipped {
		t.Errorf("%+v, said %q", r, said)
	}
	if !outlier(make([]float64, 40), 1, 6) || outlier(make([]float64, 10), 1, 6) || outlier([]float64{}, 1, 0) {
		t.Error("the z-score rule")
	}
}

// TestUnlabelled trains on images without labels: distillation alone.
func TestUnlabelled(t *testing.T) {
	j := tinyJob(t, Options{Epochs: 1})
	j.Data = tinyData{batch: 8, batches: 5, labels: func(int) int32 { return -1 }}
	if r := train(t, j); r.Loss.Hard != 0 || r.Loss.Soft == 0 {
		t.Errorf("%+v", r.Loss)
	}
	j = tinyJob(t, Options{Epochs: 1, Loss: &Loss{Hard: 1}})
	j.Data = tinyData{batch: 8, batches: 5, labels: func(int) int32 { return -1 }}
	if _, err := Train(context.Background(), j); err == nil || !strings.Contains(err.Error(), "label") {
		t.Errorf("nothing to train on: %v", err)
	}
}

func TestEvaluateAndAgreement(t *testing.T) {
	te, s := tinyTeacher(t), tinyStudent(t)
	data := tinyData{batch: 37, batches: 3}
	a, err := Evaluate(context.Background(), te, data, EvalOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Evaluate(context.Background(), te, data, EvalOptions{Threads: 3})
	if err != nil {
		t.Fatal(err)
	}
	if p, d, err := Agreement(a, b); p != 1 || d != 0 || err != nil {
		t.Errorf("the same graph agrees with itself on %v, difference %v, %v", p, d, err)
	}
	q, err := Evaluate(context.Background(), s, data, EvalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, d, _ := Agreement(a, q)
	if a.Images != 111 || a.Classes != 3 || a.Top5 != 1 || !(p > 0.3 && p < 1) || d == 0 {
		t.Errorf("%d images, %d classes, top-5 %v, agreement %v, difference %v", a.Images, a.Classes, a.Top5, p, d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Evaluate(ctx, te, data, EvalOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if r := rank([]float32{1, 3, 3, 2}, 2); r != 1 {
		t.Errorf("rank %d", r)
	}
}
