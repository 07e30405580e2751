package onnxio

import (
	"fmt"
	"os"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// decoder turns one model into a graph.
type decoder struct {
	file     string
	opts     Options
	lim      Limits
	root     *os.Root
	files    map[string]dataFile
	funcs    map[funcKey]*function
	nodes    int // built so far, inlined function bodies included
	inlining int // depth of calls being inlined
}

// imports gives the opset version of each operator domain; ai.onnx is "".
type imports map[string]int

func decodeModel(p *onnxpb.ModelProto, o Options) (*ir.Graph, error) {
	d := &decoder{file: o.Name, opts: o, lim: o.Limits.withDefaults()}
	defer d.close()
	g, err := d.model(p)
	if err != nil {
		return nil, d.named(err)
	}
	return g, nil
}

// named puts the file's name into the error.
func (d *decoder) named(err error) error {
	if e, ok := err.(*ir.Error); ok {
		if e.File == "" {
			e.File = d.file
		}
		return e
	}
	return &ir.Error{File: d.file, Err: err}
}

func (d *decoder) warn(format string, args ...any) {
	if d.opts.Warn != nil {
		d.opts.Warn(d.named(fmt.Errorf(format, args...)))
	}
}

func (d *decoder) model(p *onnxpb.ModelProto) (*ir.Graph, error) {
	if err := d.irVersion(p); err != nil {
		return nil, err
	}
	imp, err := readImports(p.GetOpsetImport())
	if err != nil {
		return nil, err
	}
	if err := d.readFunctions(p.GetFunctions()); err != nil {
		return nil, err
	}
	if len(p.GetTrainingInfo()) > 0 {
		d.warn("the training part of the model is left out")
	}
	if len(p.Graph.GetOutput()) == 0 {
		return nil, fmt.Errorf("the graph has no outputs")
	}
	s, err := d.graph(p.Graph, nil, imp, nil)
	if err != nil {
		return nil, err
	}
	g := s.g
	for _, kv := range p.GetMetadataProps() {
		if _, twice := g.Meta[kv.GetKey()]; twice {
			return nil, fmt.Errorf("metadata key %s is given twice", ir.Quote(kv.GetKey()))
		}
		g.Meta[kv.GetKey()] = kv.GetValue()
	}
	if err := d.addFunctions(g, p.GetFunctions()); err != nil {
		return nil, err
	}
	return g, d.validate(s)
}

func (d *decoder) irVersion(p *onnxpb.ModelProto) error {
	v := p.GetIrVersion()
	switch {
	case p.IrVersion == nil:
		d.warn("ir_version is missing")
	case v < 1:
		return fmt.Errorf("invalid ir_version %d", v)
	case v > MaxIR:
		return &ir.Error{Msg: fmt.Sprintf("IR version %d is newer than supported: have %d, at most %d", v, v, MaxIR),
			Hint: "export the model for an older ONNX release (opset 27 or lower)"}
	}
	return nil
}

// readImports checks the opset versions of a model or a function.
func readImports(list []*onnxpb.OperatorSetIdProto) (imports, error) {
	imp := imports{}
	for _, o := range list {
		dom, v := domainOf(o.GetDomain()), o.GetVersion()
		if old, twice := imp[dom]; twice && int64(old) != v {
			return nil, fmt.Errorf("domain %s is imported at opset %d and at %d", ir.Quote(domainName(dom)), old, v)
		}
		if v < 1 || v > 1<<30 {
			if v < 1 || dom != "" {
				return nil, fmt.Errorf("invalid opset %d of domain %s", v, ir.Quote(domainName(dom)))
			}
		}
		if dom == "" && v > MaxOpset {
			return nil, &ir.Error{Msg: fmt.Sprintf("opset %d is newer than supported: the model needs opset %d, at most %d is understood", v, v, MaxOpset),
				Hint: fmt.Sprintf("export the model with opset %d or lower", MaxOpset)}
		}
		imp[dom] = int(v)
	}
	return imp, nil
}

// domainOf gives ai.onnx its canonical empty name.
func domainOf(s string) string {
	if s == "ai.onnx" {
		return ""
	}
	return s
}

func domainName(s string) string {
	if s == "" {
		return "ai.onnx"
	}
	return s
}
