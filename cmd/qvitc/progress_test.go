package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// Without a terminal there is a line for every tenth of the way, what has only
// begun counted in, and one after a long silence.
func TestProgressLines(t *testing.T) {
	var w bytes.Buffer
	p := (&app{err: &w}).longProgress("runs", 4)
	for _, at := range []struct {
		done  int
		begun float64
		note  string
	}{{0, 0.2, "a"}, {0, 0.4, "b"}, {0, 0.6, "c"}, {0, 0.7, "d"}, {1, 0, "e"}, {1, 0.1, "f"}, {1, 0.3, "g"}, {4, 0, "h"}} {
		if at.note == "f" {
			p.line = p.line.Add(-longSilence)
		}
		p.show(at.done, at.begun, time.Minute, at.note)
	}
	want := []string{"runs  10%  0/4  ETA 1m0s  b", "runs  25%  1/4  ETA 1m0s  e", "runs  27%  1/4  ETA 1m0s  f", "runs  32%  1/4  ETA 1m0s  g", "runs 100%  4/4  h"}
	if got := strings.TrimSpace(w.String()); got != strings.Join(want, "\n") {
		t.Errorf("lines:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

// The time that is left is told by what was trained since the start, not by what a
// checkpoint had.
func TestExperimentETA(t *testing.T) {
	var w bytes.Buffer
	a := &app{err: &w}
	r := &matrixRun{progress: a.longProgress("experiment", 2), parts: map[*cell]span{}}
	c := &cell{Variant: "x", Bits: "w2a2"}
	r.step(c, 50, 100)
	r.started = r.started.Add(-time.Minute)
	r.step(c, 75, 100) // a quarter of a run in a minute, five quarters are left
	if got := strings.TrimSpace(w.String()); got != "experiment  37%  0/2  ETA 5m0s  x w2a2 seed 0: step 75 of 100" {
		t.Error(got)
	}
}
