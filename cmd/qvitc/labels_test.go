package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A fifth of the labels is wrong: the run says so before it trains.
func TestMislabelledSet(t *testing.T) {
	dir := t.TempDir()
	if err := makeFixture(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "data", "train-labels-idx1-ubyte")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	labels, wrong := b[8:], 0
	for i := range labels {
		if i%5 == 0 {
			labels[i] = (labels[i] + 1) % tinyClasses
			wrong++
		}
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	var out, errw bytes.Buffer
	if code := run([]string{"compress", filepath.Join(dir, "tiny.onnx"), "--data", filepath.Join(dir, "data"), "--json", "--batch", "32", "--epochs", "0.4"},
		strings.NewReader(""), &out, &errw); code != exitOK {
		t.Fatalf("code %d: %s", code, errw.String())
	}
	told := strings.Index(errw.String(), "teacher and labels agree on 79.2 % of 96 training images")
	if trained := strings.Index(errw.String(), "train 100%"); told < 0 || trained < told {
		t.Errorf("stderr %s", errw.String())
	}
	var o outcome
	if err := json.Unmarshal(out.Bytes(), &o); err != nil {
		t.Fatal(err)
	}
	if want := 1 - float64(wrong)/tinyTrain; o.LabelAgreement == nil || math.Abs(*o.LabelAgreement-want) > 1e-9 {
		t.Errorf("agreement %v, want %v", o.LabelAgreement, want)
	}
}
