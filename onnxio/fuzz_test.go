package onnxio

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/qvitc/qvitc/ir"
)

// FuzzReadModel: whatever the bytes, an error or a graph that keeps its word.
func FuzzReadModel(f *testing.F) {
	f.Add(tinyBytes(f))
	for _, pat := range []string{"../../shared/malformed/*.onnx", "../../shared/onnx-node-tests/*/*/model.onnx"} {
		files, _ := filepath.Glob(pat)
		for _, p := range files {
			if b, err := os.ReadFile(p); err == nil && len(b) < 20_000 {
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { tryModel(t, b) })
}

// FuzzTensor: a tensor that decodes is written and read back the same.
func FuzzTensor(f *testing.F) {
	for _, t := range []*ir.Tensor{ir.Of([]float32{1, 2, 3}, 3), ir.Of([]int64{-1}, 1, 1), ir.Of([]string{"a", ""}, 2), ir.Scalar(true)} {
		b, err := EncodeTensor(t, "t")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	files, _ := filepath.Glob("../../shared/onnx-node-tests/*/test_cast_*/test_data_set_0/*.pb")
	for _, p := range files {
		if b, err := os.ReadFile(p); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, name, err := DecodeTensor(b, Options{Name: "t.pb"})
		if err != nil {
			checkMessage(t, err)
			return
		}
		w, err := EncodeTensor(x, name)
		must(t, err)
		y, name2, err := DecodeTensor(w, Options{})
		must(t, err)
		again, err := EncodeTensor(y, name2)
		must(t, err)
		if string(again) != string(w) || name != name2 {
			t.Fatal("written twice, two results")
		}
	})
}
