//go:build unix

package onnxio

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"google.golang.org/protobuf/proto"
)

// externalModel is y = x + W with W of 8 floats in another file.
func externalModel(t testing.TB, kv ...string) []byte {
	t.Helper()
	g := ir.New("g")
	x := g.AddInput("x", ir.TensorType(ir.Float32, ir.Known(8)))
	g.AddOutput(g.Add("Add", "y", nil, x, g.AddConst("W", ir.Of(make([]float32, 8), 8))).Out())
	p, err := ToProto(g, WriteOptions{})
	must(t, err)
	w, loc := p.Graph.Initializer[0], onnxpb.TensorProto_EXTERNAL
	w.RawData, w.DataLocation, w.ExternalData = nil, &loc, entries(kv...)
	b, err := proto.Marshal(p)
	must(t, err)
	return b
}

// Each set-up has the data outside/secret.bin beside the model's folder and
// whatever setup makes; wrong is part of the message, empty where the file loads.
func TestExternalConfinement(t *testing.T) {
	const size = "32"
	type setup func(t *testing.T, dir string)
	put := func(name string, n int) setup {
		return func(t *testing.T, dir string) {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, name), make([]byte, n), 0o644))
		}
	}
	link := func(target, name string) setup {
		return func(t *testing.T, dir string) { must(t, os.Symlink(target, filepath.Join(dir, name))) }
	}
	for _, c := range []struct {
		name  string
		entry []string
		setup setup
		wrong string
	}{
		{"plain", []string{"location", "w.bin", "offset", "0", "length", size}, put("w.bin", 32), ""},
		{"offset", []string{"location", "w.bin", "offset", "4096", "length", size}, put("w.bin", 4128), ""},
		{"no length", []string{"location", "w.bin"}, put("w.bin", 32), ""},
		{"folder inside", []string{"location", "sub/w.bin"}, put("sub/w.bin", 32), ""},
		{"link inside", []string{"location", "l.bin"}, func(t *testing.T, dir string) { put("w.bin", 32)(t, dir); link("w.bin", "l.bin")(t, dir) }, ""},
		{"parent", []string{"location", "../outside/secret.bin"}, nil, "leaves the model's folder"},
		{"parent behind a folder", []string{"location", "sub/../../outside/secret.bin"}, nil, "leaves the model's folder"},
		{"absolute", []string{"location", "/etc/hostname"}, nil, "absolute"},
		{"url", []string{"location", "file:///etc/hostname"}, nil, "relative"},
		{"backslash", []string{"location", `..\outside\secret.bin`}, nil, "backslash"},
		{"NUL", []string{"location", "w.bin\x00"}, put("w.bin", 32), "NUL"},
		{"link out", []string{"location", "l.bin"}, link("../outside/secret.bin", "l.bin"), "symbolic link"},
		{"linked folder out", []string{"location", "l/secret.bin"}, link("../outside", "l"), "symbolic link"},
		{"absolute link out", []string{"location", "l.bin"}, func(t *testing.T, dir string) {
			link(filepath.Join(filepath.Dir(dir), "outside", "secret.bin"), "l.bin")(t, dir)
		}, "symbolic link"},
		{"link to a device", []string{"location", "l.bin"}, link("/dev/zero", "l.bin"), "symbolic link"},
		{"hard link", []string{"location", "h.bin"}, func(t *testing.T, dir string) {
			must(t, os.Link(filepath.Join(filepath.Dir(dir), "outside", "secret.bin"), filepath.Join(dir, "h.bin")))
		}, "hard links"},
		{"pipe", []string{"location", "p"}, func(t *testing.T, dir string) { must(t, syscall.Mkfifo(filepath.Join(dir, "p"), 0o644)) }, "not a regular file"},
		{"folder", []string{"location", "d"}, func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755)) }, "not a regular file"},
		{"missing", []string{"location", "w.bin"}, nil, "no such file"},
		{"too short", []string{"location", "w.bin", "offset", "4", "length", size}, put("w.bin", 32), "the file has 32"},
		{"offset past the end", []string{"location", "w.bin", "offset", "9223372036854775807", "length", size}, put("w.bin", 32), "the file has 32"},
		{"wrong length", []string{"location", "w.bin", "length", "31"}, put("w.bin", 32), "length says 31"},
		{"no offset, longer file", []string{"location", "w.bin"}, put("w.bin", 33), "the file has 33"},
		{"negative offset", []string{"location", "w.bin", "offset", "-1"}, put("w.bin", 32), "negative"},
		{"length no number", []string{"location", "w.bin", "length", "0x20"}, put("w.bin", 32), "not a number"},
		{"key twice", []string{"location", "w.bin", "location", "w.bin"}, put("w.bin", 32), "twice"},
		{"unknown key", []string{"location", "w.bin", "__class__", "x"}, put("w.bin", 32), "unknown key"},
		{"no location", []string{"offset", "0"}, nil, "no location"},
	} {
		t.Run(c.name, func(t *testing.T) {
			outer := t.TempDir()
			dir := filepath.Join(outer, "model")
			must(t, os.Mkdir(dir, 0o755))
			put("../outside/secret.bin", 32)(t, dir)
			if c.setup != nil {
				c.setup(t, dir)
			}
			path := filepath.Join(dir, "m.onnx")
			must(t, os.WriteFile(path, externalModel(t, c.entry...), 0o644))
			_, err := Load(path, Options{})
			if c.wrong == "" {
				must(t, err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.wrong) || !strings.Contains(err.Error(), `"W"`) {
				t.Fatalf("want an error about W and %q, have %v", c.wrong, err)
			}
			checkMessage(t, err)
		})
	}
	t.Run("no folder", func(t *testing.T) {
		if _, err := Decode(externalModel(t, "location", "w.bin"), Options{}); err == nil {
			t.Fatal("accepted")
		}
	})
}

