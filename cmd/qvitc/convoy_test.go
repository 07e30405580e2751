package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestConvoy lets jobs of different lengths, which dawdle at different steps, take
// turns: never more at once than there are places, never more than a step apart.
func TestConvoy(t *testing.T) {
	for _, c := range []struct{ jobs, atOnce int }{{1, 1}, {5, 1}, {5, 2}, {9, 4}, {3, 3}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			turns := newConvoy(c.jobs, c.atOnce)
			var mu sync.Mutex
			steps := map[int]int{}
			busy, most := 0, 0
			begin := func(i, step int) {
				mu.Lock()
				defer mu.Unlock()
				steps[i] = step
				busy++
				most = max(most, busy)
				for k, s := range steps {
					if step > s+1 {
						t.Errorf("job %d is at step %d, job %d at %d", i, step, k, s)
					}
				}
			}
			end := func(i, next int) {
				mu.Lock()
				defer mu.Unlock()
				busy--
				steps[i] = next
			}
			for i := range c.jobs {
				steps[i] = beforeTraining
			}
			var wg sync.WaitGroup
			for i, p := range turns.jobs {
				wg.Go(func() {
					defer p.leave()
					p.begin()
					begin(i, beforeTraining)
					for s := range 20 + 7*i {
						end(i, s)
						p.pace(s)
						begin(i, s)
						if s%(i+2) == 0 {
							time.Sleep(100 * time.Microsecond)
						}
					}
					end(i, 1<<30)
				})
			}
			wg.Wait()
			if most > c.atOnce || len(turns.jobs) != 0 || turns.free != c.atOnce {
				t.Errorf("%d jobs had their turn at once, want %d; left: %d jobs, %d turns", most, c.atOnce, len(turns.jobs), turns.free)
			}
		})
	}
}

// TestWaves passes over finished cells and keeps seeds apart.
func TestWaves(t *testing.T) {
	cells := make([]cell, 9)
	for i := range cells {
		cells[i].Key, cells[i].Seed = fmt.Sprint(i), uint64(i/5)
	}
	cells[1].Result, cells[8].Result = &outcome{}, &outcome{}
	for jobs, want := range map[int]string{1: "0 2 3 4 5 6 7", 2: "0,2 3,4 5,6 7", 3: "0,2,3 4 5,6,7", 9: "0,2,3,4 5,6,7"} {
		var have []string
		for _, w := range waves(cells, jobs) {
			var keys []string
			for _, c := range w {
				keys = append(keys, c.Key)
			}
			have = append(have, strings.Join(keys, ","))
		}
		if got := strings.Join(have, " "); got != want {
			t.Errorf("%d jobs: waves %s, want %s", jobs, got, want)
		}
	}
}

// TestJobsShareTheTeacher: the runs of a wave have one cache of the teacher's
// answers, made for runs side by side.
func TestJobsShareTheTeacher(t *testing.T) {
	dir := fixtureIn(t, t.TempDir())
	file := filepath.Join(dir, "two.yaml")
	text := fmt.Sprintf("model: %s/tiny.onnx\ndata: %s/data\nbits: [w4a4]\nseeds: [0]\nflags: {epochs: '1', batch: '32', augment: light}\nvariants: [{name: a}, {name: b, flags: {mode: lsq+}}]\n", dir, dir)
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	for jobs, abreast := range map[int]bool{1: false, 2: true} {
		a := &app{out: io.Discard, err: io.Discard, threads: 2}
		if err := a.experiment(context.Background(), file, fmt.Sprintf("%s/%d.jsonl", dir, jobs), false, jobs); err != nil {
			t.Fatal(err)
		}
		if n := len(a.teachers.answers); n != 1 {
			t.Errorf("--jobs %d: %d caches of the teacher's answers, want 1", jobs, n)
		}
		for name, c := range a.teachers.answers {
			if c.Abreast != abreast {
				t.Errorf("--jobs %d: the cache of %s is made for runs side by side: %v", jobs, name, c.Abreast)
			}
		}
	}
}
