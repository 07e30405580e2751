package export

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"

	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/runtime"
)

// Options say what a written file is compared with.
type Options struct {
	Write onnxio.WriteOptions

	// Student computes the reference answers; nil skips the comparison.
	Student *ir.Graph
	// Samples are inputs of the student and the file, each a whole batch.
	Samples []map[string]*ir.Tensor
	// Agreement is the least share of samples whose arg-max must be equal (0.98
	// when zero). Codes that sit on a rounding tie may fall differently in float
	// and integer arithmetic, so that equality of every logit cannot be asked.
	Agreement float64
	Threads   int
	// Force keeps the file although it does not match.
	Force bool
}

// Result is what Write measured.
type Result struct {
	Path      string  `json:"path"`
	Bytes     int64   `json:"bytes"`
	Samples   int     `json:"samples"`   // rows compared
	Agreement float64 `json:"agreement"` // share of rows with equal arg-max
	MaxDiff   float64 `json:"max_diff"`  // largest difference of an output value
	Median    float64 `json:"median_diff"`
}

// ErrMismatch says that the written file does not reproduce the student.
var ErrMismatch = errors.New("the written file does not give the student's answers")

// Write encodes g, writes it to a temporary file beside path, reads that back,
// runs it on the samples, compares it with the student, and renames it. On any
// error path is left as it was. With external data (onnxio.WriteOptions) the
// constants go to a second file, written first and removed when Write fails. Comparison is part of the contract: a mismatch
// gives ErrMismatch and no file, unless Force is set.
func Write(ctx context.Context, path string, g *ir.Graph, o Options) (*Result, error) {
	b, data, err := onnxio.EncodeFor(path, g, o.Write)
	if err != nil {
		return nil, err
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Abort()
	committed := false
	if data != nil {
		if _, err := os.Lstat(data.Path); errors.Is(err, fs.ErrNotExist) {
			defer func() {
				if !committed {
					_ = os.Remove(data.Path)
				}
			}()
		}
		if err := data.Write(); err != nil {
			return nil, err
		}
	}
	if _, err := f.Write(b); err != nil {
		return nil, err
	}
	if err := f.Seal(); err != nil {
		return nil, err
	}
	res := &Result{Path: path, Bytes: int64(len(b))}
	if data != nil {
		res.Bytes += data.Size
	}
	if o.Student != nil && len(o.Samples) > 0 {
		if err := verify(ctx, f.TempName(), o, res); err != nil {
			return res, err
		}
		need := o.Agreement
		if need == 0 {
			need = 0.98
		}
		if res.Agreement < need && !o.Force {
			return res, fmt.Errorf("%w: %.1f %% of %d samples agree, want %.1f %%; largest difference %.3g",
				ErrMismatch, 100*res.Agreement, res.Samples, 100*need, res.MaxDiff)
		}
	}
	err = f.Commit()
	committed = err == nil
	return res, err
}

// verify runs the sealed file and the student on the samples.
func verify(ctx context.Context, file string, o Options, res *Result) error {
	if _, err := os.Stat(file); err != nil {
		return err
	}
	back, err := onnxio.Load(file, onnxio.Options{})
	if err != nil {
		return fmt.Errorf("the written file does not read back: %w", err)
	}
	ours, err := runtime.NewSession(back, runtime.Options{Threads: o.Threads})
	if err != nil {
		return fmt.Errorf("the written file does not run: %w", err)
	}
	student, err := runtime.NewSession(o.Student, runtime.Options{Threads: o.Threads})
	if err != nil {
		return err
	}
	var diffs []float64
	equal := 0
	for _, in := range o.Samples {
		want, err := student.Run(ctx, in)
		if err != nil {
			return err
		}
		got, err := ours.Run(ctx, in)
		if err != nil {
			return fmt.Errorf("the written file does not run: %w", err)
		}
		for _, v := range o.Student.Outputs {
			w, h := want[v.Name], got[v.Name]
			if h == nil || h.Type().String() != w.Type().String() || len(w.Shape) == 0 {
				return fmt.Errorf("output %s of the written file: have %v, want %v", ir.Quote(v.Name), typeOf(h), w.Type())
			}
			width := w.Shape[len(w.Shape)-1]
			for r := 0; r+width <= w.Len() && width > 0; r += width {
				d, same := compareRow(w.F32()[r:r+width], h.F32()[r:r+width])
				diffs = append(diffs, d)
				if same {
					equal++
				}
			}
		}
	}
	res.Samples = len(diffs)
	if res.Samples > 0 {
		res.Agreement = float64(equal) / float64(res.Samples)
		res.MaxDiff, res.Median = spread(diffs)
	}
	return nil
}

func typeOf(t *ir.Tensor) string {
	if t == nil {
		return "nothing"
	}
	return t.Type().String()
}

func compareRow(want, have []float32) (diff float64, same bool) {
	wi, hi := 0, 0
	for i := range want {
		d := math.Abs(float64(want[i]) - float64(have[i]))
		if !(d <= diff) {
			diff = d
		}
		if want[i] > want[wi] {
			wi = i
		}
		if have[i] > have[hi] {
			hi = i
		}
	}
	return diff, wi == hi && !math.IsNaN(diff)
}

// spread gives the largest and the middle value.
func spread(v []float64) (largest, median float64) {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)-1], s[len(s)/2]
}
