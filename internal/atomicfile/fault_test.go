package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

var (
	oldText = strings.Repeat("old content\n", 40_000)
	newText = strings.Repeat("the new content\n", 40_000)
)

// replace writes newText over d/model.onnx in uneven pieces.
func replace(m *memFS) error {
	return WriteFile("d/model.onnx", func(w io.Writer) error {
		for rest := newText; rest != ""; {
			n := min(len(rest), 100_003)
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	}, WithFS(m))
}

// operations returns the changing operations of one write without faults.
func operations(t *testing.T) []string {
	t.Helper()
	m := newMemFS(map[string]string{"d/model.onnx": oldText})
	if err := replace(m); err != nil {
		t.Fatal(err)
	}
	if got := string(m.files["d/model.onnx"].data); got != newText {
		t.Fatalf("content differs: %d bytes", len(got))
	}
	if m.files["d/model.onnx"].mode.Perm() != 0o640 {
		t.Errorf("permissions %v, want those of the old file", m.files["d/model.onnx"].mode)
	}
	return m.log
}

func TestOrderOfOperations(t *testing.T) {
	log := operations(t)
	if log[0] != "create" || log[1] != "chmod" {
		t.Errorf("starts with %v", log[:2])
	}
	if got := strings.Join(log[len(log)-4:], " "); got != "sync close rename syncdir" {
		t.Errorf("ends with %q", got)
	}
}

// TestEveryOperationFails lets each operation return each error once.
func TestEveryOperationFails(t *testing.T) {
	log := operations(t)
	for k := 1; k <= len(log); k++ {
		for _, cause := range []error{syscall.ENOSPC, syscall.EIO, syscall.EACCES} {
			for _, short := range []bool{false, true} {
				what := fmt.Sprintf("operation %d (%s) with %v, short=%v", k, log[k-1], cause, short)
				m := newMemFS(map[string]string{"d/model.onnx": oldText})
				m.failAt, m.failErr, m.short = k, cause, short
				err := replace(m)
				if err == nil {
					t.Errorf("%s: no error", what)
					continue
				}
				if !errors.Is(err, cause) || !strings.Contains(err.Error(), `"d/model.onnx"`) || strings.Contains(err.Error(), tempMark) {
					t.Errorf("%s: message %q", what, err)
				}
				want := oldText
				if log[k-1] == "syncdir" {
					want = newText
				}
				if string(m.files["d/model.onnx"].data) != want {
					t.Errorf("%s: the target changed", what)
				}
				if left := m.temps(); left != nil {
					t.Errorf("%s: left %v", what, left)
				}
			}
		}
	}
}

// TestStopAfterEveryOperation kills the process after operation k-1: the target is the old or the new file, whole.
func TestStopAfterEveryOperation(t *testing.T) {
	log := operations(t)
	for k := 1; k <= len(log); k++ {
		m := newMemFS(map[string]string{"d/model.onnx": oldText})
		m.failAt, m.failErr, m.stop = k, errors.New("killed"), true
		if err := replace(m); err == nil {
			t.Errorf("killed before operation %d (%s): no error", k, log[k-1])
		}
		got := string(m.files["d/model.onnx"].data)
		if got != oldText && got != newText {
			t.Errorf("killed before operation %d (%s): the target is a mixture of %d bytes", k, log[k-1], len(got))
		}
	}
}

// cuts takes the power at a random operation, n times, and counts targets that are neither old nor new.
func cuts(t *testing.T, n int, lostSync bool) (mixed int) {
	steps := len(operations(t))
	const seed = 7
	r := rand.New(rand.NewPCG(seed, seed))
	for range n {
		m := newMemFS(map[string]string{"d/model.onnx": oldText})
		m.failAt, m.failErr, m.stop, m.lostSync = 1+r.IntN(steps+1), errors.New("power"), true, lostSync
		replace(m)
		got, ok := m.powerCut("d/model.onnx", r)
		if !ok || got != oldText && got != newText {
			mixed++
		}
	}
	return mixed
}

func TestPowerCut(t *testing.T) {
	if n := cuts(t, 1000, false); n != 0 {
		t.Errorf("%d of 1000 power cuts left a mixture or nothing", n)
	}
	if n := cuts(t, 1000, true); n == 0 {
		t.Error("this test does not notice a missing Sync")
	}
}
