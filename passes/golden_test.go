package passes

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/ops"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// Golden files: testdata/<pass>/<case>.txtar with the parts
//
//	in      the graph before
//	plan    optional: the Plan as JSON, over DefaultPlan(4, 4)
//	out     the graph after, or
//	error   the error
//	report  counters and notes
//
// A comment line "oracle: skip, WHY" leaves out the comparison of results before
// and after; "oracle: TOL" sets its tolerance (relative to 1+|want|), 1e-6 by
// default.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		name := filepath.Base(dir)
		if !knownPass(name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			files, err := filepath.Glob(dir + "/*.txtar")
			if err != nil || len(files) < 5 {
				t.Errorf("%d cases, want at least 5 (%v)", len(files), err)
			}
			for _, f := range files {
				t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) { golden(t, name, f) })
			}
		})
	}
}

// TestEveryPassHasGoldenFiles keeps the testdata folder complete.
func TestEveryPassHasGoldenFiles(t *testing.T) {
	for _, g := range Groups(DefaultPlan(4, 4)) {
		for _, p := range g.Passes {
			if _, err := os.Stat("testdata/" + p.Name); err != nil {
				t.Errorf("pass %s: %v", p.Name, err)
			}
		}
	}
}

func knownPass(name string) bool { return findPass(name, DefaultPlan(4, 4)).Run != nil }

func findPass(name string, plan Plan) Pass {
	for _, g := range Groups(plan) {
		if i := indexPass(g.Passes, name); i >= 0 {
			return g.Passes[i]
		}
	}
	return Pass{}
}

func golden(t *testing.T, name, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, f := range a.Files {
		parts[f.Name] = string(f.Data)
	}
	plan := DefaultPlan(4, 4)
	if p := parts["plan"]; p != "" {
		if err := json.Unmarshal([]byte(p), &plan); err != nil {
			t.Fatal(err)
		}
	}
	g, err := ir.Parse(parts["in"], ir.ParseOptions{})
	if err != nil {
		t.Fatalf("in: %v", err)
	}
	infer(t, g)
	before, _ := g.Clone()
	pass := findPass(name, plan)
	report := &Report{Pass: name}
	changed, err := pass.Run(g, report)
	var got []txtar.File
	if err != nil {
		msg := err.Error() + "\n"
		if e := (*ir.Error)(nil); errors.As(err, &e) && e.Hint != "" {
			msg += e.Hint + "\n"
		}
		got = append(got, txtar.File{Name: "error", Data: []byte(msg)})
	} else {
		infer(t, g)
		got = append(got, txtar.File{Name: "out", Data: []byte(text(g))},
			txtar.File{Name: "report", Data: []byte(report.String())})
	}
	if *update {
		keep := a.Files[:0]
		for _, f := range a.Files {
			if f.Name == "in" || f.Name == "plan" {
				keep = append(keep, f)
			}
		}
		a.Files = append(keep, got...)
		if err := os.WriteFile(file, txtar.Format(a), 0o666); err != nil {
			t.Fatal(err)
		}
	} else {
		for _, f := range got {
			if want := parts[f.Name]; want != string(f.Data) {
				t.Errorf("%s differs (rewrite with -update):\n%s\nwant:\n%s", f.Name, f.Data, want)
			}
		}
	}
	if err != nil {
		return
	}
	if !changed && text(before) != text(g) {
		t.Error("the pass changed the graph and says that it did not")
	}
	if err := g.Check(); err != nil {
		t.Fatalf("after the pass: %v", err)
	}
	compareOracle(t, oracleTolerance(t, string(a.Comment)), before, g)
	runAgain(t, pass, g)
}

// infer writes the types, which passes do not count as a change.
func infer(t *testing.T, g *ir.Graph) {
	t.Helper()
	if _, err := ops.Infer(g); err != nil {
		t.Fatal(err)
	}
}

