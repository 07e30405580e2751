package quantize

import (
	"context"
	"fmt"
	"math"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/qvitc/qvitc/internal/guard"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// Batches gives batch i of images: x holds n images as the graph's input wants
// them (NCHW, row-major); ok is false after the last. It is called from one
// goroutine with i = 0, 1, 2, ... and x is read before the next call.
type Batches func(i int) (x []float32, n int, ok bool)

// SliceBatches cuts images that lie in memory into batches of at most size
// images; perImage is the number of values of one image.
func SliceBatches(x []float32, perImage, size int) Batches {
	images := len(x) / perImage
	return func(i int) ([]float32, int, bool) {
		lo := i * size
		if lo >= images {
			return nil, 0, false
		}
		hi := min(lo+size, images)
		return x[lo*perImage : hi*perImage], hi - lo, true
	}
}

// floatGraph is the graph of the un-quantised activations: a copy in which
// every FakeQuant is bypassed, its reader reads its input.
type floatGraph struct {
	g     *ir.Graph
	of    map[*ir.Value]*ir.Value // value of the original -> its float value in g
	input *ir.Value               // the one graph input of g
	fixed int                     // batch size that the input's shape prescribes; 0: any
	image int                     // values of one image
}

func newFloatGraph(g *ir.Graph) (*floatGraph, error) { return newTapped(g, false) }

// newTapped is newFloatGraph, or with the quantisers left at work.
func newTapped(g *ir.Graph, quantised bool) (*floatGraph, error) {
	if len(g.Inputs) != 1 {
		return nil, fmt.Errorf("graph %s has %d inputs; calibration feeds exactly one, the images", ir.Quote(g.Name), len(g.Inputs))
	}
	c, m := g.Clone()
	f := &floatGraph{g: c, of: m, input: c.Inputs[0], image: 1}
	for n := range g.Nodes() {
		if quantised || !n.IsOwn("FakeQuant") {
			continue
		}
		k := m[n.Out()].Def
		m[n.Out()] = k.Inputs[0]
		c.ReplaceUses(k.Out(), k.Inputs[0])
		c.Remove(k)
	}
	t := f.input.Type
	if t.Elem != ir.Float32 || t.Rank() < 1 {
		return nil, &ir.Error{Tensor: f.input.Name, Msg: fmt.Sprintf("the graph input is %v; calibration needs a float32 input of known rank", t)}
	}
	for i, d := range t.Shape {
		switch {
		case i == 0 && d.Known():
			f.fixed = int(d.Size)
		case i > 0 && !d.Known():
			return nil, &ir.Error{Tensor: f.input.Name, Msg: fmt.Sprintf("the graph input has shape %v; calibration needs known sizes after the batch", t.Shape)}
		case i > 0:
			f.image *= int(d.Size)
		}
	}
	return f, nil
}

type runOptions struct {
	samples  int // 0: all
	chunk    int // images of one run; 0: up to DefaultChunk
	progress func(images int)
}

// DefaultChunk is the number of images that run through the graph at once in
// each thread, fewer where they would take more than chunkMemory.
const DefaultChunk = 16

const chunkMemory = 256 << 20 // bytes

// view reads one tap of the current run.
type view func(v *ir.Value) (data []float32, shape []int)

// job is one run: n images.
type job struct {
	index int
	x     []float32
	prog  *runtime.Program
}

// run feeds the images through the graph and shows each worker's visitor the
// taps. What the visitors gather must not depend on the order or on which
// visitor saw what; they are merged by the caller. The error is that of the
// earliest run that failed. It gives the number of images seen.
func (f *floatGraph) run(ctx context.Context, taps []*ir.Value, batches Batches, o runOptions, visitors []func(view) error) (int, error) {
	var (
		jobs   = make(chan job)
		wg     sync.WaitGroup
		failed atomic.Bool
		mu     sync.Mutex
		errAt  = -1
		first  error
		done   int
	)
	finish := func(index, n int, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed.Store(true)
			if errAt < 0 || index < errAt {
				errAt, first = index, err
			}
			return
		}
		done += n
		if o.progress != nil {
			o.progress(done)
		}
	}
	for _, visit := range visitors {
		wg.Go(func() {
			states := map[*runtime.Program]*runtime.State{}
			for j := range jobs {
				err := guard.Call(func() error {
					s := states[j.prog]
					if s == nil {
						s = j.prog.NewState()
						states[j.prog] = s
					}
					copy(s.Input(f.input), j.x)
					if err := s.Forward(); err != nil {
						return err
					}
					return visit(func(v *ir.Value) ([]float32, []int) { return s.Value(v), j.prog.Shape(v) })
				})
				finish(j.index, len(j.x)/f.image, err)
			}
		})
	}
	err := f.feed(ctx, taps, batches, o, jobs, &failed)
	close(jobs)
	wg.Wait()
	if first != nil {
		return done, first
	}
	return done, err
}