// A hub's cache: model and data are links into one folder of blobs.
func TestExternalHubCache(t *testing.T) {
	outer := t.TempDir()
	blobs, snap := filepath.Join(outer, "blobs"), filepath.Join(outer, "snapshots", "main")
	must(t, os.Mkdir(blobs, 0o755))
	must(t, os.MkdirAll(snap, 0o755))
	must(t, os.WriteFile(filepath.Join(blobs, "aa"), externalModel(t, "location", "w.bin"), 0o644))
	must(t, os.WriteFile(filepath.Join(blobs, "bb"), make([]byte, 32), 0o644))
	must(t, os.Symlink("../../blobs/aa", filepath.Join(snap, "m.onnx")))
	must(t, os.Symlink("../../blobs/bb", filepath.Join(snap, "w.bin")))
	_, err := Load(filepath.Join(snap, "m.onnx"), Options{})
	must(t, err)
	must(t, os.Remove(filepath.Join(snap, "w.bin")))
	must(t, os.WriteFile(filepath.Join(outer, "cc"), make([]byte, 32), 0o644))
	must(t, os.Symlink("../../cc", filepath.Join(snap, "w.bin")))
	if _, err := Load(filepath.Join(snap, "m.onnx"), Options{}); err == nil {
		t.Fatal("a link beside the blobs was followed")
	}
}

// Saving with external data writes two files that read back to the same graph.
func TestSaveExternal(t *testing.T) {
	g, err := Decode(tinyBytes(t), Options{})
	must(t, err)
	big := g.AddConst("big", ir.Of(make([]float32, 3*1024), 3*1024))
	for i := range big.Const.F32() {
		big.Const.F32()[i] = float32(i)
	}
	bigger := g.AddConst("bigger", ir.Of(make([]float32, 1100), 1100))
	g.AddOutput(big)
	g.AddOutput(bigger)
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	must(t, Save(path, g, WriteOptions{External: true}))
	h, err := Load(path, Options{})
	must(t, err)
	want, err := Encode(g, WriteOptions{})
	must(t, err)
	got, err := Encode(h, WriteOptions{})
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the graph that was read differs from the one that was saved")
	}
	files, err := os.ReadDir(dir)
	must(t, err)
	if len(files) != 2 {
		t.Errorf("want the model and one data file, have %v", files)
	}
	if err := Save(filepath.Join(dir, "missing", "m.onnx"), g, WriteOptions{External: true}); err == nil {
		t.Error("saved into a missing folder")
	}
}

// A model path that is a pipe or a folder is refused at once.
func TestLoadOddPaths(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe.onnx")
	must(t, syscall.Mkfifo(pipe, 0o644))
	for _, path := range []string{pipe, dir, filepath.Join(dir, "none.onnx")} {
		_, err := Load(path, Options{})
		if err == nil {
			t.Fatalf("%s was loaded", path)
		}
		checkMessage(t, err)
	}
}
