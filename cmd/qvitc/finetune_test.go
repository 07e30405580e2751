package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/onnxio"
)

// Models of every exporter are trained with a fresh head, branches skipped and
// images mixed, and what is written answers for the new classes.
func TestFinetuneEveryExporter(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/models/*/model.onnx")
	if len(files) == 0 {
		t.Skip("the shared models are not there")
	}
	dir := t.TempDir()
	if err := makeFixture(dir); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "pictures")
	if err := writePictures(filepath.Join(dir, "tiny.onnx"), data, 30, false); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		if !strings.HasSuffix(name, "op17-dyn") && !strings.HasSuffix(name, "op11-fixed") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(dir, name+".onnx")
			var errw bytes.Buffer
			if code := run([]string{"finetune", file, "--data", data, "--classes", "7", "--batch", "4", "--epochs", "0.2", "--limit", "2",
				"--augment", "strong", "--drop-path", "0.2", "-q", "-o", out}, strings.NewReader(""), &bytes.Buffer{}, &errw); code != exitOK {
				t.Fatalf("code %d: %s", code, errw.String())
			}
			g, err := onnxio.Load(out, onnxio.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range g.Outputs {
				if v.Type.Rank() != 2 || v.Type.Shape[1].Size != 7 || !v.Type.Shape[0].Same(g.Inputs[0].Type.Shape[0]) {
					t.Errorf("output %s is %v", v.Name, v.Type)
				}
			}
			if len(g.Inputs) != 1 || g.Meta["qvitc.training"] == "" || g.Meta["qvitc.preprocess"] == "" {
				t.Errorf("%d inputs, metadata %v", len(g.Inputs), g.Meta)
			}
			os.Remove(out)
		})
	}
}
