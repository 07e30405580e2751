package doors

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/qvitc/qvitc/"

// imports reads the module-internal imports of every non-test Go file.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	root := filepath.Join("..", "..")
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "asmgen") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		room := path.Dir(filepath.ToSlash(rel))
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		if _, ok := found[room]; !ok {
			found[room] = nil
		}
		for _, im := range f.Imports {
			s, _ := strconv.Unquote(im.Path.Value)
			if r, ok := strings.CutPrefix(s, module); ok {
				found[room] = append(found[room], r)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestDoors fails when a room imports one that the table does not allow.
func TestDoors(t *testing.T) {
	for room, ims := range imports(t) {
		allowed, listed := Allowed[room]
		small := strings.HasPrefix(room, "internal/") && room != "internal/kernel"
		if !listed && !small && len(ims) > 0 {
			t.Errorf("room %s is not in the table", room)
			continue
		}
		for _, im := range ims {
			open := strings.HasPrefix(im, "internal/") && im != "internal/kernel"
			if !open && !slices.Contains(allowed, im) && !slices.Contains(allowed, "*") {
				t.Errorf("%s imports %s: not in the table of doors", room, im)
			}
		}
	}
}

// TestNoDrawers refuses packages named for nothing.
func TestNoDrawers(t *testing.T) {
	for room := range imports(t) {
		switch path.Base(room) {
		case "util", "utils", "common", "helpers", "misc":
			t.Errorf("%s: name the package for what it holds", room)
		}
	}
}

// TestTableIsAcyclic proves that the table itself allows no cycle.
func TestTableIsAcyclic(t *testing.T) {
	const visiting, done = 1, 2
	state := map[string]int{}
	var visit func(room string) error
	visit = func(room string) error {
		switch state[room] {
		case done:
			return nil
		case visiting:
			return fmt.Errorf("the table has a cycle through %s", room)
		}
		state[room] = visiting
		for _, to := range Allowed[room] {
			if err := visit(to); err != nil {
				return err
			}
		}
		state[room] = done
		return nil
	}
	for room := range Allowed {
		if err := visit(room); err != nil {
			t.Error(err)
		}
	}
}

// docs/architecture.md has the table for people: the same rooms with the same doors,
// and every door is used.
func TestTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if name := strings.Trim(strings.Fields(cells[0] + " -")[0], "`/"); strings.HasPrefix(line, "| `") && len(cells) == 3 {
			told[name] = strings.TrimSpace(cells[2])
		}
	}
	told["."] = told["qvitc"]
	real := imports(t)
	for room, allowed := range Allowed {
		var want []string
		for _, im := range allowed {
			if im == "*" {
				want = append(want, "all")
				continue
			}
			if !slices.Contains(real[room], im) {
				t.Errorf("%s may import %s and does not", room, im)
			}
			if im != "onnxio/onnxpb" { // generated, a part of onnxio
				want = append(want, im)
			}
		}
		if room == "onnxio/onnxpb" || strings.HasPrefix(room, "examples/") || room == "bench/gemm" {
			continue // no rooms of the house
		}
		if len(want) == 0 {
			want = []string{"-"}
		}
		if text, ok := told[room]; !ok || text != strings.Join(want, ", ") {
			t.Errorf("docs/architecture.md says of %s: %q, the table says %q", room, text, strings.Join(want, ", "))
		}
	}
}
