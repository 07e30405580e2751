//go:build unix

package onnxio

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const malformedDir = "../../shared/malformed"

type malformedCase struct{ file, verdict, wrong, names string }

func malformedCases(t testing.TB) []malformedCase {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(malformedDir, "index.tsv"))
	if err != nil {
		t.Skip("the malformed corpus is not here: ", err)
	}
	var out []malformedCase
	for i, line := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		if col := strings.Split(line, "\t"); i > 0 {
			out = append(out, malformedCase{col[0], col[2], col[3], col[5]})
		}
	}
	return out
}

// corpusCopy copies the corpus to a folder of its own and sets up the cases
// that need links and pipes.
func corpusCopy(t *testing.T) string {
	t.Helper()
	outer := t.TempDir()
	dir := filepath.Join(outer, "models")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(malformedDir)); err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(filepath.Join(outer, "outside.bin"), make([]byte, 128), 0o644))
	must(t, os.Symlink("../outside.bin", filepath.Join(dir, "link.bin")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo.bin"), 0o644))
	return dir
}

// Every file of the corpus gets its verdict, quickly, in one line that names
// what is at fault.
func TestMalformed(t *testing.T) {
	cases := malformedCases(t)
	dir := corpusCopy(t)
	before := runtime.NumGoroutine()
	for _, c := range cases {
		t.Run(c.file, func(t *testing.T) {
			start := time.Now()
			g, err := Load(filepath.Join(dir, c.file), Options{Warn: func(error) {}})
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("took %v", d)
			}
			if c.verdict == "refuse" && err == nil {
				err = CheckFinite(g)
			}
			switch c.verdict {
			case "reject", "refuse":
				if err == nil {
					t.Fatalf("accepted: %s", c.wrong)
				}
			case "accept":
				if err != nil {
					t.Fatal(err)
				}
			}
			if err == nil {
				return
			}
			checkMessage(t, err)
			for _, name := range strings.Split(c.names, ",") {
				if !strings.Contains(strings.ReplaceAll(err.Error(), dir, ""), name) {
					t.Errorf("%q is not named in: %v", name, err)
				}
			}
		})
	}
	for wait := time.Millisecond; runtime.NumGoroutine() > before; wait *= 2 {
		if wait > time.Second {
			t.Fatalf("%d goroutines were left", runtime.NumGoroutine()-before)
		}
		time.Sleep(wait)
	}
}
