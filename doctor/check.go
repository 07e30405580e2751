package doctor

import (
	"fmt"

	"github.com/qvitc/qvitc/ir"
	"github.com/qvitc/qvitc/onnxio"
	"github.com/qvitc/qvitc/onnxio/onnxpb"
)

// Needs says what a file asks of a runtime.
type Needs struct {
	Opset int    `json:"opset"`
	IR    int    `json:"ir_version"`
	ORT   string `json:"onnxruntime"` // oldest version that loads it; "" when none is known to
	Why   string `json:"why"`         // what asks for it
}

// Check looks for every hazard in a file. With the zero Target a file may need
// any version: it then says so in Needs, and reports the hazards of the versions
// that load the file. An invalid model is an error.
func Check(m *onnxio.Model, t Target) ([]Finding, Needs, error) {
	g, err := m.Graph()
	if err != nil {
		return nil, Needs{}, err
	}
	c := &checker{g: g, target: t}
	oldest := c.requirements(m.Proto)
	c.irVersion(m.Proto)
	if c.target == (Target{}) {
		c.target = Target{From: max(oldest, Oldest)}
	}
	c.proto(m.Proto)
	c.graph(g)
	for _, f := range g.Functions {
		c.graph(f.Body)
	}
	return c.sorted(), c.needs, nil
}

// graph checks the nodes of a graph and of its subgraphs.
func (c *checker) graph(g *ir.Graph) {
	for n := range g.Nodes() {
		c.quantisers(n)
		c.nbits(n)
		for _, a := range n.Attrs {
			if sub, ok := a.(*ir.Graph); ok {
				c.graph(sub)
			}
		}
	}
}

// requirements notes what opset, IR version and element types ask for, and gives
// the oldest version that has all of it.
func (c *checker) requirements(p *onnxpb.ModelProto) Version {
	c.needs.IR = int(p.GetIrVersion())
	for _, o := range p.OpsetImport {
		if o.GetDomain() == "" || o.GetDomain() == "ai.onnx" {
			c.needs.Opset = int(o.GetVersion())
		}
	}
	oldest := oldestFor(c.needs.Opset, c.needs.IR)
	why := fmt.Sprintf("opset %d, IR version %d", c.needs.Opset, c.needs.IR)
	if oldest == 0 {
		c.needs.Why = why
		c.at(needsNewer, span{}, "", "", fmt.Sprintf("%s is newer than what ONNX Runtime %s loads", why, Newest))
		return Newest
	}
	ask := func(v Version, node, tensor, what string) {
		if v > oldest {
			oldest, why = v, what
		}
		if c.target.From != 0 && v > c.target.From {
			c.at(needsNewer, span{until: v - 1}, node, tensor, what+" needs ONNX Runtime "+v.String())
		}
	}
	if from := c.target.From; from != 0 && oldest > from {
		opset, irv := limits(from)
		c.at(needsNewer, span{until: oldest - 1}, "", "", fmt.Sprintf("the file has %s; ONNX Runtime %s loads up to opset %d and IR version %d", why, from, opset, irv))
	}
	graphs := []*ir.Graph{c.g}
	for _, f := range c.g.Functions {
		graphs = append(graphs, f.Body)
	}
	for _, g := range graphs {
		for n := range g.Nodes() {
			v, tensor, what := newerThanOpset(n)
			if v != 0 {
				ask(v, n.Label(), tensor, what)
			}
		}
	}
	c.needs.ORT, c.needs.Why = oldest.String(), why
	return oldest
}

// newerThanOpset gives the version that the element types and the contributed
// operators of a node ask for.
func newerThanOpset(n *ir.Node) (v Version, tensor, what string) {
	for _, x := range append(append([]*ir.Value{}, n.Inputs...), n.Outputs...) {
		if x == nil {
			continue
		}
		switch x.Type.Elem {
		case ir.Int4, ir.Uint4:
			if v < 1020 {
				v, tensor, what = 1020, x.Name, "the element type "+x.Type.Elem.String()
			}
		case ir.Int2, ir.Uint2:
			if v < 1024 {
				v, tensor, what = 1024, x.Name, "the element type "+x.Type.Elem.String()
			}
		}
	}
	if n.Domain == microsoft && n.Op == "MatMulNBits" {
		bits := n.Attrs.Int("bits", 4)
		need := Version(1017)
		is := fmt.Sprintf("MatMulNBits of %d bits", bits)
		switch {
		case bits == 2:
			need = 1024
		case bits == 8:
			need = 1023
		case n.Input(5) != nil:
			need, is = 1019, "MatMulNBits with a bias"
		}
		if need > v {
			v, tensor, what = need, "", is
		}
	}
	return v, tensor, what
}

const microsoft = "com.microsoft"
