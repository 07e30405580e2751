package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"qvitc": mainWithPeak})
}

// mainWithPeak is main, and at its end copies what Linux says of the process, peak memory
// among it, to the file that QVITC_PEAK names.
func mainWithPeak() {
	code := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if path := os.Getenv("QVITC_PEAK"); path != "" {
		status, err := os.ReadFile("/proc/self/status")
		if err == nil {
			err = os.WriteFile(path, status, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = exitInternal
		}
	}
	os.Exit(code)
}

// TestScript runs testdata/script/*.txtar. Each script finds tiny.onnx and the
// IDX folder data in its working folder, runs the command as a process of its
// own. The condition [mounts] says that a process may mount a file system. There
// are these commands beside the usual ones:
//
//	fails CODE ARGS...      qvitc must end with CODE and one line, and leave every file as it was
//	ends CODE ARGS...       qvitc must end with CODE
//	json PATH=VALUE...      the last stdout is one JSON object; VALUE is null, a kind (number, string, list, object, bool)
//	                        or the text of the value
//	model TEXT FILE         writes a graph in text form as ONNX
//	tensor FILE DIMS        writes ramps as .npy, .npz (array "image") or .pb; DIMS like 1,1,8,8
//	pictures DIR N [flat]   writes N PNG files: a folder for each class, or one flat folder
//	cut FILE N              keeps the first N bytes, or all but the last -N
//	damage FILE OLD NEW     replaces the one place of OLD in a file by NEW, of the same length
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			shipped, err := filepath.Abs(filepath.Join("..", "..", "testdata"))
			if err != nil {
				return err
			}
			e.Setenv("SHIPPED", shipped)
			e.Setenv("QVITC_ORT", "off")
			return makeFixture(e.WorkDir)
		},
		Condition: func(cond string) (bool, error) {
			if cond != "mounts" {
				return false, fmt.Errorf("condition %q is not known", cond)
			}
			dir := t.TempDir()
			return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=16k", "none", dir).Run() == nil, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"fails": fails, "ends": ends, "json": checkJSON, "model": writeModel,
			"tensor": writeTensor, "pictures": pictures, "cut": cut, "damage": damage,
		},
	})
}

// ends runs qvitc and checks the exit code.
func ends(ts *testscript.TestScript, neg bool, args []string) {
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("qvitc", args[1:]...)
	have := 0
	if e, ok := err.(*exec.ExitError); ok {
		have = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if have != code {
		ts.Fatalf("exit code %d, want %d", have, code)
	}
}

// fails runs qvitc as a user who makes a mistake does: one line that says so,
// perhaps a hint, nothing on stdout, and no file made or changed.
func fails(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.Getenv("WORK")
	before := snapshot(ts, dir)
	ends(ts, neg, args)
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("an error printed on stdout: %q", out)
	}
	var complaints, hints int
	for line := range strings.Lines(ts.ReadFile("stderr")) {
		switch {
		case strings.HasPrefix(line, "qvitc: "):
			complaints++
		case strings.HasPrefix(line, "hint: "):
			hints++
		case complaints > 0:
			ts.Fatalf("after the complaint comes %q", line)
		}
		if len(line) > 4096 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\n' }) {
			ts.Fatalf("not a plain line: %q", line)
		}
	}
	if complaints != 1 || hints > 1 {
		ts.Fatalf("%d lines of complaint and %d hints, want 1 and at most 1", complaints, hints)
	}
	after := snapshot(ts, dir)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if after[name] != before[name] {
			ts.Fatalf("the failed command wrote %s", name)
		}
	}
	if len(after) != len(before) {
		ts.Fatalf("the failed command removed a file: %d files, there were %d", len(after), len(before))
	}
}

// snapshot gives the content of every file by name.
func snapshot(ts *testscript.TestScript, dir string) map[string]string {
	out := map[string]string{}
	ts.Check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	}))
	return out
}

func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	var all map[string]any
	ts.Check(d.Decode(&all))
	if d.More() {
		ts.Fatalf("more than one JSON value on stdout")
	}
	for _, arg := range args {
		path, want, _ := strings.Cut(arg, "=")
		var v any = all
		for _, key := range strings.Split(path, ".") {
			switch x := v.(type) {
			case map[string]any:
				var ok bool
				if v, ok = x[key]; !ok {
					ts.Fatalf("%s is not there", path)
				}
			case []any:
				i, err := strconv.Atoi(key)
				ts.Check(err)
				v = x[i]
			default:
				ts.Fatalf("%s: %q has no parts", path, key)
			}
		}
		kind := map[bool]string{true: "null"}[v == nil]
		switch v.(type) {
		case float64:
			kind = "number"
		case string:
			kind = "string"
		case bool:
			kind = "bool"
		case []any:
			kind = "list"
		case map[string]any:
			kind = "object"
		}
		if text := fmt.Sprint(v); want != kind && want != text {
			ts.Fatalf("%s is %s (%s), want %s", path, text, kind, want)
		}
	}
}

func writeModel(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(saveText(ts.ReadFile(args[0]), ts.MkAbs(args[1])))
}

func writeTensor(ts *testscript.TestScript, neg bool, args []string) {
	n := 1
	var shape []int
	for s := range strings.SplitSeq(args[1], ",") {
		d, err := strconv.Atoi(s)
		ts.Check(err)
		shape = append(shape, d)
		n *= d
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(i%17)/8 - 1
	}
	t := ir.Of(data, shape...)
	path := ts.MkAbs(args[0])
	var b bytes.Buffer
	switch filepath.Ext(path) {
	case ".pb":
		ts.Check(onnxio.WriteTensor(path, t, "image"))
		return
	case ".npz":
		ts.Check(writeNPZ(&b, []namedTensor{{"image", t}}))
	default:
		ts.Check(writeNPY(&b, t))
	}
	ts.Check(os.WriteFile(path, b.Bytes(), 0o666))
}

func pictures(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(writePictures(ts.MkAbs("tiny.onnx"), ts.MkAbs(args[0]), n, len(args) > 2 && args[2] == "flat"))
}

func cut(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	if n < 0 {
		n += len(b)
	}
	ts.Check(os.WriteFile(path, b[:n], 0o666))
}

func damage(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	old, new := []byte(args[1]), []byte(args[2])
	if bytes.Count(b, old) != 1 || len(old) != len(new) {
		ts.Fatalf("%q occurs %d times", old, bytes.Count(b, old))
	}
	ts.Check(os.WriteFile(path, bytes.Replace(b, old, new, 1), 0o666))
}
