package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// peakOf runs qvitc and gives its exit code, its peak resident memory in bytes
// and its time.
func peakOf(t *testing.T, args ...string) (code int, peak int64, took time.Duration) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "status")
	c := command(".", args...)
	c.Env = append(c.Env, "QVITC_PEAK="+file)
	start := time.Now()
	_, err := c.CombinedOutput()
	took = time.Since(start)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	status, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Skip("this system does not tell peak memory")
	}
	kib, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return c.ProcessState.ExitCode(), kib << 10, took
}

// TestMalformedMemory checks every broken model in a process of its own: none
// takes 256 MiB.
func TestMalformedMemory(t *testing.T) {
	files, _ := filepath.Glob(malformedDir + "/*.onnx")
	if len(files) == 0 {
		t.Skip("the corpus of broken models is not here")
	}
	worst, name := int64(0), ""
	for _, f := range files {
		code, peak, _ := peakOf(t, "check", f)
		if code != exitOK && code != exitModel {
			t.Errorf("%s: code %d", f, code)
		}
		if peak > 256<<20 {
			t.Errorf("%s takes %d MiB", f, peak>>20)
		}
		if peak > worst {
			worst, name = peak, filepath.Base(f)
		}
	}
	t.Logf("the most, %d MiB, for %s", worst>>20, name)
}
