//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tries is how many times a test with random moments is run: QVITC_KILLS, or n.
func tries(t testing.TB, n int) int {
	if s := os.Getenv("QVITC_KILLS"); s != "" {
		k, err := strconv.Atoi(s)
		if err != nil || k < 1 {
			t.Fatalf("QVITC_KILLS=%q: want a number from 1", s)
		}
		return k
	}
	return n
}

// longJob takes about a second, most of it in its 300 steps.
func longJob() []string { return append(tinyJob(50), "-o", "out.onnx") }

// reference runs the job undisturbed and gives its bytes and its time.
func reference(t testing.TB) ([]byte, time.Duration) {
	dir := fixtureIn(t, t.TempDir())
	start := time.Now()
	b := output(t, command(dir, longJob()...), "out.onnx")
	return b, time.Since(start)
}

// leftovers lists what a job leaves beside its output and the fixture.
func leftovers(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		switch e.Name() {
		case "tiny.onnx", "data", "out.onnx":
		default:
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

// TestKillAndResume kills a compression at random moments, twice, and lets the
// third run resume: the file must be that of the undisturbed run. go test takes
// three tries, make kill twenty.
func TestKillAndResume(t *testing.T) {
	want, whole := reference(t)
	model := sha256.Sum256(must(os.ReadFile(filepath.Join(fixtureIn(t, t.TempDir()), "tiny.onnx"))))
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d, an undisturbed run takes %v", seed, whole)
	args := append(longJob(), "--resume")
	killed, withCheckpoint := 0, 0
	for try := range tries(t, 3) {
		dir := fixtureIn(t, filepath.Join(t.TempDir(), fmt.Sprint(try)))
		for range 2 {
			c := command(dir, args...)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(r.Int64N(int64(whole))))
			c.Process.Kill()
			if err := c.Wait(); err != nil {
				killed++
			}
			if strings.Contains(leftovers(t, dir), ".ckpt.step-") {
				withCheckpoint++
			}
			if b, err := os.ReadFile(filepath.Join(dir, "out.onnx")); err == nil && !bytes.Equal(b, want) {
				t.Errorf("try %d: after the kill the output is there, but not whole", try)
			}
		}
		if got := output(t, command(dir, args...), "out.onnx"); !bytes.Equal(got, want) {
			t.Errorf("try %d: the resumed run gives another file", try)
		}
		if left := leftovers(t, dir); left != "" {
			t.Errorf("try %d: the resumed run leaves %s", try, left)
		}
		if sum := sha256.Sum256(must(os.ReadFile(filepath.Join(dir, "tiny.onnx")))); sum != model {
			t.Errorf("try %d: the model was changed", try)
		}
	}
	t.Logf("%d runs killed, %d of them with a checkpoint", killed, withCheckpoint)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestInterrupt sends SIGINT and SIGTERM once checkpoints are there: exit code
// 130 soon after, a message that names the checkpoint and the command to go on
// with, and that command gives the file of the undisturbed run.
func TestInterrupt(t *testing.T) {
	want, whole := reference(t)
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for try := range tries(t, 2) {
		dir := fixtureIn(t, filepath.Join(t.TempDir(), fmt.Sprint(try)))
		c, stderr := waitForCheckpoint(t, dir)
		time.Sleep(time.Duration(r.Int64N(int64(whole) / 8)))
		sent := time.Now()
		c.Process.Signal([]os.Signal{os.Interrupt, syscall.SIGTERM}[try%2])
		if err := c.Wait(); err == nil {
			continue // it was done before the signal
		}
		if code, took := c.ProcessState.ExitCode(), time.Since(sent); code != exitInterrupted || took > 5*time.Second {
			t.Fatalf("exit code %d after %v: %s", code, took, stderr)
		}
		checkInterrupted(t, dir, stderr.String())
		line := strings.Fields(stderr.String()[strings.Index(stderr.String(), "go on with: ")+len("go on with: "):])
		if got := output(t, command(dir, line[1:]...), "out.onnx"); !bytes.Equal(got, want) {
			t.Errorf("try %d: the resumed run gives another file", try)
		}
		if left := leftovers(t, dir); left != "" {
			t.Errorf("try %d: the resumed run leaves %s", try, left)
		}
	}
}

func waitForCheckpoint(t *testing.T, dir string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	c := command(dir, longJob()...)
	stderr := &bytes.Buffer{}
	c.Stderr = stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if strings.Contains(leftovers(t, dir), ".ckpt.step-") {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return c, stderr
}

func checkInterrupted(t *testing.T, dir, stderr string) {
	t.Helper()
	_, rest, ok := strings.Cut(stderr, "qvitc: interrupted; checkpoint ")
	name, _, _ := strings.Cut(rest, "\n")
	if _, err := os.Stat(filepath.Join(dir, name)); !ok || err != nil {
		t.Fatalf("the message names no checkpoint that is there: %s", stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "out.onnx")); err == nil {
		t.Fatal("the interrupted run wrote its output")
	}
	if !strings.Contains(stderr, "hint: go on with: qvitc compress tiny.onnx ") || !strings.Contains(stderr, " --resume\n") {
		t.Fatalf("no command to go on with: %s", stderr)
	}
}

// TestInterruptTwice: a second signal ends the process at once.
func TestInterruptTwice(t *testing.T) {
	dir := fixtureIn(t, t.TempDir())
	c := command(dir, "compress", "tiny.onnx", "--data", "data", "--batch", "16", "--epochs", "100000", "-o", "out.onnx")
	stderr := &bytes.Buffer{}
	c.Stderr = stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	start := time.Now()
	for range 20 {
		if c.Process.Signal(os.Interrupt) != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	c.Wait()
	if code, took := c.ProcessState.ExitCode(), time.Since(start); code != exitInterrupted || took > 5*time.Second {
		t.Errorf("exit code %d after %v: %s", code, took, stderr)
	}
}

// TestTwoRunsOneOutput lets two runs write to one output at the same time: each
// ends well or says what it could not write, and what is left is whole.
func TestTwoRunsOneOutput(t *testing.T) {
	dir := fixtureIn(t, t.TempDir())
	args := func(seed, out string) []string {
		return append(tinyJob(5), "--seed", seed, "-o", out)
	}
	want := map[string]string{}
	for _, seed := range []string{"1", "2"} {
		want[string(output(t, command(dir, args(seed, "alone.onnx")...), "alone.onnx"))] = seed
	}
	if len(want) != 2 {
		t.Fatal("two seeds, one result")
	}
	if err := os.Remove(filepath.Join(dir, "alone.onnx")); err != nil {
		t.Fatal(err)
	}
	for range tries(t, 2) {
		var runs [2]*exec.Cmd
		var stderr [2]bytes.Buffer
		for i, seed := range []string{"1", "2"} {
			runs[i] = command(dir, args(seed, "out.onnx")...)
			runs[i].Stderr = &stderr[i]
			if err := runs[i].Start(); err != nil {
				t.Fatal(err)
			}
		}
		good := 0
		for i, c := range runs {
			c.Wait()
			switch code := c.ProcessState.ExitCode(); code {
			case exitOK:
				good++
			case exitIO:
			default:
				t.Errorf("exit code %d: %s", code, stderr[i].String())
			}
		}
		b, err := os.ReadFile(filepath.Join(dir, "out.onnx"))
		if good == 0 || err != nil || want[string(b)] == "" {
			t.Errorf("%d runs ended well, output of %d bytes is one of theirs: %v (%v)\n%s%s", good, len(b), want[string(b)] != "", err, stderr[0].String(), stderr[1].String())
		}
	}
	if left := leftovers(t, dir); strings.Contains(left, "tmp") {
		t.Errorf("left: %s", left)
	}
}
