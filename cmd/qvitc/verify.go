package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/ops"
	"github.com/qvitc/qvitc/runtime"
	"github.com/spf13/cobra"
)

// verified is what verify --json prints.
type verified struct {
	Passed    int           `json:"passed"`
	Failed    int           `json:"failed"`
	Deviation float64       `json:"deviation"` // largest of all passed cases, as a part of what is allowed
	Worst     string        `json:"worst,omitempty"`
	Failures  []failedCheck `json:"failures"`
}

type failedCheck struct {
	Folder string `json:"folder"`
	Reason string `json:"reason"`
}

func (a *app) verifyCmd() *cobra.Command {
	var engine string
	c := &cobra.Command{
		Use:   "verify DIR...",
		Short: "Run ONNX test folders and compare with their stored outputs",
		Long: `verify runs every ONNX backend-test folder in or below the folders given: a
model.onnx (or NAME.onnx beside the folder NAME) with test_data_set_*/input_N.pb
and output_N.pb. The slow exact evaluator and the fast runtime must both give the
stored types, shapes and values, |got-want| <= 1e-7 + 1e-3 |want|, and for 16-bit
floats two units in the last place where that is more. It ends with
"N passed, N failed", and with code 6 where one failed.`,
		Example: "  qvitc verify testdata/conformance",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return failf(exitUsage, "", "verify takes test folders, none is given")
			}
			return a.verify(c.Context(), args, engine)
		},
	}
	c.Flags().StringVar(&engine, "engine", "both", "what runs the models: both, exact or fast")
	return c
}

func (a *app) verify(ctx context.Context, dirs []string, engine string) error {
	engines, ok := map[string][]string{"both": {"exact", "fast"}, "exact": {"exact"}, "fast": {"fast"}}[engine]
	if !ok {
		return failf(exitUsage, "use both, exact or fast", "--engine %q is not known", engine)
	}
	var cases []testCase
	for _, dir := range dirs {
		found, err := findCases(dir)
		if err != nil {
			return err
		}
		cases = append(cases, found...)
	}
	v := verified{Failures: []failedCheck{}}
	p := a.progress("verify", len(cases))
	defer p.done()
	for i, c := range cases {
		if err := ctx.Err(); err != nil {
			return fail(exitVerify, err)
		}
		worst, err := c.run(ctx, engines, a.threads)
		switch {
		case errors.Is(err, context.Canceled):
			return fail(exitVerify, err)
		case err != nil:
			v.Failed++
			v.Failures = append(v.Failures, failedCheck{c.dir, oneLine(err.Error())})
			if !a.json {
				fmt.Fprintf(a.out, "FAIL  %s: %s\n", c.dir, oneLine(err.Error()))
			}
		default:
			v.Passed++
			if worst > v.Deviation || v.Worst == "" {
				v.Deviation, v.Worst = worst, c.dir
			}
			if a.verbose > 0 {
				a.note("ok    %s  deviation %.2g of what is allowed", c.dir, worst)
			}
		}
		p.at(i+1, "")
	}
	if a.json {
		if err := a.printJSON(v); err != nil {
			return err
		}
	} else {
		if v.Passed > 0 {
			fmt.Fprintf(a.out, "largest deviation %.2g of what is allowed, in %s\n", v.Deviation, v.Worst)
		}
		fmt.Fprintf(a.out, "%d passed, %d failed\n", v.Passed, v.Failed)
	}
	if v.Failed > 0 {
		return failf(exitVerify, "", "%d of %d test folders failed", v.Failed, len(cases))
	}
	return nil
}

// testCase is a folder of stored inputs and outputs with its model.
type testCase struct {
	dir   string
	model string
	sets  []string
}

// findCases lists the test folders in and below dir, in the order of names.
func findCases(dir string) ([]testCase, error) {
	var out []testCase
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		sets, err := filepath.Glob(filepath.Join(escapeGlob(path), "test_data_set_*"))
		if err != nil || len(sets) == 0 {
			return err
		}
		c := testCase{dir: path, model: filepath.Join(path, "model.onnx"), sets: sets}
		if _, err := os.Stat(c.model); err != nil {
			if beside := filepath.Clean(path) + ".onnx"; isFile(beside) {
				c.model = beside
			}
		}
		out = append(out, c)
		return fs.SkipDir
	})
	if err != nil {
		return nil, fail(exitIO, err)
	}
	if len(out) == 0 {
		return nil, failf(exitIO, "want a model.onnx with folders test_data_set_* beside it", "%s: no test folder in it", dir)
	}
	return out, nil
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// run gives the largest deviation as a part of what is allowed.
func (c *testCase) run(ctx context.Context, engines []string, threads int) (worst float64, err error) {
	g, err := onnxio.Load(c.model, onnxio.Options{})
	if err != nil {
		return 0, err
	}
	for _, set := range c.sets {
		in, err := readTensors(set, "input", g.Inputs)
		if err != nil {
			return 0, err
		}
		want, err := readTensors(set, "output", g.Outputs)
		if err != nil {
			return 0, err
		}
		for _, e := range engines {
			d, err := compareRun(ctx, g, e, threads, in, want)
			if err != nil {
				return 0, fmt.Errorf("%s, %s: %w", filepath.Base(set), e, err)
			}
			worst = max(worst, d)
		}
	}
	return worst, nil
}

