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
