package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// tinyJob is a training run of so many epochs of six steps.
func tinyJob(epochs int) []string {
	return []string{"compress", "tiny.onnx", "--data", "data", "-b", "w3a3", "--batch", "16", "--epochs", fmt.Sprint(epochs), "--checkpoint-every", "4"}
}

// fixtureIn makes a folder with the fixture.
func fixtureIn(t testing.TB, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := makeFixture(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// command is qvitc as a process of its own in dir.
func command(dir string, args ...string) *exec.Cmd {
	c := exec.Command("qvitc", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "QVITC_CPU=")
	return c
}

// output runs a job in dir and gives the bytes of its output file.
func output(t testing.TB, c *exec.Cmd, file string) []byte {
	t.Helper()
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", c.Args, err, b)
	}
	b, err := os.ReadFile(filepath.Join(c.Dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSameBytes: the same command gives the same file whatever the working
// folder, the folder for temporary files, the time zone, the language and the
// number of cores.
func TestSameBytes(t *testing.T) {
	var first []byte
	for i := range 10 {
		dir := fixtureIn(t, filepath.Join(t.TempDir(), fmt.Sprintf("run %d", i)))
		tmp := filepath.Join(dir, "tmp")
		if err := os.Mkdir(tmp, 0o777); err != nil {
			t.Fatal(err)
		}
		args := tinyJob(10)
		cwd := dir
		out := "out.onnx"
		if i%2 == 1 { // from elsewhere, with absolute paths
			cwd, out = tmp, filepath.Join("..", "out.onnx")
			args[1], args[3] = filepath.Join(dir, args[1]), filepath.Join(dir, args[3])
		}
		if i >= 7 {
			args = append(args, fmt.Sprintf("--threads=%d", []int{1, 2, 5}[i-7]))
		}
		c := command(cwd, append(args, "-o", out)...)
		c.Env = append(c.Env, "TMPDIR="+tmp, "TZ="+[]string{"UTC", "Asia/Tokyo", "America/St_Johns"}[i%3],
			"LC_ALL="+[]string{"C", "de_DE.UTF-8"}[i%2], fmt.Sprintf("GOMAXPROCS=%d", []int{1, 2, 8}[i%3]))
		b := output(t, c, out)
		if first == nil {
			first = b
		}
		if !bytes.Equal(b, first) {
			t.Errorf("run %d differs from run 0: %v with %v", i, c.Args, c.Env[len(c.Env)-4:])
		}
	}
}
