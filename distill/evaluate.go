package distill

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/internal/guard"
	"github.com/qvitc/qvitc/ir"
	rt "github.com/qvitc/qvitc/runtime"
)

// Evaluation is what a graph answers on a data set.
type Evaluation struct {
	Images, Labelled int
	Top1, Top5       float64 // part of the labelled images, 0 to 1
	Classes          int
	Predicted        []int32   // class of the largest logit, by image
	Logits           []float32 // [images, classes], the mean over the heads
	NotFinite        int       // images with a logit that is NaN or infinite
}

// EvalOptions say how a graph is evaluated; the zero value is good.
type EvalOptions struct {
	Threads int         // goroutines; GOMAXPROCS
	Logits  []*ir.Value // class heads; the graph's outputs

	// Progress is called after each batch with the number of images done.
	Progress func(images int)
}

const evalShard = 32 // images that are run together

// Evaluate runs g on every batch of epoch 0. The logits of several heads are
// averaged, as DeiT does. The answers do not depend on the number of threads.
func Evaluate(ctx context.Context, g *ir.Graph, data Source, o EvalOptions) (*Evaluation, error) {
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if len(g.Inputs) != 1 {
		return nil, fmt.Errorf("graph %s has %d inputs: evaluation takes models with one, the image", ir.Quote(g.Name), len(g.Inputs))
	}
	logits := logitsOf(g, o.Logits)
	plans := map[int]*rt.Program{}
	states := make([]map[int]*rt.State, o.Threads)
	for i := range states {
		states[i] = map[int]*rt.State{}
	}
	e := &Evaluation{}
	var top1, top5 int
	f := newFeed(data, 0, data.Batches())
	defer f.stop()
	for range data.Batches() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, err := f.next()
		if err != nil {
			return nil, err
		}
		n := len(b.Labels)
		bounds, err := cutFor(n, (n+evalShard-1)/evalShard, g)
		if err != nil {
			return nil, err
		}
		for s := range len(bounds) - 1 {
			k := bounds[s+1] - bounds[s]
			if plans[k] != nil {
				continue
			}
			if plans[k], err = rt.Compile(g, rt.Config{Batch: k, Taps: notOutputs(g, logits)}); err != nil {
				return nil, err
			}
			if e.Classes, err = classesOf(plans[k], logits, k); err != nil {
				return nil, err
			}
		}
		first := len(e.Logits)
		e.Logits = append(e.Logits, make([]float32, n*e.Classes)...)
		out := e.Logits[first:]
		if err := e.shards(g, b, bounds, plans, states, logits, out); err != nil {
			return nil, err
		}
		for i, label := range b.Labels {
			row := out[i*e.Classes : (i+1)*e.Classes]
			best := argMax([][]float32{row})
			e.Predicted = append(e.Predicted, int32(best))
			if slices.ContainsFunc(row, func(x float32) bool { return !finite(float64(x)) }) {
				e.NotFinite++
			}
			if label < 0 {
				continue
			}
			if int(label) >= e.Classes {
				return nil, fmt.Errorf("label %d is out of range: the model has the classes 0 to %d", label, e.Classes-1)
			}
			e.Labelled++
			switch r := rank(row, int(label)); {
			case r == 0:
				top1++
				top5++
			case r < 5:
				top5++
			}
		}
		e.Images += n
		if o.Progress != nil {
			o.Progress(e.Images)
		}
	}
	if e.Labelled > 0 {
		e.Top1, e.Top5 = float64(top1)/float64(e.Labelled), float64(top5)/float64(e.Labelled)
	}
	return e, nil
}

// shards runs one batch; worker t takes shards t, t+T, ...
func (e *Evaluation) shards(g *ir.Graph, b *dataset.Batch, bounds []int, plans map[int]*rt.Program, states []map[int]*rt.State, logits []*ir.Value, out []float32) error {
	n := len(bounds) - 1
	errs := make([]error, n)
	per := len(b.X) / len(b.Labels)
	var wg sync.WaitGroup
	for t := range min(len(states), n) {
		wg.Go(func() {
			for s := t; s < n; s += len(states) {
				lo, hi := bounds[s], bounds[s+1]
				errs[s] = guard.Call(func() error {
					st, err := runOn(states[t], plans[hi-lo], g, hi-lo, b.X[lo*per:hi*per], nil)
					if err != nil {
						return err
					}
					dst := out[lo*e.Classes : hi*e.Classes]
					for _, v := range logits {
						for i, x := range st.Value(v) {
							dst[i] += x / float32(len(logits))
						}
					}
					return nil
				})
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// rank counts the classes that come before the label: those with a larger logit,
// and equal ones of smaller index. A NaN label logit comes last.
func rank(row []float32, label int) int {
	r := 0
	z := row[label]
	for i, x := range row {
		if x > z || x == z && i < label || z != z && i != label {
			r++
		}
	}
	return r
}

// Agreement is the part of the images on which two evaluations of the same data
// predict the same class, and the largest difference of a logit.
func Agreement(a, b *Evaluation) (part float64, largest float32, err error) {
	if a.Images != b.Images || a.Classes != b.Classes || a.Images == 0 {
		return 0, 0, fmt.Errorf("cannot compare %d images of %d classes with %d images of %d classes", a.Images, a.Classes, b.Images, b.Classes)
	}
	same := 0
	for i, p := range a.Predicted {
		if p == b.Predicted[i] {
			same++
		}
	}
	for i, x := range a.Logits {
		largest = max(largest, max(x-b.Logits[i], b.Logits[i]-x))
	}
	return float64(same) / float64(a.Images), largest, nil
}
