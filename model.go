package qvitc

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/qvitc/qvitc/runtime"
)

// Options say how a model is loaded and run.
type Options struct {
	Threads    int    // goroutines of one call; 0 means 1. Answers do not depend on it.
	MaxMemory  int64  // bytes of weights and activations of one call; 0 means runtime.DefaultMaxMemory
	Preprocess string // a preset such as imagenet, or "mean=0.5 std=0.5 resize=256 crop=224"; "": what the file says
}

// Model is a loaded model. It is safe for concurrent use and needs no closing.
type Model struct {
	*runtime.Session
	prep  dataset.Preprocess
	shape dataset.Shape // of one image; zero where the model does not take one
	why   error         // Classify cannot run
}

// Load reads an ONNX file: a float model, a packed one, or one quantised in any
// other form of docs/formats.md, by whatever tool, which is packed in memory.
// Errors name the file.
func Load(path string, o Options) (*Model, error) {
	g, err := onnxio.Load(path, onnxio.Options{})
	if err != nil {
		return nil, err
	}
	if g, _, err = passes.Runnable(g); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s, err := runtime.NewSession(g, runtime.Options{Threads: o.Threads, MaxMemory: o.MaxMemory, Release: true})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m := &Model{Session: s}
	if m.why = m.images(o.Preprocess); m.why != nil && o.Preprocess != "" {
		return nil, fmt.Errorf("%s: %w", path, m.why)
	}
	return m, nil
}

// images settles how a picture becomes the input.
func (m *Model) images(text string) error {
	g := m.Graph()
	if len(g.Inputs) != 1 || len(g.Outputs) == 0 {
		return fmt.Errorf("the model has %d inputs and %d outputs: it does not classify one image", len(g.Inputs), len(g.Outputs))
	}
	t := g.Inputs[0].Type
	if t.Elem != ir.Float32 || len(t.Shape) != 4 || !t.Shape[1].Known() || !t.Shape[2].Known() || !t.Shape[3].Known() {
		return &ir.Error{Tensor: g.Inputs[0].Name, Msg: fmt.Sprintf("the graph input is %v: want f32[batch,channels,height,width]", t)}
	}
	m.shape = dataset.Shape{C: int(t.Shape[1].Size), H: int(t.Shape[2].Size), W: int(t.Shape[3].Size)}
	if text == "" {
		text = g.Meta["qvitc.preprocess"]
	}
	if text == "" {
		return fmt.Errorf("the file does not say how images are preprocessed: Options.Preprocess is empty")
	}
	var err error
	m.prep, err = dataset.Resolve(text, nil, m.shape)
	return err
}

// Class is one answer of Classify.
type Class struct {
	Index       int
	Logit       float32
	Probability float32 // softmax over all classes
}

// Classify gives the k best classes of a picture by the model's first output,
// best first (of equals the one of lower index).
func (m *Model) Classify(ctx context.Context, img image.Image, k int) ([]Class, error) {
	if m.why != nil {
		return nil, m.why
	}
	x, err := m.prep.Apply(img, m.shape)
	if err != nil {
		return nil, err
	}
	g := m.Graph()
	out, err := m.Run(ctx, map[string]*ir.Tensor{g.Inputs[0].Name: ir.Of(x, 1, m.shape.C, m.shape.H, m.shape.W)})
	if err != nil {
		return nil, err
	}
	return best(out[g.Outputs[0].Name].F32(), k), nil
}

// best sorts the k largest logits to the front.
func best(logits []float32, k int) []Class {
	if len(logits) == 0 {
		return nil
	}
	top := float64(slices.Max(logits))
	var sum float64
	classes := make([]Class, len(logits))
	for i, v := range logits {
		e := math.Exp(float64(v) - top)
		sum += e
		classes[i] = Class{Index: i, Logit: v, Probability: float32(e)}
	}
	for i := range classes {
		classes[i].Probability = float32(float64(classes[i].Probability) / sum)
	}
	slices.SortStableFunc(classes, func(a, b Class) int { return cmp.Compare(b.Logit, a.Logit) })
	return classes[:max(0, min(k, len(classes)))]
}
