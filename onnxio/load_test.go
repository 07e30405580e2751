package onnxio

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func models(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, pat := range []string{"../testdata/onnx/*.onnx", "../../shared/models/*/model.onnx", "../../shared/onnx-node-tests/*/*/model.onnx"} {
		m, err := filepath.Glob(pat)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m...)
	}
	return out
}

// An untouched model is written back byte for byte.
func TestModelBytesAreKept(t *testing.T) {
	for _, path := range models(t) {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ReadModel(want, Options{Name: path})
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes became %d other bytes", path, len(want), len(got))
		}
	}
}

// Reading what was written gives the same graph again, hence the same bytes.
func TestRoundTrip(t *testing.T) {
	for _, path := range models(t) {
		g, err := Load(path, Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		once, err := Encode(g, WriteOptions{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		h, err := Decode(once, Options{Name: path})
		if err != nil {
			t.Errorf("written: %v", err)
			continue
		}
		twice, err := Encode(h, WriteOptions{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if !bytes.Equal(once, twice) {
			t.Errorf("%s: the second writing differs", path)
		}
	}
}
