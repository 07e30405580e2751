package onnxio

import (
	"fmt"
	"strings"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// checkNode holds a node against the form of its operator at the file's opset:
// it exists, has the right number of inputs and outputs, the attributes it must
// have and no others, each of the right type.
func (d *decoder) checkNode(s *scope, p *onnxpb.NodeProto, domain string) error {
	seen := map[string]bool{}
	for _, a := range p.GetAttribute() {
		if a.GetName() == "" {
			return fmt.Errorf("an attribute has no name")
		}
		if seen[a.GetName()] {
			return fmt.Errorf("attribute %s is given twice", ir.Quote(a.GetName()))
		}
		seen[a.GetName()] = true
	}
	opset, imported := s.imp[domain]
	if !imported {
		return fmt.Errorf("the opset import of domain %s is missing", ir.Quote(domainName(domain)))
	}
	if d.funcs[funcKey{domain, p.GetOpType(), p.GetOverload()}] != nil || domain != "" {
		return nil
	}
	f := activeForm(p.GetOpType(), opset)
	if f == nil {
		forms := schema()[p.GetOpType()]
		if forms == nil {
			return fmt.Errorf("unknown operator %s", ir.Quote(p.GetOpType()))
		}
		if p.GetOpType() != "LayerNormalization" { // runtimes had it long before the standard
			return fmt.Errorf("operator %s came with opset %d, the model imports %d", p.GetOpType(), forms[0].since, opset)
		}
		f = forms[0]
		d.warn("node %s: LayerNormalization came with opset 17, the model imports %d", ir.Quote(p.GetName()), opset)
	}
	if f.deprecated {
		return fmt.Errorf("operator %s does not exist any more at opset %d", p.GetOpType(), opset)
	}
	if err := checkCount("input", len(p.GetInput()), f.minIn, f.maxIn); err != nil {
		return err
	}
	if err := checkCount("output", len(p.GetOutput()), f.minOut, f.maxOut); err != nil {
		return err
	}
	for i, name := range p.GetInput() {
		if name == "" && i < f.minIn && f.maxIn >= 0 {
			return fmt.Errorf("input %d must be given", i)
		}
	}
	for _, a := range p.GetAttribute() {
		want := f.attr(a.GetName())
		if want == nil {
			return fmt.Errorf("unknown attribute %s at opset %d", ir.Quote(a.GetName()), opset)
		}
		if a.GetRefAttrName() != "" {
			continue // the value is the caller's
		}
		k, err := attrType(a)
		if err != nil {
			return fmt.Errorf("attribute %s: %w", ir.Quote(a.GetName()), err)
		}
		if k != want.kind {
			return fmt.Errorf("attribute %s: want %s, have %s", ir.Quote(a.GetName()), kindName(want.kind), kindName(k))
		}
	}
	var missing []string
	for _, a := range f.attrs {
		if a.required && !seen[a.name] {
			missing = append(missing, a.name)
		}
	}
	if missing != nil {
		return fmt.Errorf("missing attribute: %s", strings.Join(missing, ", "))
	}
	return nil
}

func checkCount(what string, n, lo, hi int) error {
	switch {
	case n < lo:
		return fmt.Errorf("has %d %ss, needs at least %d", n, what, lo)
	case hi >= 0 && n > hi:
		return fmt.Errorf("has %d %ss, takes at most %d", n, what, hi)
	}
	return nil
}

// attrs reads the attributes of a node; bodies are the subgraphs among them.
func (d *decoder) attrs(s *scope, p *onnxpb.NodeProto) (ir.Attrs, []*scope, error) {
	out := ir.Attrs{}
	var bodies []*scope
	for _, a := range p.GetAttribute() {
		fail := func(err error) (ir.Attrs, []*scope, error) {
			return nil, nil, fmt.Errorf("attribute %s: %w", ir.Quote(a.GetName()), err)
		}
		if ref := a.GetRefAttrName(); ref != "" {
			if s.bind == nil {
				return fail(fmt.Errorf("refers to %s of a caller, but this is no function", ir.Quote(ref)))
			}
			if v, ok := s.bind[ref]; ok {
				if k, ok := attrKind[a.GetType()]; ok && k != valueKind(v) {
					return fail(fmt.Errorf("want %s, the call has %s", kindName(k), kindName(valueKind(v))))
				}
				out[a.GetName()] = v
			}
			continue
		}
		k, err := attrType(a)
		if err != nil {
			return fail(err)
		}
		if k == 'g' {
			body, err := d.graph(a.G, s, s.imp, s.bind)
			if err != nil {
				if e, ok := err.(*ir.Error); ok && e.Node != "" {
					return nil, nil, e
				}
				return fail(err)
			}
			bodies = append(bodies, body)
			out[a.GetName()] = body.g
			continue
		}
		v, err := d.attr(a, k)
		if err != nil {
			return fail(err)
		}
		out[a.GetName()] = v
	}
	return out, bodies, nil
}

// valueKind is the attribute type letter of a Go value.
func valueKind(v any) byte {
	switch v.(type) {
	case float32:
		return 'f'
	case int64, ir.AttrRef:
		return 'i'
	case string:
		return 's'
	case *ir.Tensor:
		return 't'
	case *ir.Graph:
		return 'g'
	case []float32:
		return 'F'
	case []int64:
		return 'I'
	case []string:
		return 'S'
	}
	return 0
}
