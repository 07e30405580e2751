package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/qvitc/qvitc/distill"
	"github.com/qvitc/qvitc/internal/guard"
	"golang.org/x/sync/errgroup"
)

// matrixRun runs the cells of an experiment.
type matrixRun struct {
	app      *app
	measure  *measureOptions
	tmp, out string // folder of the models, name of the results
	progress *progress

	mu       sync.Mutex // of what follows
	results  *os.File
	finished int
	ran      float64        // runs and parts of runs since started, of those that have ended
	started  time.Time      // of the first step, where there is one
	parts    map[*cell]span // of the training, for cells that run
}

// span is from where to where a training has gone, as parts of the whole.
type span struct{ from, to float64 }

// waves divides the cells that are not finished into groups that run side by side: at
// most so many, with the same seed.
func waves(cells []cell, jobs int) (out [][]*cell) {
	for i := range cells {
		c := &cells[i]
		if c.Result != nil {
			continue
		}
		if n := len(out); n > 0 && len(out[n-1]) < jobs && out[n-1][0].Seed == c.Seed {
			out[n-1] = append(out[n-1], c)
		} else {
			out = append(out, []*cell{c})
		}
	}
	return out
}

// wave runs cells side by side and adds each to the results as it ends. The first
// that fails stops the others.
func (r *matrixRun) wave(ctx context.Context, cells []*cell) error {
	atOnce := min(len(cells), r.app.threads)
	jobs := newConvoy(len(cells), atOnce).jobs
	g, ctx := errgroup.WithContext(ctx)
	for i, c := range cells {
		g.Go(func() error {
			jobs[i].begin()
			defer jobs[i].leave()
			err := guard.Call(func() error {
				return r.cell(ctx, c, jobs[i], r.app.threads/atOnce, filepath.Join(r.tmp, fmt.Sprintf("cell%d.onnx", i)))
			})
			if err != nil {
				return cellFailure(err, c.args, r.out)
			}
			return r.add(c)
		})
	}
	return g.Wait()
}

// checkpoint is the base name of a cell's checkpoints: beside the results, until the
// cell stands there.
func (r *matrixRun) checkpoint(c *cell) string {
	return fmt.Sprintf("%s.run-%.4x", strings.TrimSuffix(r.out, filepath.Ext(r.out)), sha256.Sum256([]byte(c.Key)))
}

// add writes a cell that has ended to the results.
func (r *matrixRun) add(c *cell) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if _, err := r.results.Write(append(b, '\n')); err != nil {
		return fail(exitIO, err)
	}
	if err := distill.RemoveCheckpoints(r.checkpoint(c)); err != nil {
		return fail(exitIO, err)
	}
	r.ran += 1 - r.parts[c].from
	delete(r.parts, c)
	r.finished++
	r.show(fmt.Sprintf("%s %s seed %d: %.2f %%", c.Variant, c.Bits, c.Seed, 100*c.Result.Top1Student))
	return nil
}

// step notes how far the training of a cell is.
func (r *matrixRun) step(c *cell, step, steps int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ran == 0 && len(r.parts) == 0 {
		r.started = time.Now() // what came before, such as reading the images, says nothing of the pace
	}
	part, begun := r.parts[c]
	part.to = float64(step) / float64(steps)
	if !begun {
		part.from = part.to
	}
	r.parts[c] = part
	r.show(fmt.Sprintf("%s %s seed %d: step %d of %d", c.Variant, c.Bits, c.Seed, step, steps))
}

// show shows the progress, with the time that the rest takes at the pace so far.
func (r *matrixRun) show(note string) {
	running, ran := 0.0, r.ran
	for _, part := range r.parts {
		running += part.to
		ran += part.to - part.from
	}
	if ran == 0 {
		return // no pace yet
	}
	left := float64(r.progress.total-r.finished) - running
	eta := time.Duration(float64(time.Since(r.started)) * left / ran)
	r.progress.show(r.finished, running, eta, note)
}

// cell runs one compression in this process, reads its JSON and measures.
func (r *matrixRun) cell(ctx context.Context, c *cell, turn *paced, threads int, output string) error {
	var buf bytes.Buffer
	pace := func(step, steps int) {
		turn.pace(step)
		r.step(c, step, steps)
	}
	sub := &app{args: c.args, out: &buf, teachers: r.app.teachers, err: io.Discard, pace: pace, finished: func(ctx context.Context, j *job) (err error) {
		c.Curve = curveOf(j.trained)
		if r.measure != nil {
			c.Inside, err = r.measure.measure(ctx, j)
		}
		return err
	}}
	root := sub.root()
	root.SetArgs(append(slices.Clone(c.args), "-o", output, "--checkpoint="+r.checkpoint(c), "--resume", "--json", "--quiet", fmt.Sprintf("--threads=%d", threads)))
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	if err := root.ExecuteContext(ctx); err != nil {
		return fail(exitUsage, err)
	}
	var o outcome
	if err := json.Unmarshal(buf.Bytes(), &o); err != nil {
		return fail(exitInternal, err)
	}
	o.Output = "" // no model is kept
	o.Seconds -= turn.waited.Seconds()
	c.Result = &o
	return nil
}