// text prints the graph; constants of more than 16 elements as a digest.
func text(g *ir.Graph) string {
	var b strings.Builder
	if err := g.Print(&b, ir.PrintOptions{MaxElems: 16}); err != nil {
		return err.Error()
	}
	return b.String()
}

func runAgain(t *testing.T, p Pass, g *ir.Graph) {
	t.Helper()
	once := text(g)
	changed, err := p.Run(g, &Report{Pass: p.Name})
	if err != nil {
		t.Fatalf("second run: %v", err)
	}
	infer(t, g)
	if changed || text(g) != once {
		t.Errorf("the second run changes the graph (says %v):\n%s\nafter the first:\n%s", changed, text(g), once)
	}
}

func oracleTolerance(t *testing.T, comment string) float64 {
	_, s, ok := strings.Cut(comment, "oracle: ")
	if !ok {
		return 1e-6
	}
	s, _, _ = strings.Cut(s, "\n")
	if strings.HasPrefix(s, "skip, ") {
		return -1
	}
	var tol float64
	if _, err := fmt.Sscan(s, &tol); err != nil {
		t.Fatalf("comment: oracle: %q", s)
	}
	return tol
}

// compareOracle runs both graphs on the same random inputs.
func compareOracle(t *testing.T, tol float64, before, after *ir.Graph) {
	t.Helper()
	if tol < 0 {
		return
	}
	worst, err := oracleDiff(before, after, 1)
	if err != nil {
		t.Fatal(err)
	}
	if worst > tol {
		t.Errorf("results differ by %g relative to 1+|want|, allowed %g", worst, tol)
	}
}

// oracleDiff gives the largest |a-b|/(1+|a|) over all outputs.
func oracleDiff(before, after *ir.Graph, seed uint64) (float64, error) {
	in := randomInputs(before, seed)
	a, err := ops.EvalGraph(before, in)
	if err != nil {
		return 0, fmt.Errorf("before: %w", err)
	}
	b, err := ops.EvalGraph(after, in)
	if err != nil {
		return 0, fmt.Errorf("after: %w", err)
	}
	worst := 0.0
	for _, v := range before.Outputs {
		x, y := a[v.Name], b[v.Name]
		if y == nil || x.Type().String() != y.Type().String() {
			return 0, fmt.Errorf("output %q: %v before, %v after", v.Name, x.Type(), y)
		}
		for i := range x.Len() {
			p, q := x.Float(i), y.Float(i)
			if math.IsNaN(p) && math.IsNaN(q) || p == q {
				continue
			}
			d := math.Abs(p-q) / (1 + math.Abs(p))
			if !(d <= worst) {
				worst = d
			}
		}
	}
	return worst, nil
}

// randomInputs fills the inputs; symbols get the sizes 2, 3, ... in order.
func randomInputs(g *ir.Graph, seed uint64) map[string]*ir.Tensor {
	r := rand.New(rand.NewPCG(seed, 17))
	sizes := map[string]int{}
	in := map[string]*ir.Tensor{}
	for _, v := range g.Inputs {
		dims := make([]int, len(v.Type.Shape))
		n := 1
		for i, d := range v.Type.Shape {
			dims[i] = int(d.Size)
			if !d.Known() {
				if sizes[d.Sym] == 0 || d.Sym == "" {
					sizes[d.Sym] = 2 + len(sizes)
				}
				dims[i] = sizes[d.Sym]
			}
			n *= dims[i]
		}
		switch v.Type.Elem {
		case ir.Int64:
			d := make([]int64, n)
			for i := range d {
				d[i] = r.Int64N(3)
			}
			in[v.Name] = ir.Of(d, dims...)
		case ir.Bool:
			d := make([]bool, n)
			for i := range d {
				d[i] = r.IntN(2) == 1
			}
			in[v.Name] = ir.Of(d, dims...)
		default:
			d := make([]float32, n)
			for i := range d {
				d[i] = float32(r.NormFloat64())
			}
			in[v.Name] = ir.Of(d, dims...)
		}
	}
	return in
}
