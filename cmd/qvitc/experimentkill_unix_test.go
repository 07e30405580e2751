//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const longMatrix = `title: long
model: tiny.onnx
data: data
bits: [w4a4, w2a2]
seeds: [0]
flags: {epochs: "50", batch: "16", checkpoint-every: "20"}
variants:
  - {name: qvit}
  - {name: LSQ, flags: {mode: lsq}}
`

// TestExperimentGoesOn interrupts and kills an experiment at random moments, its
// runs side by side: the next call takes them up where they were, and their
// accuracies, curves and plots are those of the undisturbed experiment.
func TestExperimentGoesOn(t *testing.T) {
	in := func(dir string) string {
		fixtureIn(t, dir)
		if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(longMatrix), 0o666); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	args := []string{"experiment", "m.yaml", "--jobs", "3"}
	whole := in(t.TempDir())
	start := time.Now()
	output(t, command(whole, args...), "m.jsonl")
	took := time.Since(start)
	want := finishedCells(t, whole)
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for try := range tries(t, 2) {
		dir := in(filepath.Join(t.TempDir(), "again"))
		for n, sig := range []os.Signal{os.Interrupt, syscall.SIGKILL} {
			c := command(dir, args...)
			var stderr bytes.Buffer
			c.Stderr = &stderr
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(took/8 + time.Duration(r.Int64N(int64(took)/3)))
			c.Process.Signal(sig)
			if c.Wait() == nil {
				continue // it was done before the signal
			}
			if n == 0 && !strings.Contains(stderr.String(), "interrupted; finished runs are in m.jsonl, checkpoints of the others beside it") {
				t.Errorf("try %d: %s", try, stderr.String())
			}
		}
		output(t, command(dir, args...), "m.jsonl")
		got := finishedCells(t, dir)
		resumed := 0
		for key, c := range want {
			g := got[key]
			if g.Result == nil {
				t.Fatalf("try %d: %s is missing", try, key)
			}
			resumed += min(g.Result.Resumed, 1)
			if a, b := must(json.Marshal(c.Curve)), must(json.Marshal(g.Curve)); g.Result.Top1Student != c.Result.Top1Student || !bytes.Equal(a, b) {
				t.Errorf("try %d: %s: %v with the curve %s, want %v with %s", try, key, g.Result.Top1Student, b, c.Result.Top1Student, a)
			}
		}
		t.Logf("try %d: %d of %d runs were taken up from a checkpoint", try, resumed, len(want))
		for _, plot := range []string{"m.svg", "m.curve.svg"} {
			if !bytes.Equal(must(os.ReadFile(filepath.Join(dir, plot))), must(os.ReadFile(filepath.Join(whole, plot)))) {
				t.Errorf("try %d: another %s", try, plot)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "m.run-*")); len(left) > 0 {
			t.Errorf("try %d: left are %v", try, left)
		}
		os.RemoveAll(dir)
	}
}

func finishedCells(t *testing.T, dir string) map[string]cell {
	t.Helper()
	cells, err := readCells(filepath.Join(dir, "m.jsonl"))
	if err != nil || len(cells) != 4 {
		t.Fatalf("%d cells: %v", len(cells), err)
	}
	return cells
}

// A checkpoint that does not fit is not passed over in silence.
func TestExperimentStaleCheckpoint(t *testing.T) {
	dir := fixtureIn(t, t.TempDir())
	if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(longMatrix), 0o666); err != nil {
		t.Fatal(err)
	}
	e, err := readExperiment(filepath.Join(dir, "m.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	stale := (&matrixRun{out: "m.jsonl"}).checkpoint(&e.matrix(nil)[0]) + ".step-00000020"
	if err := os.WriteFile(filepath.Join(dir, stale), []byte("of another build"), 0o666); err != nil {
		t.Fatal(err)
	}
	b, err := command(dir, "experiment", "m.yaml").CombinedOutput()
	if err == nil || !strings.Contains(string(b), `cannot resume from "`+stale+`"`) || !strings.Contains(string(b), "hint: remove that file to begin the run again") {
		t.Errorf("%v: %s", err, b)
	}
}
