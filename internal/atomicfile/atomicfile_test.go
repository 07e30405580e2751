package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// names lists the folder dir.
func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func TestReplaceOnDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	for _, want := range []string{"one", "second, longer", ""} {
		if err := WriteFile(path, text(want)); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != want {
			t.Errorf("content %q, want %q", got, want)
		}
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("folder holds %q", got)
	}
}

func TestWriterFailsOrPanics(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	os.WriteFile(path, []byte("old"), 0o644)
	own := errors.New("model has no nodes")
	err := WriteFile(path, func(w io.Writer) error { io.WriteString(w, "half"); return own })
	if err != own {
		t.Errorf("error %v, want that of the writer", err)
	}
	func() {
		defer func() { recover() }()
		WriteFile(path, func(io.Writer) error { panic("broken invariant") })
	}()
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("content %q", got)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("folder holds %q", got)
	}
}

func TestVerifyBeforeCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("long", 60)+".onnx")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "content")
	if err := f.Seal(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(f.TempName()); string(got) != "content" {
		t.Errorf("sealed file holds %q", got)
	}
	if filepath.Dir(f.TempName()) != dir || !strings.Contains(f.TempName(), "longlong") {
		t.Errorf("temporary name %q", f.TempName())
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the target stands before Commit")
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("write after Seal")
	}
	f.Abort()
	if err := f.Commit(); err == nil {
		t.Error("Commit after Abort")
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("folder holds %q", got)
	}
}

func TestRefusedTargets(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
	os.WriteFile(filepath.Join(dir, "readonly"), []byte("keep"), 0o444)
	cases := map[string]string{
		"":                              "name is empty",
		dir:                             "it is a folder",
		filepath.Join(dir, "no", "m"):   "does not exist",
		filepath.Join(dir, "file", "m"): "not a folder",
		filepath.Join(dir, "readonly"):  "read-only",
		dir + "/new/":                   "names a folder",
	}
	if runtime.GOOS != "windows" {
		os.Symlink("nowhere", filepath.Join(dir, "broken"))
		cases[filepath.Join(dir, "broken")] = "leads nowhere"
		cases[os.DevNull] = "device"
	}
	for path, want := range cases {
		err := WriteFile(path, text("x"))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want %q", path, err, want)
		}
	}
}

func TestSymbolicLinkStays(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	os.WriteFile(real, []byte("old"), 0o600)
	if err := os.Symlink("real", link); err != nil {
		t.Skip("no symbolic links here")
	}
	if err := WriteFile(link, text("new")); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != "real" {
		t.Error("the link was replaced")
	}
	got, _ := os.ReadFile(real)
	info, _ := os.Stat(real)
	if string(got) != "new" || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%q with %v", got, info.Mode())
	}
}

func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run.ckpt")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Seal() // and then the process dies
	other, _ := Create(filepath.Join(dir, "other.ckpt"))
	defer other.Abort()
	if got, err := RemoveStale(path, time.Now().Add(-time.Hour)); err != nil || got != nil {
		t.Errorf("a young file: %v, %v", got, err)
	}
	got, err := RemoveStale(path, time.Now().Add(time.Hour))
	if err != nil || len(got) != 1 || got[0] != f.TempName() {
		t.Errorf("removed %q, %v", got, err)
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("folder holds %q", left)
	}
}
