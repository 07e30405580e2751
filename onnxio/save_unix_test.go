//go:build unix

package onnxio

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
)

// heavy is y = x + W with a W that goes to the data file, the bytes of W being v.
func heavy(v byte) *ir.Graph {
	g := ir.New("g")
	x := g.AddInput("x", ir.TensorType(ir.Uint8, ir.Known(2048)))
	g.AddOutput(g.Add("BitwiseAnd", "y", nil, x, g.AddConst("W", ir.Of(bytes.Repeat([]byte{v}, 2048), 2048))).Out())
	return g
}

// dataPath is where the data of heavy(v) goes when it is saved at path.
func dataPath(t testing.TB, path string, v byte) string {
	t.Helper()
	_, d, err := EncodeFor(path, heavy(v), WriteOptions{External: true})
	must(t, err)
	return d.Path
}

// folder lists names and content of everything beneath dir, links not followed.
func folder(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if e.Type().IsRegular() {
			b, err := os.ReadFile(p)
			all[p] = string(b)
			return err
		}
		all[p] = e.Type().String()
		return nil
	}))
	return all
}

// Whatever stands in the way of a model or of its data file, Save either
// refuses and changes nothing, or writes two plain files inside the folder and
// nothing anywhere else.
func TestSaveConfinement(t *testing.T) {
	type place struct{ outer, dir, model, data string }
	secret := func(p place) string { return filepath.Join(p.outer, "outside", "secret.bin") }
	for _, c := range []struct {
		name  string
		model string // its name, m.onnx as a rule
		setup func(t *testing.T, p place)
		wrong string
	}{
		{"plain", "", nil, ""},
		{"over an older model", "", func(t *testing.T, p place) { must(t, os.WriteFile(p.model, []byte("old"), 0o644)) }, ""},
		{"over the same data", "", func(t *testing.T, p place) { must(t, Save(p.model, heavy(1), WriteOptions{External: true})) }, ""},
		{"data is a link out", "", func(t *testing.T, p place) { must(t, os.Symlink("../outside/secret.bin", p.data)) }, "symbolic link"},
		{"data is an absolute link out", "", func(t *testing.T, p place) { must(t, os.Symlink(secret(p), p.data)) }, "symbolic link"},
		{"data is a link inside", "", func(t *testing.T, p place) {
			must(t, os.WriteFile(filepath.Join(p.dir, "w"), []byte("keep"), 0o644))
			must(t, os.Symlink("w", p.data))
		}, "symbolic link"},
		{"data is a dangling link", "", func(t *testing.T, p place) { must(t, os.Symlink("nowhere", p.data)) }, "symbolic link"},
		{"data is a link to a device", "", func(t *testing.T, p place) { must(t, os.Symlink("/dev/null", p.data)) }, "symbolic link"},
		{"data is a hard link", "", func(t *testing.T, p place) { must(t, os.Link(secret(p), p.data)) }, ""},
		{"data is a pipe", "", func(t *testing.T, p place) { must(t, syscall.Mkfifo(p.data, 0o644)) }, "device, pipe or socket"},
		{"data is a folder", "", func(t *testing.T, p place) { must(t, os.Mkdir(p.data, 0o755)) }, "folder"},
		{"data is read-only", "", func(t *testing.T, p place) { must(t, os.WriteFile(p.data, []byte("keep"), 0o444)) }, "read-only"},
		{"model is a hard link", "", func(t *testing.T, p place) { must(t, os.Link(secret(p), p.model)) }, ""},
		{"model is a pipe", "", func(t *testing.T, p place) { must(t, syscall.Mkfifo(p.model, 0o644)) }, "device, pipe or socket"},
		{"model is a folder", "", func(t *testing.T, p place) { must(t, os.Mkdir(p.model, 0o755)) }, "folder"},
		{"model is read-only", "", func(t *testing.T, p place) { must(t, os.WriteFile(p.model, []byte("keep"), 0o444)) }, "read-only"},
		{"model is a dangling link", "", func(t *testing.T, p place) { must(t, os.Symlink("nowhere", p.model)) }, "leads nowhere"},
		{"model is a link to a device", "", func(t *testing.T, p place) { must(t, os.Symlink("/dev/null", p.model)) }, "device"},
		{"model in a missing folder", "sub/m.onnx", nil, "does not exist"},
		{"model in a file", "f/m.onnx", func(t *testing.T, p place) { must(t, os.WriteFile(filepath.Dir(p.model), []byte("keep"), 0o644)) }, "not a folder"},
		{"NUL", "m\x00.onnx", nil, "invalid"},
		{"a name that would leave", `..\..\m.onnx`, nil, ""},
		{"a name with a drive", "c:m.onnx", nil, ""},
		{"a name of control characters", "m\n\x1b[2J.onnx", nil, ""},
		{"a name that is no UTF-8", "m\xff.onnx", nil, ""},
		{"a name of 254 bytes", strings.Repeat("é", 124) + ".onnx", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			outer := t.TempDir()
			p := place{outer: outer, dir: filepath.Join(outer, "model")}
			must(t, os.Mkdir(p.dir, 0o755))
			must(t, os.Mkdir(filepath.Join(outer, "outside"), 0o755))
			must(t, os.WriteFile(secret(p), []byte("secret"), 0o644))
			name := c.model
			if name == "" {
				name = "m.onnx"
			}
			p.model = filepath.Join(p.dir, name)
			p.data = dataPath(t, p.model, 1)
			if filepath.Dir(p.data) != filepath.Dir(p.model) {
				t.Fatalf("the data would go to %q", p.data)
			}
			if c.setup != nil {
				c.setup(t, p)
			}
			before := folder(t, outer)
			err := Save(p.model, heavy(1), WriteOptions{External: true})
			after := folder(t, outer)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) || strings.ContainsAny(err.Error(), "\n\x00") {
					t.Errorf("want one line with %q, have %v", c.wrong, err)
				}
				if len(before) != len(after) {
					t.Errorf("before %v, after %v", before, after)
				}
			} else {
				must(t, err)
				g, err := Load(p.model, Options{})
				must(t, err)
				if w := g.Consts()[0].Const.Raw().([]uint8); w[0] != 1 || len(after) != 3 {
					t.Errorf("the weights changed, or not two files: %v", after)
				}
				delete(before, p.model)
				delete(before, p.data)
			}
			for name, content := range before {
				if after[name] != content {
					t.Errorf("%q held %q and now holds %.40q", name, content, after[name])
				}
			}
		})
	}
}

