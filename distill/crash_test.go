package distill

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/qvitc/qvitc/internal/atomicfile"
)

// faultyFS lets operation number at fail with err; where it crashed all later
// ones fail too, as after a power cut.
type faultyFS struct {
	at, n int
	err   error
	crash bool
	short bool // a failing write puts out half of its bytes

	unsynced map[string]bool // files with bytes that a power cut may lose
	undo     []func()        // entries of folders since their last sync
}

var errCrash = errors.New("machine stopped")

func (f *faultyFS) op() error {
	f.n++
	if f.n == f.at || f.crash && f.at > 0 && f.n > f.at {
		return f.err
	}
	return nil
}

func (f *faultyFS) Lstat(name string) (fs.FileInfo, error)     { return os.Lstat(name) }
func (f *faultyFS) Resolve(name string) (string, error)        { return filepath.EvalSymlinks(name) }
func (f *faultyFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
func (f *faultyFS) CreateNew(name string, mode fs.FileMode) (atomicfile.Handle, error) {
	if err := f.op(); err != nil {
		return nil, err
	}
	h, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if f.unsynced == nil {
		f.unsynced = map[string]bool{}
	}
	f.unsynced[name] = true
	return &faultyHandle{h, f}, err
}
func (f *faultyFS) Rename(from, to string) error {
	if err := f.op(); err != nil {
		return err
	}
	f.undo = append(f.undo, func() { os.Rename(to, from) })
	if f.unsynced[from] {
		delete(f.unsynced, from)
		f.unsynced[to] = true
	}
	return os.Rename(from, to)
}
func (f *faultyFS) Remove(name string) error {
	if err := f.op(); err != nil {
		return err
	}
	content, _ := os.ReadFile(name)
	f.undo = append(f.undo, func() { os.WriteFile(name, content, 0o600) })
	return os.Remove(name)
}
func (f *faultyFS) SyncDir(string) error {
	if err := f.op(); err != nil {
		return err
	}
	f.undo = nil
	return nil
}

// powerCut loses a random part of what was not synced: changes of folders, and
// blocks of 512 bytes of files.
func (f *faultyFS) powerCut(r *rand.Rand) {
	for i := len(f.undo) - 1; i >= 0; i-- {
		if r.IntN(2) == 0 {
			f.undo[i]()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.unsynced)) {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		b = b[:r.IntN(len(b)+1)]
		for at := 0; at < len(b); at += 512 {
			if r.IntN(3) == 0 {
				clear(b[at:min(at+512, len(b))])
			}
		}
		os.WriteFile(name, b, 0o600)
	}
}

type faultyHandle struct {
	*os.File
	f *faultyFS
}

func (h *faultyHandle) Write(b []byte) (int, error) {
	if err := h.f.op(); err != nil {
		if h.f.short {
			n, _ := h.File.Write(b[:len(b)/2])
			return n, err
		}
		return 0, err
	}
	return h.File.Write(b)
}
func (h *faultyHandle) Sync() error {
	if err := h.f.op(); err != nil {
		return err
	}
	delete(h.f.unsynced, h.Name())
	return nil
}
func (h *faultyHandle) Close() error {
	err := h.File.Close()
	if e := h.f.op(); e != nil {
		return e
	}
	return err
}

var samples = sync.OnceValue(func() []*checkpoint {
	return []*checkpoint{sampleCheckpoint(1), sampleCheckpoint(2), sampleCheckpoint(3)}
})

// rounds writes checkpoints 1, 2, 3 and gives the last that was reported saved.
func rounds(s *store) (last int, err error) {
	for step := 1; step <= 3; step++ {
		if _, err := s.save(samples()[step-1]); err != nil {
			return last, err
		}
		last = step
	}
	return last, nil
}

// TestCrashAtEveryOperation stops the file system after each operation of three
// checkpoint rounds, also in the middle of a write: what was reported saved, or a
// newer one, must load.
func TestCrashAtEveryOperation(t *testing.T) {
	count := &faultyFS{}
	if _, err := rounds(&store{base: filepath.Join(t.TempDir(), "c"), fs: count}); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= count.n; at++ {
		for _, short := range []bool{false, true} {
			base := filepath.Join(t.TempDir(), "c")
			f := &faultyFS{at: at, err: errCrash, crash: true, short: short}
			last, _ := rounds(&store{base: base, fs: f})
			c, _, skipped, err := (&store{base: base}).load(func(*checkpoint) error { return nil })
			if err != nil || len(skipped) > 0 {
				t.Fatalf("stopped at operation %d: %v %v", at, err, skipped)
			}
			if last > 0 && (c == nil || c.Step < last) {
				t.Fatalf("stopped at operation %d: checkpoint %d was saved, found %v", at, last, c)
			}
		}
	}
	t.Logf("%d crash points", 2*count.n)
}

// TestErrorAtEveryOperation lets each operation fail once: the message names the
// file and the cause, the checkpoint before is intact and no temporary file is
// left.
func TestErrorAtEveryOperation(t *testing.T) {
	count := &faultyFS{}
	if _, err := rounds(&store{base: filepath.Join(t.TempDir(), "c"), fs: count}); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= count.n; at++ {
		for _, cause := range []error{syscall.ENOSPC, syscall.EIO, syscall.EACCES} {
			dir := t.TempDir()
			f := &faultyFS{at: at, err: cause, short: at%2 == 0}
			last, err := rounds(&store{base: filepath.Join(dir, "c"), fs: f})
			if err != nil && (!errors.Is(err, cause) || !strings.Contains(err.Error(), "c.step-0000000")) {
				t.Fatalf("operation %d: message %q", at, err)
			}
			c, _, _, lerr := (&store{base: filepath.Join(dir, "c")}).load(func(*checkpoint) error { return nil })
			if lerr != nil || last > 0 && (c == nil || c.Step < last) {
				t.Fatalf("operation %d: after %d found %v, %v", at, last, c, lerr)
			}
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), ".") {
					t.Fatalf("operation %d: temporary file %s left", at, e.Name())
				}
			}
		}
	}
}

// TestPowerCut loses random unsynced changes after a random operation: the
// checkpoint that was reported saved last, or a newer one, must load, and none
// that is a mixture.
func TestPowerCut(t *testing.T) {
	count := &faultyFS{}
	if _, err := rounds(&store{base: filepath.Join(t.TempDir(), "c"), fs: count}); err != nil {
		t.Fatal(err)
	}
	tries := 1000
	if testing.Short() {
		tries = 100
	}
	for seed := range uint64(tries) {
		r := rand.New(rand.NewPCG(seed, 1))
		base := filepath.Join(t.TempDir(), "c")
		f := &faultyFS{at: 1 + r.IntN(count.n), err: errCrash, crash: true, short: r.IntN(2) == 0}
		last, _ := rounds(&store{base: base, fs: f})
		f.powerCut(r)
		c, _, skipped, err := (&store{base: base}).load(func(*checkpoint) error { return nil })
		if err != nil || last > 0 && (c == nil || c.Step < last) {
			t.Fatalf("seed %d, operation %d: %d was saved, found %v, %v %v", seed, f.at, last, c, err, skipped)
		}
	}
}
