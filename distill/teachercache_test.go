package distill

import (
	"context"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/dataset"
	"golang.org/x/sync/errgroup"
)

// still gives 24 images again and again, in another order each epoch.
type still struct{ pool *dataset.Batch }

func newStill(t *testing.T) still {
	b, err := tinyData{batch: 24, batches: 1}.Batch(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return still{b}
}

func (s still) Forms() int   { return 1 }
func (s still) Len() int     { return 24 }
func (s still) Batches() int { return 4 }

func (s still) Batch(epoch, i int) (*dataset.Batch, error) {
	b := &dataset.Batch{N: 6}
	for k := range b.N {
		place := ((6*i+k)*7 + 5*epoch) % 24
		b.X = append(b.X, s.pool.X[24*place:24*(place+1)]...)
		b.Labels, b.Index = append(b.Labels, s.pool.Labels[place]), append(b.Index, place)
	}
	return b, nil
}

// TestTeacherCache trains with the teacher's answers kept and computed, on one
// and two threads, within a memory limit and without: the same bytes.
func TestTeacherCache(t *testing.T) {
	var want string
	for _, c := range []struct {
		cache   int64
		threads int
		memory  int64
	}{{-1, 1, 0}, {0, 1, 0}, {0, 2, 0}, {0, 2, 1 << 20}, {100, 1, 0}} {
		j := tinyJob(t, Options{Epochs: 3, Threads: c.threads, TeacherCache: c.cache, MaxMemory: c.memory, Features: 2, DGD: DGD{Mode: DGDPaper, Lambda: 1}})
		j.Data = newStill(t)
		tr, err := newTrainer(&j)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.run(context.Background()); err != nil {
			t.Fatal(err)
		}
		kept := 0
		if tr.eng.cache != nil {
			kept = len(tr.eng.cache.kept)
		}
		if on := c.cache == 0; on != (kept == 24) {
			t.Errorf("%+v: the answers for %d of 24 images are kept", c, kept)
		}
		h := hash(j.Student)
		if want == "" {
			want = h
		}
		if h != want {
			t.Errorf("%+v gives other bytes", c)
		}
	}
}

// TestSharedTeacherCache trains two students on what one teacher said: the second
// one's teacher is broken and must not be asked.
func TestSharedTeacherCache(t *testing.T) {
	shared := NewTeacherCache()
	var want string
	for i, c := range []*TeacherCache{nil, shared, shared} {
		j := tinyJob(t, Options{Epochs: 1, Threads: 2, Features: 2, DGD: DGD{Mode: DGDPaper, Lambda: 1}})
		j.Data, j.TeacherCache = newStill(t), c
		if i == 2 {
			for _, p := range Params(j.Teacher) {
				clear(p.Value.Const.F32())
			}
		}
		if _, err := Train(context.Background(), j); err != nil {
			t.Fatal(err)
		}
		h := hash(j.Student)
		if want == "" {
			want = h
		}
		if h != want {
			t.Errorf("run %d gives other bytes", i)
		}
	}
}

// TestAbreast trains two students side by side on images that never come back. The
// second follows the first by a step; its teacher is broken and must not be asked.
func TestAbreast(t *testing.T) {
	job := func(threads int, c *TeacherCache) Job {
		j := tinyJob(t, Options{Epochs: 3, Threads: threads, Features: 2, DGD: DGD{Mode: DGDPaper, Lambda: 1}})
		j.TeacherCache = c
		return j
	}
	alone := job(2, nil)
	if _, err := Train(context.Background(), alone); err != nil {
		t.Fatal(err)
	}
	c := NewTeacherCache()
	c.Abreast = true
	first, second := job(1, c), job(2, c)
	for _, p := range Params(second.Teacher) {
		clear(p.Value.Const.F32())
	}
	done := make(chan int) // steps of the first
	first.Pace = func(step, _ int) {
		if step > 0 {
			done <- step
		}
	}
	second.Pace = func(step, steps int) {
		if d := <-done; d != step+1 || steps != 30 {
			t.Errorf("the first job has done %d steps before step %d of %d of the second", d, step, steps)
		}
	}
	var g errgroup.Group
	g.Go(func() error {
		defer close(done)
		r, err := Train(context.Background(), first)
		if err == nil {
			done <- r.Steps
		}
		return err
	})
	g.Go(func() error { _, err := Train(context.Background(), second); return err })
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := hash(alone.Student); hash(first.Student) != want || hash(second.Student) != want {
		t.Error("jobs side by side give other bytes than one alone")
	}
	if n := len(c.latest); n == 0 || n%stepsKept != 0 || len(c.kept) != 0 {
		t.Errorf("the answers for %d shards and %d images are kept, want those for the shards of %d steps", n, len(c.kept), stepsKept)
	}
}

// TestMemoryLimitTooLow wants an error that names need and limit.
func TestMemoryLimitTooLow(t *testing.T) {
	j := tinyJob(t, Options{MaxMemory: 1000})
	_, err := Train(context.Background(), j)
	if err == nil || !strings.Contains(err.Error(), "the limit is") {
		t.Errorf("got %v", err)
	}
}

// TestPanicsBecomeErrors plants faults in a worker and in the data.
func TestPanicsBecomeErrors(t *testing.T) {
	j := tinyJob(t, Options{Threads: 2})
	tr, err := newTrainer(&j)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range tr.eng.workers {
		w.grads = w.grads[:1]
	}
	if _, err = tr.run(context.Background()); err == nil || !strings.Contains(err.Error(), "step 0: internal error at runtime/") {
		t.Errorf("backward: %v", err)
	}
	j = tinyJob(t, Options{Threads: 2})
	j.Data = broken{j.Data}
	if _, err = Train(context.Background(), j); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("data: %v", err)
	}
	j = tinyJob(t, Options{Threads: 2})
	if tr, err = newTrainer(&j); err != nil {
		t.Fatal(err)
	}
	tr.opt.m = tr.opt.m[:1]
	tr.o.Threads = 2
	if _, err = tr.run(context.Background()); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("optimiser: %v", err)
	}
}

type broken struct{ Source }

func (broken) Batch(epoch, i int) (*dataset.Batch, error) { panic("no such batch") }
