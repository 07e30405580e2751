//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestServe runs the service as a user does: start, ask, SIGTERM.
func TestServe(t *testing.T) {
	dir := fixtureIn(t, t.TempDir())
	if err := writePictures(filepath.Join(dir, "tiny.onnx"), filepath.Join(dir, "pictures"), 1, true); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "names.txt"), []byte("left\nmiddle\nright\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if b, err := command(dir, "compress", "tiny.onnx", "--data", "data", "--method", "ptq", "-q").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	c := command(dir, "serve", "tiny.w4a4.onnx", "--teacher", "tiny.onnx", "--addr", "127.0.0.1:0", "--labels", "names.txt", "--threads", "2")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	_, url, ok := strings.Cut(strings.TrimSpace(line), "serving tiny.w4a4.onnx on ")
	if err != nil || !ok {
		t.Fatalf("%q %v %s", line, err, stderr.String())
	}
	pictures, err := filepath.Glob(filepath.Join(dir, "pictures", "*"))
	if err != nil || len(pictures) != 1 {
		t.Fatal(pictures, err)
	}
	for endpoint, want := range map[string]string{"/v1/classify": `"name":"`, "/v1/attention": `"name":"tiny.onnx"`} {
		f, err := os.Open(pictures[0])
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.Post(url+endpoint, "image/png", f)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != 200 || !json.Valid(b) || !strings.Contains(string(b), want) {
			t.Errorf("%s: %d %s", endpoint, r.StatusCode, b)
		}
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	if !strings.Contains(stderr.String(), "all accepted requests are answered") {
		t.Errorf("stderr %q", stderr.String())
	}
}