// feed cuts the batches into jobs.
func (f *floatGraph) feed(ctx context.Context, taps []*ir.Value, batches Batches, o runOptions, jobs chan<- job, failed *atomic.Bool) error {
	chunk := o.chunk
	if chunk <= 0 {
		chunk = DefaultChunk
	}
	if f.fixed > 0 {
		chunk = f.fixed // prescribed by the model
	}
	programs := map[int]*runtime.Program{}
	compile := func(n int) (*runtime.Program, error) {
		p := programs[n]
		if p == nil {
			var err error
			if p, err = runtime.Compile(f.g, runtime.Config{Batch: n, Taps: taps}); err != nil {
				return nil, err
			}
			programs[n] = p
		}
		return p, nil
	}
	if o.chunk <= 0 && f.fixed == 0 {
		p, err := compile(chunk)
		if err != nil {
			return err
		}
		if m := p.Memory(); m > chunkMemory {
			delete(programs, chunk)
			chunk = max(1, int(int64(chunk)*chunkMemory/m))
		}
	}
	index, seen := 0, 0
	var rest []float32 // images waiting for a full chunk
	send := func(n int) error {
		p, err := compile(n)
		if err != nil {
			return err
		}
		jobs <- job{index: index, x: slices.Clone(rest[:n*f.image]), prog: p}
		rest = append(rest[:0], rest[n*f.image:]...)
		index++
		return nil
	}
	for i := 0; o.samples <= 0 || seen < o.samples; i++ {
		x, n, ok := batches(i)
		if !ok {
			break
		}
		if n < 0 || len(x) != n*f.image {
			return fmt.Errorf("batch %d holds %d values for %d images; the graph input %s takes %d values an image", i, len(x), n, ir.Quote(f.input.Name), f.image)
		}
		if o.samples > 0 && seen+n > o.samples {
			n = o.samples - seen
		}
		seen += n
		rest = append(rest, x[:n*f.image]...)
		for len(rest) >= chunk*f.image {
			if err := ctx.Err(); err != nil {
				return err
			}
			if failed.Load() {
				return nil
			}
			if err := send(chunk); err != nil {
				return err
			}
		}
	}
	if left := len(rest) / f.image; left > 0 && f.fixed == 0 {
		if err := send(left); err != nil {
			return err
		}
	}
	switch {
	case seen == 0:
		return fmt.Errorf("there are no calibration images")
	case index == 0:
		return fmt.Errorf("the model takes exactly %d images at once, only %d are given", f.fixed, seen)
	}
	return ctx.Err()
}

func threadsOf(n int) int {
	if n <= 0 {
		return goruntime.GOMAXPROCS(0)
	}
	return n
}

// moments gather the sum and the sum of squares of values, in any order.
type moments struct{ sum, squares fixedSum }

func (m *moments) add(v float64) {
	m.sum.add(v)
	m.squares.add(v * v)
}

// of gives the mean and the deviation.
func (m moments) of() (mean, spread float64) {
	mean = m.sum.mean()
	return mean, math.Sqrt(max(0, m.squares.mean()-mean*mean))
}

// gather runs the images and gives moments for every tap, groups[i] of tap i: see
// adds what tap i carries to them.
func (f *floatGraph) gather(ctx context.Context, taps []*ir.Value, groups []int, batches Batches, threads int, o runOptions, see func(i int, of []moments, x []float32, shape []int) error) ([][]moments, error) {
	fresh := func() [][]moments {
		out := make([][]moments, len(taps))
		for i, n := range groups {
			out[i] = make([]moments, n)
		}
		return out
	}
	seen := make([][][]moments, threadsOf(threads))
	visitors := make([]func(view) error, len(seen))
	for t := range visitors {
		seen[t] = fresh()
		visitors[t] = func(tap view) error {
			for i := range taps {
				x, shape := tap(taps[i])
				if err := see(i, seen[t][i], x, shape); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if _, err := f.run(ctx, taps, batches, o, visitors); err != nil {
		return nil, err
	}
	all := fresh()
	for _, s := range seen {
		for i := range all {
			for k := range all[i] {
				all[i][k].sum.merge(s[i][k].sum)
				all[i][k].squares.merge(s[i][k].squares)
			}
		}
	}
	return all, nil
}
