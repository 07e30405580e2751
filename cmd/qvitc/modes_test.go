package main

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// Every form of IRM runs with every form of DGD and of distillation, at every
// mode's quantisers, and what is written is verified.
func TestEveryCombination(t *testing.T) {
	dir := t.TempDir()
	if err := makeFixture(dir); err != nil {
		t.Fatal(err)
	}
	base := []string{"compress", filepath.Join(dir, "tiny.onnx"), "--data", filepath.Join(dir, "data"), "-q", "-b", "w3a3",
		"--batch", "16", "--epochs", "0.33", "--samples", "16", "--limit", "8", "-o", filepath.Join(dir, "out.onnx")}
	modes := []string{"qvit", "baseline", "lsq", "lsq+"}
	teachers := []string{"auto", "raw", "normalised"}
	n := 0
	for _, irm := range []string{"rescale", "layernorm", "static", "off"} {
		for _, dgd := range []string{"--dgd=0", "--dgd-mode=paper", "--dgd-mode=mse", "--dgd-mode=rowwise"} {
			for _, dist := range []string{"--hard=1 --soft=0", "--hard=0.5 --soft=0 --teacher-hard=0.5", "--hard=0.5 --soft=0.5"} {
				args := append(append([]string(nil), base...), "--mode", modes[n%4], "--dgd=1", "--dgd-teacher", teachers[n%3], "--irm", irm, dgd)
				args = append(args, strings.Fields(dist)...)
				var out, errw bytes.Buffer
				if code := run(args, strings.NewReader(""), &out, &errw); code != exitOK {
					t.Errorf("%s: code %d: %s", strings.Join(args[5:], " "), code, errw.String())
				}
				n++
			}
		}
	}
	if code := run(append(base, "--irm", "paper"), strings.NewReader(""), io.Discard, io.Discard); code != exitUsage {
		t.Errorf("--irm paper: code %d", code)
	}
}
