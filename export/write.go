package export

import (
	"context"
	"errors"

	"github.com/qvitc/qvitc/internal/atomicfile"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
)

// Options say what a written file is compared with.
type Options struct {
	Write  onnxio.WriteOptions
	Format Format // of the graph; empty: packed

	// Student computes the reference answers, which the file must give bit for
	// bit; nil skips the comparison.
	Student *ir.Graph
	// Samples are inputs of the student and the file, each a whole batch.
	Samples []map[string]*ir.Tensor
	Threads int
	// ORT, when set, also runs the file on the samples.
	ORT *ORT
	// Force keeps the file although it does not match.
	Force bool
}

// Result is what Write measured.
type Result struct {
	Path    string  `json:"path"`
	Bytes   int64   `json:"bytes"`
	Samples int     `json:"samples"`  // rows compared
	Layers  int     `json:"layers"`   // weights whose codes and scales were compared
	MaxDiff float64 `json:"max_diff"` // largest difference of an output value from the student's

	ORT *ORTResult `json:"onnxruntime,omitempty"` // nil: not asked
}

// ErrMismatch says that the written file does not reproduce the student.
var ErrMismatch = errors.New("the written file does not give the student's answers")

// Write encodes g, writes it to a temporary file beside path, reads that back,
// holds its weights against the student's, runs it on the samples, compares the
// answers with those of g and of the student, and renames it. On any
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
		if err := data.Write(); err != nil {
			return nil, err
		}
		defer func() {
			if !committed {
				data.Undo()
			}
		}()
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
	if err := verify(ctx, f.TempName(), g, o, res); err != nil && !(o.Force && errors.Is(err, ErrMismatch)) {
		return res, err
	}
	err = f.Commit()
	committed = err == nil
	return res, err
}