// A model that is reached through a link keeps it; its data lies beside the
// file itself and is found from both names.
func TestSaveThroughLink(t *testing.T) {
	outer := t.TempDir()
	for _, d := range []string{"store", "use"} {
		must(t, os.Mkdir(filepath.Join(outer, d), 0o755))
	}
	file, link := filepath.Join(outer, "store", "v1.onnx"), filepath.Join(outer, "use", "m.onnx")
	must(t, os.WriteFile(file, nil, 0o644))
	must(t, os.Symlink("../store/v1.onnx", link))
	must(t, Save(link, heavy(3), WriteOptions{External: true}))
	if _, err := os.Readlink(link); err != nil {
		t.Error("the link was replaced")
	}
	for _, path := range []string{file, link} {
		_, err := Load(path, Options{})
		must(t, err)
	}
	if left, _ := os.ReadDir(filepath.Join(outer, "use")); len(left) != 1 {
		t.Errorf("beside the link: %v", left)
	}
}

// What takes the data file's name between the check and the rename is replaced,
// not followed.
func TestSaveSwap(t *testing.T) {
	dir := t.TempDir()
	secret, path := filepath.Join(dir, "secret"), filepath.Join(dir, "m.onnx")
	must(t, os.WriteFile(secret, []byte("keep"), 0o644))
	_, d, err := EncodeFor(path, heavy(1), WriteOptions{External: true})
	must(t, err)
	must(t, atomicfile.WriteFile(d.Path, func(w io.Writer) error {
		must(t, os.Symlink("secret", d.Path))
		return d.content(w)
	}, atomicfile.NoLink()))
	if st, err := os.Lstat(d.Path); err != nil || !st.Mode().IsRegular() {
		t.Errorf("the data file is %v (%v)", st, err)
	}
	if b, _ := os.ReadFile(secret); string(b) != "keep" {
		t.Error("the link was followed")
	}
}

// The data file is read through one open file: another that takes its name
// after the check is not read.
func TestLoadSwap(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "w.bin"), []byte("good"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "evil"), []byte("evil"), 0o644))
	d := &decoder{opts: Options{Dir: dir}}
	defer d.close()
	f, _, err := d.openExternal("w.bin")
	must(t, err)
	must(t, os.Rename(filepath.Join(dir, "evil"), filepath.Join(dir, "w.bin")))
	again, size, err := d.openExternal("w.bin")
	must(t, err)
	b := make([]byte, size)
	_, err = again.ReadAt(b, 0)
	must(t, err)
	if f != again || string(b) != "good" {
		t.Errorf("read %q", b)
	}
}

// A model that cannot be written leaves no data behind; data that was there stays.
func TestSaveUndo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	_, d, err := EncodeFor(path, heavy(1), WriteOptions{External: true})
	must(t, err)
	must(t, d.Write())
	d.Undo()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	must(t, d.Write())
	must(t, d.Write())
	d.Undo()
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
