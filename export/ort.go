package export

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/qvitc/qvitc/ir"
)

// ORT is an installed ONNX Runtime that written files are tried on. It runs in a
// process of its own and is never needed.
type ORT struct {
	Language string        // "python" or "node"
	Command  string        // the interpreter
	Timeout  time.Duration // of one run; 0: two minutes
}

//go:embed ort_run.py
var pythonRunner string

//go:embed ort_run.js
var nodeRunner string

// ORTResult is how ONNX Runtime answers compared with this runtime. Its floats
// are rounded otherwise, so a value next to a rounding tie may get another code
// and a deep network of few bits carry that on to its answer.
type ORTResult struct {
	Version string  `json:"version"`
	Samples int     `json:"samples"`
	Agree   int     `json:"agree"` // samples with the same arg-max, or with a tie within the difference
	MaxDiff float64 `json:"max_diff"`
	Median  float64 `json:"median_diff"`
	Noise   float64 `json:"noise"` // median by which our own answers move when the norms change by 4e-6

	largest float64
	diffs   []float64
}

// verdict is an error when the answers cannot be those of one model: when half
// of the samples differ by more than a twentieth of the largest output and by
// more than four times the noise; in a model that is quiet also when more than a
// fifth of the samples get another class.
func (r *ORTResult) verdict() error {
	if r == nil || r.Samples == 0 {
		return nil
	}
	quiet := r.Noise < r.largest/20
	if r.Median <= max(r.largest/20, 4*r.Noise) && (!quiet || r.Agree*5 >= r.Samples*4) {
		return nil
	}
	return fmt.Errorf("%w: ONNX Runtime %s gives the same class for %d of %d samples, median difference %.3g, largest %.3g; noise %.3g",
		ErrMismatch, r.Version, r.Agree, r.Samples, r.Median, r.MaxDiff, r.Noise)
}

// check runs the file on one batch of inputs.
func (o *ORT) check(ctx context.Context, file string, outputs []*ir.Value, in, ours map[string]*ir.Tensor, res *Result) error {
	theirs, version, err := o.Run(ctx, file, in)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: ONNX Runtime: %v", ErrMismatch, err)
	}
	if res.ORT == nil {
		res.ORT = &ORTResult{Version: version}
	}
	r := res.ORT
	for _, v := range outputs {
		want, got := ours[v.Name], theirs[v.Name]
		if got == nil || !slices.Equal(want.Shape, got.Shape) || len(want.Shape) == 0 {
			return fmt.Errorf("%w: output %s of ONNX Runtime is %v, want %v", ErrMismatch, ir.Quote(v.Name), typeOf(got), typeOf(want))
		}
		r.rows(want, got)
	}
	if len(r.diffs) == 0 {
		return nil
	}
	slices.Sort(r.diffs)
	r.Median = r.diffs[len(r.diffs)/2]
	return nil
}

// rows takes up two tensors of answers, one row a sample.
func (r *ORTResult) rows(want, got *ir.Tensor) {
	width := max(1, want.Shape[len(want.Shape)-1])
	for at := 0; at+width <= want.Len(); at += width {
		r.row(want.F32()[at:at+width], got.F32()[at:at+width])
	}
}

// row takes up the answers to one sample.
func (r *ORTResult) row(want, got []float32) {
	diff, w, g := 0.0, 0, 0
	for i := range want {
		d := math.Abs(float64(want[i]) - float64(got[i]))
		if !(d <= diff) {
			diff = d
		}
		if want[i] > want[w] {
			w = i
		}
		if got[i] > got[g] {
			g = i
		}
		r.largest = max(r.largest, math.Abs(float64(want[i])))
	}
	r.Samples++
	if w == g || float64(want[w]-want[g]) <= 2*diff {
		r.Agree++
	}
	if !(diff <= r.MaxDiff) {
		r.MaxDiff = diff
	}
	if math.IsNaN(diff) {
		diff = math.Inf(1)
	}
	r.diffs = append(r.diffs, diff)
}

// Run runs a model on float32 inputs and gives its float32 outputs by name and
// the version of ONNX Runtime.
func (o *ORT) Run(ctx context.Context, model string, in map[string]*ir.Tensor) (map[string]*ir.Tensor, string, error) {
	dir, err := os.MkdirTemp("", "qvitc-ort")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(dir)
	type tensor struct {
		Name string `json:"name"`
		Dims []int  `json:"dims"`
		File string `json:"file"`
	}
	var task struct {
		Model   string   `json:"model"`
		Dir     string   `json:"dir"`
		Inputs  []tensor `json:"inputs"`
		Version string   `json:"version"`
		Outputs []tensor `json:"outputs"`
	}
	if task.Model, err = filepath.Abs(model); err != nil {
		return nil, "", err
	}
	task.Dir = dir
	for name, t := range in { // order does not matter: files are named by number, inputs by name
		file := filepath.Join(dir, fmt.Sprintf("in%d", len(task.Inputs)))
		raw, err := binary.Append(nil, binary.LittleEndian, t.F32())
		if err != nil {
			return nil, "", err
		}
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			return nil, "", err
		}
		task.Inputs = append(task.Inputs, tensor{name, t.Shape, file})
	}
	request, err := json.Marshal(task)
	if err != nil {
		return nil, "", err
	}
	limit := o.Timeout
	if limit == 0 {
		limit = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	args := []string{"-c", pythonRunner}
	if o.Language == "node" {
		args = []string{"-e", nodeRunner}
	}
	c := exec.CommandContext(ctx, o.Command, args...)
	c.Stdin, c.WaitDelay = bytes.NewReader(request), time.Second
	var complaint bytes.Buffer
	c.Stderr = &complaint
	answer, err := c.Output()
	if err != nil {
		if ctx.Err() != nil {
			return nil, "", fmt.Errorf("no answer within %v", limit)
		}
		return nil, "", errors.New(lastLine(complaint.String(), err.Error()))
	}
	if err := json.Unmarshal(answer, &task); err != nil {
		return nil, "", fmt.Errorf("its answer is not understood: %v", err)
	}
	out := map[string]*ir.Tensor{}
	for _, t := range task.Outputs {
		raw, err := os.ReadFile(t.File)
		if err != nil {
			return nil, "", err
		}
		n, err := ir.NumElems(t.Dims)
		if err != nil || len(raw) != 4*n {
			return nil, "", fmt.Errorf("its output %s has %d bytes for shape %v", ir.Quote(t.Name), len(raw), t.Dims)
		}
		v := make([]float32, n)
		if _, err := binary.Decode(raw, binary.LittleEndian, v); err != nil {
			return nil, "", err
		}
		out[t.Name] = ir.Of(v, t.Dims...)
	}
	return out, task.Version, nil
}

// lastLine is the last line of a complaint that says something.
func lastLine(s, byDefault string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for _, l := range slices.Backward(lines) {
		if l = strings.TrimSpace(l); l != "" {
			return l
		}
	}
	return byDefault
}
