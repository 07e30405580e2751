package serve

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/runtime"
)

// attention is where a model looks, block by block.
type attention struct {
	Name   string     `json:"name"`
	Top    []class    `json:"top"`
	RunMs  float64    `json:"run_ms"`
	Blocks []blockMap `json:"blocks"`
}

// blockMap is the attention of one block over the image as the model sees it.
type blockMap struct {
	Block int       `json:"block"`
	Kind  string    `json:"kind"` // "class token": what it looks at; "received": what a patch gets from its window
	Side  int       `json:"side"` // patches of a row
	Map   []float32 `json:"map"`  // [Side·Side] from 0 to 1, see scaled; mean over the heads
}

// attender runs a model with its attention maps kept. It is compiled when first
// needed and serves one request at a time.
type attender struct {
	model Model
	turn  chan struct{}
	prog  *runtime.Program
	state *runtime.State
	taps  []*ir.Value
}

func newAttender(m Model) *attender { return &attender{model: m, turn: make(chan struct{}, 1)} }

// run gives the maps and the logits of one image.
func (a *attender) run(ctx context.Context, x []float32) (*attention, []float32, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if err := a.compile(); err != nil {
		return nil, nil, err
	}
	copy(a.state.Input(a.model.Graph.Inputs[0]), x)
	start := time.Now()
	if err := a.state.Forward(); err != nil {
		return nil, nil, err
	}
	out := &attention{Name: a.model.Name, RunMs: ms(time.Since(start))}
	var last []int
	same := 0 // blocks before this one whose maps have its shape
	for i, v := range a.taps {
		shape := a.prog.Shape(v)
		if fmt.Sprint(shape) != fmt.Sprint(last) {
			same = 0
		}
		if m := mapOf(a.state.Value(v), shape, same); m != nil {
			m.Block = i
			out.Blocks = append(out.Blocks, *m)
		}
		last = shape
		same++
	}
	return out, append([]float32(nil), a.state.Value(a.model.Graph.Outputs[0])...), nil
}

func (a *attender) compile() error {
	if a.state != nil {
		return nil
	}
	a.taps = nil
	for n := range a.model.Graph.Nodes() {
		if n.Is("Softmax") && !a.model.Graph.IsOutput(n.Out()) {
			a.taps = append(a.taps, n.Out())
		}
	}
	p, err := runtime.Compile(a.model.Graph, runtime.Config{Batch: 1, Taps: a.taps})
	if err != nil {
		return err
	}
	a.prog, a.state = p, p.NewState()
	return nil
}

// mapOf reads attention probabilities [windows, heads, n, n] (or [heads, n, n])
// of one image as a square map; nil where they are none. In a run of blocks of one
// shape every second one of a windowed transformer is shifted: the shift is not
// told by the tensor, so only the others give a map.
func mapOf(p []float32, shape []int, same int) *blockMap {
	if len(shape) == 3 {
		shape = append([]int{1}, shape...)
	}
	if len(shape) != 4 || shape[2] != shape[3] || shape[2] < 4 {
		return nil
	}
	windows, heads, n := shape[0], shape[1], shape[2]
	side := int(math.Sqrt(float64(n)))
	grid := int(math.Sqrt(float64(windows)))
	switch {
	case windows == 1 && side*side < n && n-side*side <= 2: // class and perhaps distillation token
		return classToken(p, heads, n, side)
	case side*side == n && grid*grid == windows && (windows == 1 || same%2 == 0):
		return received(p, grid, heads, side)
	}
	return nil
}

// classToken is the row of the first token without the tokens that are no patch.
func classToken(p []float32, heads, n, side int) *blockMap {
	m := &blockMap{Kind: "class token", Side: side, Map: make([]float32, side*side)}
	for h := range heads {
		for i, v := range p[h*n*n+n-side*side:][:side*side] {
			m.Map[i] += v
		}
	}
	return m.scaled()
}

// received is what each patch gets from the patches of its window together; windows
// lie in rows over the image.
func received(p []float32, grid, heads, side int) *blockMap {
	n, all := side*side, grid*side
	m := &blockMap{Kind: "received", Side: all, Map: make([]float32, all*all)}
	for w := range grid * grid {
		for row := range heads * n {
			for k, v := range p[(w*heads*n+row)*n:][:n] {
				m.Map[(w/grid*side+k/side)*all+w%grid*side+k%side] += v
			}
		}
	}
	return m.scaled()
}

// scaled divides by a value that 97 % of the patches do not exceed and cuts the
// rest off at 1: trained transformers park attention on a few empty patches, which
// would leave the others dark.
func (m *blockMap) scaled() *blockMap {
	sorted := slices.Sorted(slices.Values(m.Map))
	high := sorted[(97*len(sorted)+99)/100-1]
	if high <= 0 {
		high = sorted[len(sorted)-1]
	}
	for i := range m.Map {
		if high > 0 {
			m.Map[i] = min(1, m.Map[i]/high)
		}
	}
	return m
}
