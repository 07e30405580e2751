package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A run that fails leaves the profile of the run before as it is.
func TestProfileWholeOrNotAtAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cpu.pprof")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, failed := range []error{errors.New("failed"), nil} {
		stop, err := (&benchFlags{profile: path}).startProfile()
		if err != nil {
			t.Fatal(err)
		}
		if err := stop(failed); err != failed {
			t.Errorf("after %v: %v", failed, err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if kept := string(got) == "old"; kept != (failed != nil) {
			t.Errorf("after %v the old profile is kept: %v", failed, kept)
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("after %v the folder holds %v (%v)", failed, entries, err)
		}
	}
}
