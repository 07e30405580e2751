package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/qvitc/qvitc/dataset"
	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/passes"
	"github.com/spf13/cobra"
)

// passFlags are the flags that look into the pass pipeline.
type passFlags struct {
	list       string
	dumpDir    string
	printAfter string
	stopAfter  string
}

func (p *passFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.list, "passes", "clean", "passes to run on the model, such as clean,-fuse-gelu (qvitc passes lists them)")
	f.StringVar(&p.dumpDir, "dump-ir", "", "write the graph after each pass into this folder")
	f.StringVar(&p.printAfter, "print-after", "", "print the graph after this pass (or all) on stderr")
	f.StringVar(&p.stopAfter, "stop-after", "", "stop after this pass or this many passes, print the graph on stdout and end")
}

func (a *app) driver(p passFlags, stage string) *passes.Driver {
	d := &passes.Driver{Check: true, Out: a.err, PrintAfter: p.printAfter, StopAfter: p.stopAfter, Timing: a.verbose > 0}
	if p.dumpDir != "" {
		d.DumpDir = filepath.Join(p.dumpDir, stage)
	}
	return d
}

// model is a loaded and cleaned graph with what else is known about its file.
type model struct {
	path  string
	bytes int64
	sha   string
	graph *ir.Graph // after Clean, roles recognised
	notes []string  // what Clean says about parts it does not know
}

// load reads a model file and runs the Clean passes on it.
func (a *app) load(path string, p passFlags) (*model, error) {
	m, err := readModel(path)
	if err != nil {
		return nil, err
	}
	list, err := passes.ParseList(p.list, passes.DefaultPlan(4, 4))
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	p = onlyIn(p, list)
	res, err := a.driver(p, "clean").Run(m.graph, list)
	if err != nil {
		return nil, fail(exitUnsupported, fmt.Errorf("%s: %w", path, err))
	}
	for _, s := range res.Steps {
		for _, n := range s.Report.Notes {
			m.notes = append(m.notes, n.String())
		}
	}
	return m, nil
}

// onlyIn drops the look-inside flags that name a pass of another list.
func onlyIn(p passFlags, list []passes.Pass) passFlags {
	has := func(name string) bool {
		for _, q := range list {
			if q.Name == name {
				return true
			}
		}
		return name == "all" || strings.Trim(name, "0123456789") == ""
	}
	if !has(p.printAfter) {
		p.printAfter = ""
	}
	if !has(p.stopAfter) {
		p.stopAfter = ""
	}
	return p
}

// readModel reads a model file without rewriting it.
func readModel(path string) (*model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, failf(exitModel, "", "%v", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, failf(exitModel, "name the .onnx file inside it", "%s: is a folder, not a model", path)
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return nil, fail(exitIO, err)
	}
	g, err := onnxio.Load(path, onnxio.Options{})
	if err != nil {
		return nil, fail(exitModel, err)
	}
	return &model{path: path, bytes: n, sha: hex.EncodeToString(h.Sum(nil)), graph: g}, nil
}

// imageShape gives the C, H, W of the model's image input.
func imageShape(path string, g *ir.Graph) (dataset.Shape, error) {
	if len(g.Inputs) != 1 {
		return dataset.Shape{}, failf(exitUnsupported, "", "%s: the model has %d inputs, want one image input", path, len(g.Inputs))
	}
	v := g.Inputs[0]
	dims, ok := []int(nil), false
	if v.Type.Rank() == 4 {
		dims, ok = v.Type.Shape[1:].Ints()
	}
	if !ok || v.Type.Elem != ir.Float32 {
		return dataset.Shape{}, failf(exitUnsupported, "", "%s: input %s is %v, want a float image [batch,C,H,W] of known C, H and W", path, ir.Quote(v.Name), v.Type)
	}
	return dataset.Shape{C: dims[0], H: dims[1], W: dims[2]}, nil
}

// classes gives the width of the first output.
func classes(path string, g *ir.Graph) (int, error) {
	if len(g.Outputs) > 0 {
		if t := g.Outputs[0].Type; t.Rank() == 2 && t.Shape[1].Known() {
			return int(t.Shape[1].Size), nil
		}
		return 0, failf(exitUnsupported, "", "%s: output %s is %v, want logits [batch,classes]", path, ir.Quote(g.Outputs[0].Name), g.Outputs[0].Type)
	}
	return 0, failf(exitUnsupported, "", "%s: the model has no outputs", path)
}
