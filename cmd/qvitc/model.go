package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/export"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
	"github.com/qvitc/qvitc/passes"
)

// model is a loaded graph with what else is known about its file.
type model struct {
	path  string
	bytes int64 // of the file and of the data it keeps in other files
	sha   string
	graph *ir.Graph // after load: clean, roles recognised
	notes []string  // what is odd about the file, and what Clean says about parts it does not know
}

// readModel reads a model file without rewriting it.
func readModel(path string) (*model, error) {
	m := &model{path: path}
	file, err := onnxio.LoadModel(path, onnxio.Options{Warn: func(err error) { m.notes = append(m.notes, oneLine(err.Error())) }})
	if err != nil {
		return nil, fail(exitModel, err)
	}
	if m.graph, err = file.Graph(); err != nil {
		return nil, fail(exitModel, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fail(exitIO, err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return nil, fail(exitIO, err)
	}
	m.bytes, m.sha = n+externalBytes(file.Proto), hex.EncodeToString(h.Sum(nil))
	return m, nil
}

// externalBytes adds up the weights that a model keeps in other files.
func externalBytes(p *onnxpb.ModelProto) (total int64) {
	for _, t := range p.Graph.Initializer {
		for _, e := range t.ExternalData {
			if n, err := strconv.ParseInt(e.GetValue(), 10, 64); err == nil && e.GetKey() == "length" {
				total += n
			}
		}
	}
	return total
}

// load reads a model file and runs the passes that p lists on it.
func (a *app) load(path string, p passFlags) (*model, error) {
	m, err := readModel(path)
	if err != nil {
		return nil, err
	}
	return m, a.clean(m, p)
}

// clean runs the passes that p lists, as a rule those that recognise the parts.
func (a *app) clean(m *model, p passFlags) error {
	list, err := p.parse()
	if err != nil {
		return err
	}
	if err := fixShapes(m.path, m.graph, p.shapes); err != nil {
		return err
	}
	res, err := a.driver(p.on(list, 0), "clean").Run(m.graph, list)
	if err != nil {
		return fail(exitUnsupported, fmt.Errorf("%s: %w", m.path, err))
	}
	for _, s := range res.Steps {
		for _, n := range s.Report.Notes {
			m.notes = append(m.notes, n.String())
		}
	}
	return nil
}

// loadAny reads a model ready to be evaluated: float graphs are cleaned, packed
// ones taken as they are, those quantised in other forms packed.
func (a *app) loadAny(path string) (*model, error) {
	m, err := readModel(path)
	if err != nil {
		return nil, err
	}
	err = a.prepare(m)
	for _, n := range m.notes {
		a.note("note: %s", n)
	}
	return m, err
}

// prepare brings a model into the form that runs.
func (a *app) prepare(m *model) error {
	if m.packed() || passes.IsQuantised(m.graph) {
		return m.runnable()
	}
	_, err := a.driver(passFlags{}, "").Run(m.graph, passes.Clean)
	return fail(exitUnsupported, err)
}

// raise brings quantised forms other than packed operators into the form that
// the runtime has kernels for.
func (m *model) raise() error {
	if m.packed() || !passes.IsQuantised(m.graph) {
		return nil
	}
	notes, err := export.Raise(m.graph)
	m.notes = append(m.notes, notes...)
	return fail(exitUnsupported, err)
}

// runnable packs quantised forms other than packed operators, which run fastest.
func (m *model) runnable() error {
	g, notes, err := passes.Runnable(m.graph)
	if err == nil {
		m.graph, m.notes = g, append(m.notes, notes...)
	}
	return fail(exitUnsupported, err)
}

// packed reports whether the model is already a low-bit one of this tool.
func (m *model) packed() bool { return passes.IsPacked(m.graph) }

// finite refuses weights that are not numbers, naming the tensor.
func (m *model) finite() error {
	err := onnxio.CheckFinite(m.graph)
	var e *ir.Error
	if errors.As(err, &e) && e.File == "" {
		e.File = m.path
	}
	return fail(exitModel, err)
}

// imageShape gives the C, H, W of the model's image input.
func (m *model) imageShape() (dataset.Shape, error) {
	g := m.graph
	if len(g.Inputs) != 1 {
		return dataset.Shape{}, failf(exitUnsupported, "", "%s: the model has %d inputs, want one image input", m.path, len(g.Inputs))
	}
	v := g.Inputs[0]
	dims, ok := []int(nil), false
	if v.Type.Rank() == 4 {
		dims, ok = v.Type.Shape[1:].Ints()
	}
	if !ok || v.Type.Elem != ir.Float32 {
		return dataset.Shape{}, failf(exitUnsupported, "", "%s: input %s is %v, want a float image [batch,C,H,W] of known C, H and W", m.path, ir.Quote(v.Name), v.Type)
	}
	return dataset.Shape{C: dims[0], H: dims[1], W: dims[2]}, nil
}

// classes gives the width of the first output.
func (m *model) classes() (int, error) {
	if len(m.graph.Outputs) == 0 {
		return 0, failf(exitUnsupported, "", "%s: the model has no outputs", m.path)
	}
	out := m.graph.Outputs[0]
	if t := out.Type; t.Rank() == 2 && t.Shape[1].Known() {
		return int(t.Shape[1].Size), nil
	}
	return 0, failf(exitUnsupported, "", "%s: output %s is %v, want logits [batch,classes]", m.path, ir.Quote(out.Name), out.Type)
}

// like refuses to compare models that take other images or tell other classes.
func (m *model) like(other *model) error {
	shape, err := m.imageShape()
	if err != nil {
		return err
	}
	classes, err := m.classes()
	if err != nil {
		return err
	}
	otherShape, err := other.imageShape()
	if err != nil {
		return err
	}
	otherClasses, err := other.classes()
	if err != nil {
		return err
	}
	if shape != otherShape || classes != otherClasses {
		return failf(exitUsage, "they must take the same images and tell the same classes", "%s takes images of %v and tells %d classes, %s %v and %d",
			m.path, shape, classes, other.path, otherShape, otherClasses)
	}
	return nil
}