// readTensors reads the files that follow the values in order; a missing file
// is an input left out.
func readTensors(dir, kind string, values []*ir.Value) (map[string]*ir.Tensor, error) {
	out := map[string]*ir.Tensor{}
	for i, v := range values {
		path := filepath.Join(dir, fmt.Sprintf("%s_%d.pb", kind, i))
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		t, _, err := onnxio.ReadTensor(path)
		if err == nil && t.Elem == ir.Uint16 && v.Type.Elem == ir.BFloat16 { // how older test folders store it
			t, err = ir.Wrap(ir.BFloat16, t.Shape, t.Raw())
		}
		if err != nil {
			return nil, err
		}
		out[v.Name] = t
	}
	if kind == "output" && len(out) == 0 && len(values) > 0 {
		return nil, fmt.Errorf("%s: no %s_0.pb in it", dir, kind)
	}
	return out, nil
}

// compareRun runs the graph on one engine and compares every stored output.
func compareRun(ctx context.Context, g *ir.Graph, engine string, threads int, in, want map[string]*ir.Tensor) (worst float64, err error) {
	var got map[string]*ir.Tensor
	if engine == "exact" {
		got, err = ops.EvalGraph(g, in)
	} else {
		got, err = runFast(ctx, g, threads, in)
	}
	if err != nil {
		return 0, err
	}
	for _, v := range g.Outputs {
		w := want[v.Name]
		if w == nil {
			continue
		}
		d, err := deviation(got[v.Name], w)
		if err != nil {
			return 0, fmt.Errorf("output %s %w", ir.Quote(v.Name), err)
		}
		worst = max(worst, d)
	}
	return worst, nil
}

func runFast(ctx context.Context, g *ir.Graph, threads int, in map[string]*ir.Tensor) (map[string]*ir.Tensor, error) {
	s, err := runtime.NewSession(g, runtime.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	takes := map[string]*ir.Tensor{}
	for _, v := range g.Inputs {
		takes[v.Name] = in[v.Name]
	}
	return s.Run(ctx, takes)
}

// deviation gives the largest |got-want| as a part of 1e-7 + 1e-3 |want|, or of
// two units in the last place of a 16-bit type where those are more: there the
// order of a sum moves the last bit. NaN equals NaN. Types that are not floating
// must be equal.
func deviation(got, want *ir.Tensor) (worst float64, err error) {
	if got == nil {
		return 0, errors.New("was not computed")
	}
	if g, w := got.Type().String(), want.Type().String(); g != w {
		return 0, fmt.Errorf("is %s, stored is %s", g, w)
	}
	if want.Elem == ir.String {
		for i, s := range ir.Data[string](want) {
			if h := ir.Data[string](got)[i]; h != s {
				return 0, fmt.Errorf("element %d is %s, stored is %s", i, ir.Quote(h), ir.Quote(s))
			}
		}
		return 0, nil
	}
	for i := range want.Len() {
		if !want.Elem.IsFloat() {
			if g, w := got.Int(i), want.Int(i); g != w {
				return 0, fmt.Errorf("element %d is %d, stored is %d", i, g, w)
			}
			continue
		}
		g, w := got.Float(i), want.Float(i)
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		d := math.Abs(g-w) / max(1e-7+1e-3*math.Abs(w), 2*ulp16(want.Elem, w))
		if !(d <= 1) {
			return 0, fmt.Errorf("element %d is %v, stored is %v", i, g, w)
		}
		worst = max(worst, d)
	}
	return worst, nil
}

// ulp16 is the distance of w to the next number of a 16-bit type, 0 for others.
func ulp16(e ir.Elem, w float64) float64 {
	_, exp := math.Frexp(w) // w is in [2^(exp-1), 2^exp)
	switch e {
	case ir.Float16:
		return math.Ldexp(1, max(exp, -13)-11)
	case ir.BFloat16:
		return math.Ldexp(1, max(exp, -125)-8)
	}
	return 0
}
